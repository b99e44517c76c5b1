"""A backend that fails while it runs a network is opened again, then replaced, and the input that failed is run again.

ONNX Runtime and OpenVINO fail for real here; TensorRT and its GPU are simulated.
"""

import dataclasses
import hashlib
import importlib.util
import json
import logging
import subprocess
import sys

import gpu_double
import numpy as np
import pytest
import tensorrt_double
from failing_networks import BRIGHT, write_trapped
from shipped import CATALOG, ROOT
from tensorrt_double import Plan, Tensor

from app.errors import FatalError, ModelError
from app.inference import cuda
from app.inference.backends import open_network
from app.inference.engine import NetworkSpec
from app.inference.engine_files import EngineFile, store_engine
from app.inference.onnx import OnnxEngine
from app.inference.recovery import FORGIVEN_AFTER_S, RecoveringNetwork
from app.inference.tensorrt_api import current_target

EMBEDDER = CATALOG.parent / "mobilefacenet.onnx"
SIZE = (3, 112, 112)
has_openvino = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not has_openvino, reason="OpenVINO is not installed")


def spec_of(path):
    return NetworkSpec("net", path, hashlib.sha256(path.read_bytes()).hexdigest(), (16, *SIZE), threads=2)


def faces(count=2, mean=0.0):
    noise = np.random.default_rng(count).normal(size=(count, *SIZE)).astype(np.float32)
    return {"input": noise + np.float32(mean)}


def opened(spec, backend, **options):
    return RecoveringNetwork(spec, open_network(spec, backend), **options)


def errors_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def same(outputs, expected):
    """Whether the embeddings are the same; some processors compute in bf16."""
    (mine,), (other,) = outputs.values(), expected.values()
    cosines = (mine * other).sum(axis=1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(other, axis=1)
    assert mine.shape == other.shape and cosines.min() > 0.98


@needs_openvino
def test_an_input_on_which_a_backend_fails_is_run_on_the_next_one(tmp_path, caplog):
    network = opened(spec_of(write_trapped(EMBEDDER, tmp_path / "net.onnx")), "onnx")
    same(network.run(faces()), OnnxEngine(EMBEDDER).run(faces()))
    assert network.failures == 0
    bright = faces(3, mean=2 * BRIGHT)
    same(network.run(bright), OnnxEngine(EMBEDDER).run(bright))
    assert network.opened.label == "OpenVINO" and network.failures == 2, "once, and once after it was opened again"
    same(network.run(bright), OnnxEngine(EMBEDDER).run(bright))
    assert network.failures == 2
    assert len(errors_in(caplog)) == 3 and "runs on OpenVINO" in errors_in(caplog)[-1]
    network.close()


@needs_openvino
def test_when_no_backend_is_left_that_is_the_end_and_stays_it(tmp_path):
    network = opened(spec_of(write_trapped(EMBEDDER, tmp_path / "net.onnx", also_openvino=True)), "onnx")
    with pytest.raises(FatalError, match=r"net.*OpenVINO") as end:
        network.run(faces(mean=2 * BRIGHT))
    with pytest.raises(FatalError) as again:
        network.run(faces())
    assert again.value is end.value
    network.close()


def test_an_input_that_does_not_fit_is_the_callers_fault(caplog):
    network = opened(spec_of(EMBEDDER), "onnx")
    before = network.opened
    for feeds in ({"input": np.zeros((1, 3, 64, 64), np.float32)}, {"input": np.zeros((1, *SIZE))}, {"other": 1}):
        with pytest.raises(ModelError):
            network.run({name: np.asarray(value) for name, value in feeds.items()})
    assert network.opened is before and network.failures == 0 and not errors_in(caplog)
    network.close()


def test_a_failure_long_after_the_last_one_is_another_failure(tmp_path):
    now = [0.0]
    network = opened(spec_of(write_trapped(EMBEDDER, tmp_path / "net.onnx")), "onnx", clock=lambda: now[0])
    broken = network.opened.engine
    for _ in range(3):
        # The session is lost, as with a driver that was restarted.
        network.opened.engine._session = LostSession(network.opened.engine._session)
        same(network.run(faces()), OnnxEngine(EMBEDDER).run(faces()))
        assert network.opened.label == "ONNX Runtime" and network.opened.engine is not broken
        now[0] += FORGIVEN_AFTER_S
    assert network.failures == 3
    network.close()


class LostSession:
    """What ONNX Runtime says when an accelerator is gone."""

    def __init__(self, session):
        self._session = session

    def run(self, *arguments):
        raise RuntimeError("CUDA failure 719: unspecified launch failure")


SHORT_OF_MEMORY = """
import hashlib, json, logging, pathlib, resource, sys
import numpy as np
from app.errors import FatalError
from app.inference.backends import open_network
from app.inference.engine import NetworkSpec
from app.inference.recovery import RecoveringNetwork

path, lifted = pathlib.Path(sys.argv[1]), sys.argv[2] == "lifted"
sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
spec = NetworkSpec("net", path, sha256, (16, 3, 112, 112), threads=1)
network = RecoveringNetwork(spec, open_network(spec, "onnx"))
messages = []

class Lift(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
        if lifted:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

logging.getLogger().addHandler(Lift())
feeds = {"input": np.zeros((256, 3, 112, 112), np.float32)}
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20, resource.RLIM_INFINITY))
try:
    outcome = [list(value.shape) for value in network.run(feeds).values()]
except FatalError as error:
    outcome = str(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps([outcome, network.failures, network.opened.label, messages]))
"""


def run_short_of_memory(tmp_path, mode):
    path = tmp_path / "net.onnx"
    path.write_bytes(EMBEDDER.read_bytes())
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(path), mode]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_a_moment_without_memory_costs_a_second_run(tmp_path):
    shapes, failures, label, messages = run_short_of_memory(tmp_path, "lifted")
    assert shapes == [[256, 128]] and failures == 1 and label == "ONNX Runtime"
    assert "failed while it ran" in messages[0]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_without_any_memory_left_the_end_has_a_reason(tmp_path):
    outcome, failures, _, messages = run_short_of_memory(tmp_path, "kept")
    assert isinstance(outcome, str) and "no backend" in outcome and failures >= 1
    assert len(messages) >= 2


