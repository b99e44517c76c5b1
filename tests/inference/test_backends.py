"""Which backend runs a network: the requested one, or the fastest one with the measured times."""

import dataclasses
import importlib.util
import re
import sys

import numpy as np
import pytest
from broken_networks import UNKNOWN_OPERATOR
from shipped import CATALOG

from app.errors import ModelError
from app.inference.backends import example_input, fastest, min_times_ms, open_network
from app.inference.engine import NetworkSpec, TensorSpec

has_openvino = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not has_openvino, reason="OpenVINO is not installed")


def network(precision="auto", path=CATALOG.parent / "mobilefacenet.onnx"):
    return NetworkSpec("net", path, "", (16, 3, 112, 112), precision, threads=1)


@pytest.fixture
def missing(monkeypatch):
    """Hides packages, as if they were not installed."""

    def hide(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ([4.0], 0),
        ([8.0, 4.0], 1),
        ([4.0, 8.0], 0),
        ([4.0, 3.8], 0),
        ([4.0, 3.5], 1),
        ([8.0, 4.0, 3.9], 1),
        ([8.0, 7.5, 4.0], 2),
    ],
)
def test_the_first_is_used_unless_a_later_one_is_clearly_faster(times, taken):
    assert fastest(times) == taken


class CountingEngine:
    """Records its runs and their inputs."""

    outputs = ()
    max_batch = None

    def __init__(self, name, diary, shape=(None, 3, 4, 4)):
        self.name, self.diary = name, diary
        self.inputs = (TensorSpec("picture", shape, np.dtype(np.float32)),)

    def run(self, feeds):
        self.diary.append((self.name, feeds["picture"].shape))
        return {}

    def close(self):
        pass


def test_times_are_taken_in_turns():
    diary = []
    times = min_times_ms([CountingEngine("a", diary), CountingEngine("b", diary)], network())
    assert len(times) == 2 and min(times) >= 0
    assert [name for name, _ in diary] == ["a", "b"] * (len(diary) // 2) and diary


@pytest.mark.parametrize(
    ("declared", "fed"),
    [
        ((None, 3, None, None), (1, 3, 112, 112)),
        ((8, 3, 96, 96), (8, 3, 96, 96)),
        ((None, 7), (1, 7)),
    ],
)
def test_the_example_is_one_item_of_the_largest_size_or_the_declared_shape(declared, fed):
    assert example_input(CountingEngine("a", [], declared), network())["picture"].shape == fed


def test_a_requested_backend_is_not_measured():
    choice = open_network(network(), "onnx")
    assert (choice.backend, choice.precision, choice.reason) == ("onnx", "fp32", "as requested")
    assert str(choice) == "ONNX Runtime, fp32: as requested"
    choice.engine.close()


def test_onnx_runtime_is_used_without_gpu_and_openvino_and_the_reason_names_openvino(missing):
    missing("openvino", "tensorrt")
    choice = open_network(network())
    assert (choice.backend, choice.precision) == ("onnx", "fp32")
    assert "OpenVINO" in choice.reason
    choice.engine.close()


@needs_openvino
def test_without_onnx_runtime_it_is_openvino(missing):
    missing("onnxruntime", "tensorrt")
    choice = open_network(network("fp32"))
    assert choice.backend == "openvino" and "ONNX Runtime" in choice.reason
    assert choice.engine.run({"input": np.zeros((1, 3, 112, 112), np.float32)})["embedding"].shape == (1, 128)
    choice.engine.close()


@needs_openvino
def test_with_both_the_reason_is_their_times(missing):
    missing("tensorrt")
    choice = open_network(network("fp32"))
    other = {"onnx": "OpenVINO", "openvino": "ONNX Runtime"}[choice.backend]
    assert f"{other}: " in choice.reason
    assert choice.engine.run({"input": np.zeros((1, 3, 112, 112), np.float32)})["embedding"].shape == (1, 128)
    choice.engine.close()


def test_with_nothing_installed_everything_that_is_missing_is_named(missing):
    missing("onnxruntime", "openvino", "tensorrt")
    with pytest.raises(ModelError, match=r"(?s)^net .*ONNX Runtime.*OpenVINO"):
        open_network(network())


def test_an_unavailable_precision_is_replaced_with_a_warning(missing, caplog):
    missing("tensorrt", "openvino")
    choice = open_network(network("int8"))
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("net: int8 ") and "fp32" in warning
    assert (choice.backend, choice.precision) == ("onnx", "fp32")
    assert "int8" in choice.reason
    choice.engine.close()


@pytest.mark.parametrize(("backend", "where"), [("auto", "on this machine"), ("onnx", "on ONNX Runtime")])
def test_an_unavailable_precision_is_an_error_if_no_other_is_allowed(missing, backend, where):
    missing("tensorrt", "openvino")
    wanted = dataclasses.replace(network("int8"), exact_precision=True)
    with pytest.raises(ModelError) as refused:
        open_network(wanted, backend)
    assert re.match(f"net: int8 .*{where}: ONNX Runtime", str(refused.value))


def test_a_precision_that_the_requested_backend_lacks_is_refused():
    with pytest.raises(ModelError, match="not bf16"):
        open_network(network("bf16"), "onnx")


def test_a_missing_backend_that_is_requested_is_an_error_with_an_install_command(missing):
    missing("openvino")
    with pytest.raises(ModelError, match="pip install openvino"):
        open_network(network(), "openvino")


def test_a_file_that_no_backend_can_load_reports_all_reasons(tmp_path, missing):
    missing("tensorrt", *([] if has_openvino else ["openvino"]))
    path = tmp_path / "net.onnx"
    path.write_bytes(UNKNOWN_OPERATOR)
    with pytest.raises(ModelError, match=r"net\.onnx: ONNX Runtime") as caught:
        open_network(network(path=path))
    assert (f"{path}: OpenVINO" in str(caught.value)) == has_openvino


def test_a_damaged_file_is_reported_once(tmp_path, missing):
    missing("tensorrt")
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelError) as refused:
        open_network(network(path=path))
    assert str(refused.value).count("net.onnx") == 1
