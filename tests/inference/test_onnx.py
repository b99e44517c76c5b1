"""Networks on ONNX Runtime: opened, described, run in batches of any size, closed, and refused with a reason."""

import os
import subprocess
import sys

import numpy as np
import pytest
from broken_networks import DAMAGED, UNKNOWN_OPERATOR
from shipped import CATALOG, ROOT

from app.errors import ModelError
from app.inference.engine import TensorSpec, run_in_batches
from app.inference.onnx import CPU, MAX_BATCH_ON_CPU, OnnxEngine, onnx_providers, provider_label

EMBEDDER = CATALOG.parent / "mobilefacenet.onnx"


@pytest.fixture
def embedder():
    engine = OnnxEngine(EMBEDDER, threads=1)
    yield engine
    engine.close()


def test_inputs_and_outputs_are_described(embedder):
    assert embedder.inputs == (TensorSpec("input", (None, 3, 112, 112), np.dtype(np.float32)),)
    assert embedder.outputs == (TensorSpec("embedding", (None, 128), np.dtype(np.float32)),)
    assert str(embedder.inputs[0]) == "input ? x 3 x 112 x 112 float32"


def test_a_batch_gives_what_each_item_gives_alone(embedder):
    crops = np.random.default_rng(0).normal(0, 0.5, (5, 3, 112, 112)).astype(np.float32)
    together = run_in_batches(embedder, crops)["embedding"]
    alone = np.concatenate([run_in_batches(embedder, crop[None])["embedding"] for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_on_the_processor_many_items_are_run_a_few_at_a_time(embedder):
    assert embedder.max_batch == MAX_BATCH_ON_CPU < 16
    crops = np.random.default_rng(0).normal(0, 0.5, (MAX_BATCH_ON_CPU + 1, 3, 112, 112)).astype(np.float32)
    in_groups = run_in_batches(embedder, crops)["embedding"]
    np.testing.assert_allclose(in_groups, embedder.run({"input": crops})["embedding"], atol=1e-4)


def test_results_stay_valid_after_the_next_run(embedder):
    first = embedder.run({"input": np.zeros((1, 3, 112, 112), np.float32)})["embedding"]
    kept = first.copy()
    embedder.run({"input": np.ones((1, 3, 112, 112), np.float32)})
    np.testing.assert_array_equal(first, kept)


def test_running_a_closed_network_is_an_error(embedder):
    embedder.close()
    with pytest.raises(ModelError, match="closed"):
        embedder.run({"input": np.zeros((1, 3, 112, 112), np.float32)})


@pytest.mark.parametrize(("content", "damage"), DAMAGED)
def test_a_damaged_file_is_an_error_with_a_remedy(tmp_path, content, damage):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        OnnxEngine(path)
    assert str(refused.value).startswith(f"{path}: {damage}; ")


def test_a_file_that_onnx_runtime_cannot_load_is_an_error_with_its_reason(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(UNKNOWN_OPERATOR)
    with pytest.raises(ModelError, match=r"net\.onnx: ONNX Runtime .*Nonsense"):
        OnnxEngine(path)


class FixedBatchEngine:
    """Doubles its input, four items at a time, and refuses anything else."""

    inputs = (TensorSpec("items", (4, 2), np.dtype(np.float32)),)
    outputs = (TensorSpec("doubled", (4, 2), np.dtype(np.float32)),)
    max_batch = None

    def run(self, feeds):
        assert feeds["items"].shape == (4, 2)
        return {"doubled": feeds["items"] * 2}

    def close(self):
        pass


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_a_network_built_for_four_takes_any_number(count):
    items = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    np.testing.assert_array_equal(run_in_batches(FixedBatchEngine(), items)["doubled"], items * 2)


def test_precisions_other_than_fp32_are_refused():
    with pytest.raises(ModelError, match="not fp16"):
        OnnxEngine(EMBEDDER, precision="fp16")


@pytest.mark.parametrize(
    "feeds",
    [{}, {"input": np.zeros((1, 3, 96, 96), np.float32)}, {"input": np.zeros((1, 3, 112, 112), np.float64)}],
    ids=["nothing", "another size", "another type"],
)
def test_invalid_inputs_are_refused(embedder, feeds):
    with pytest.raises(ModelError, match="input"):
        embedder.run(feeds)


def test_the_processor_is_the_last_provider_to_be_tried():
    assert onnx_providers()[-1] == CPU
    assert provider_label(CPU) == "ONNX Runtime"
    assert provider_label("CUDAExecutionProvider") == "ONNX Runtime (CUDA)"


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider"])
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error_and_not_silently_the_processor(provider):
    if provider in onnx_providers():
        pytest.skip(f"this ONNX Runtime has {provider}")
    with pytest.raises(ModelError, match=r"ONNX Runtime \(\w+\)"):
        OnnxEngine(EMBEDDER, provider=provider)


def test_without_onnx_runtime_the_error_has_an_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="pip install onnxruntime"):
        OnnxEngine(EMBEDDER)


@pytest.mark.parametrize(
    "program",
    [
        "from app.cli import main; main(['compare', PICTURE, PICTURE])",
        "from app import Recognizer; Recognizer.from_settings(Settings(models=ModelSettings(backend='onnx'))).close()",
    ],
    ids=["command", "library"],
)
def test_nothing_is_kept_or_sent_for_the_makers_of_onnx_runtime(program, tmp_path):
    picture = ROOT / "docs" / "demo.jpg"
    code = f"from app.settings import ModelSettings, Settings; PICTURE = {str(picture)!r}; {program}"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name] == []