# ---- TensorRT


@pytest.fixture(params=[(version, package) for version in ("8.2", "10.3.0") for package in ("cudart", "pycuda")])
def board(request, monkeypatch, tmp_path):
    """A machine with a GPU, and an engine of the embedder that computes what the ONNX file does."""
    version, package = request.param
    gpu = gpu_double.Gpu()
    gpu_double.install_driver(monkeypatch, gpu_double.Driver())
    gpu_double.install_memory(monkeypatch, package, gpu)
    session = OnnxEngine(EMBEDDER)
    plan = Plan(
        tensors=(
            Tensor("input", (-1, *SIZE), ((1, *SIZE), (4, *SIZE), (16, *SIZE))),
            Tensor("embedding", (-1, 128), is_input=False, shape_for=lambda shapes: (shapes["input"][0], 128)),
        ),
        compute=lambda given: {"embedding": next(iter(session.run(given).values()))},
    )
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_double.tensorrt(version, gpu, {b"plan": plan}))
    path = tmp_path / "net.onnx"
    path.write_bytes(EMBEDDER.read_bytes())
    spec = spec_of(path)
    store_engine(
        EngineFile(
            path=tmp_path / "net.fp16.b16.112x112.engine",
            target=current_target(),
            precision="fp16",
            shapes=((1, *SIZE), (4, *SIZE), (16, *SIZE)),
            onnx_sha256=spec.sha256,
            file_bytes=4,
            build_seconds=1.0,
            program="0",
            built_at="2026-01-31T12:00:00+00:00",
        ),
        b"plan",
    )
    yield gpu, spec
    assert cuda._Shared.gpu is None, "a test left its engine open"


def test_a_failed_run_on_tensorrt_is_done_again_after_it_was_opened_again(board, caplog):
    gpu, spec = board
    expected = OnnxEngine(EMBEDDER).run(faces())
    network = opened(spec, "tensorrt")
    same(network.run(faces()), expected)
    calls = len(gpu.calls)
    same(network.run(faces()), expected)
    for call in range(len(gpu.calls) - calls):
        gpu.fail_next(call)
        same(network.run(faces()), expected)
        assert network.opened.label == "TensorRT", f"call {call} failed and TensorRT was given up"
        network._reopened_at = None
    assert network.failures >= 4 and len(errors_in(caplog)) >= network.failures
    network.close()
    assert gpu.clean


def test_after_the_gpu_is_lost_the_processor_goes_on(board, caplog):
    gpu, spec = board
    network = opened(spec, "tensorrt")
    gpu.lose()
    same(network.run(faces()), OnnxEngine(EMBEDDER).run(faces()))
    assert network.opened.label == "ONNX Runtime"
    assert any("ONNX Runtime" in message and "TensorRT" in message for message in errors_in(caplog))
    network.close()


def test_two_networks_on_a_lost_gpu_go_on_one_after_the_other(board):
    gpu, spec = board
    first, second = opened(spec, "tensorrt"), opened(dataclasses.replace(spec, name="second"), "tensorrt")
    gpu.lose()
    for network in (first, second, first):
        same(network.run(faces()), OnnxEngine(EMBEDDER).run(faces()))
        assert network.opened.label == "ONNX Runtime"
    first.close(), second.close()
