"""The description of an engine: its metadata, and TensorRT's description where it is available."""

import numpy as np

from app.inference.engine import TensorSpec
from app.inference.tensorrt_plan import PlanDescription, PlanLayer
from app.inference.tensorrt_tensors import TensorRange
from app.tools.inspection import EngineInfo, engine_lines

PLAN = PlanDescription(
    tensors=(
        TensorRange(
            TensorSpec("input", (None, 3, 112, 112), np.dtype(np.float32)),
            True,
            ((1, 3, 112, 112), (8, 3, 112, 112), (16, 3, 112, 112)),
        ),
        TensorRange(TensorSpec("embedding", (None, 128), np.dtype(np.float32)), False),
    ),
    profiles=1,
    layers=(PlanLayer("a + b", "CaskConvolution", "FP16"), PlanLayer("c", "Reformat", "FP32"), PlanLayer("d")),
    working_memory_bytes=2_500_000,
)


def test_engine_that_tensorrt_reads():
    lines = list(engine_lines(EngineInfo(4_000_000, {"precision": "fp16"}, PLAN)))
    assert ("metadata", "precision: fp16") in lines
    shapes = "from 1 x 3 x 112 x 112 to 16 x 3 x 112 x 112, best at 8 x 3 x 112 x 112"
    assert ("inputs", f"input ? x 3 x 112 x 112 float32, {shapes}") in lines
    assert ("outputs", "embedding ? x 128 float32") in lines
    assert ("layers", "3: 1 FP16, 1 FP32") in lines
    assert any(heading == "memory" and text.startswith("2.5 MB") for heading, text in lines)


def test_engine_without_metadata_and_without_tensorrt_says_so():
    lines = list(engine_lines(EngineInfo(4_000_000, {}, missing="no GPU")))
    assert [heading for heading, _ in lines] == ["format", "file", "metadata", "TensorRT"]
    assert "not verified" in lines[0][1]
    assert lines[1:] == [("file", "4.0 MB"), ("metadata", "none"), ("TensorRT", "no GPU")]


def test_as_json():
    facts = EngineInfo(4_000_000, {"precision": "fp16"}, PLAN).as_json()
    assert facts["working_memory_bytes"] == 2_500_000
    assert facts["layers"][0] == {"name": "a + b", "kind": "CaskConvolution", "precision": "FP16"}
