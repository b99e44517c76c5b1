"""Loads and describes engine files, which TensorRT calls plans."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from app.errors import ModelError
from app.inference.cuda import probe_gpu
from app.inference.tensorrt_api import called, load_tensorrt, make_logger
from app.inference.tensorrt_tensors import TensorRange, tensor_ranges, tensors_of
from app.text import program

_PRECISION = re.compile(
    r"\b(FP32|FP16|BF16|FP8|FP4|INT64|INT32|INT8|INT4|UINT8|BOOL|Float|Half|BFloat16)\b", re.IGNORECASE
)
_OTHER_NAMES = {"FLOAT": "FP32", "HALF": "FP16", "BFLOAT16": "BF16"}


class UnreadablePlanError(ModelError):
    """TensorRT rejects the file; another engine can be built."""


@dataclass(frozen=True)
class PlanLayer:
    """One layer of the engine, often several of the network's layers fused."""

    name: str
    kind: str = ""
    precision: str = ""
    """Of its first output. Both are empty unless the engine was built with detailed layer information."""


@dataclass(frozen=True)
class PlanDescription:
    """TensorRT's description of an engine."""

    tensors: Tuple[TensorRange, ...]
    profiles: int
    layers: Tuple[PlanLayer, ...]
    """None with TensorRT 8.0, which has no inspector."""
    working_memory_bytes: int
    """GPU memory for the layers, without weights, inputs and outputs."""

    @property
    def layers_by_precision(self) -> Dict[str, int]:
        return dict(Counter(layer.precision for layer in self.layers if layer.precision).most_common())


def describe_plan(path: Path, sha256: Optional[str] = None) -> PlanDescription:
    """Loads the engine on the GPU for a moment. Raises NoGpuError where there is none; `sha256` as in `read_plan`."""
    trt = load_tensorrt()
    probe_gpu()
    engine = read_plan(trt, start_runtime(trt), path, sha256)
    return PlanDescription(
        tensors=tensor_ranges(trt, tensors_of(trt, engine)),
        profiles=engine.num_optimization_profiles,
        layers=_layers(trt, engine),
        working_memory_bytes=working_memory_bytes(engine),
    )


def _layers(trt: Any, engine: Any) -> Tuple[PlanLayer, ...]:
    if not hasattr(engine, "create_engine_inspector"):
        return ()
    create = engine.create_engine_inspector
    inspector = called(create, what="opening the engine inspector", trt_logger=make_logger(trt))
    layer_format = trt.LayerInformationFormat.JSON
    texts = [inspector.get_layer_information(index, layer_format) for index in range(engine.num_layers)]
    return tuple(map(layer_from_json, texts))


def start_runtime(trt: Any, dla: Optional[int] = None) -> Any:
    """`dla`: the accelerator for engines that were built for one.

    Call it only if there is a GPU: without one TensorRT may return a runtime that crashes the process.
    """
    trt_logger = make_logger(trt)
    runtime = called(trt.Runtime, trt_logger, what="starting its runtime", trt_logger=trt_logger)
    if dla is not None:
        runtime.DLA_core = dla
    return runtime


def read_plan(trt: Any, runtime: Any, path: Path, sha256: Optional[str] = None) -> Any:
    """Loads the engine onto the GPU, if the file has this SHA-256: TensorRT runs whatever is in it."""
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(plan).hexdigest() != sha256:
        raise UnreadablePlanError(
            f"{path} has another SHA-256 than the engine that was built: it is damaged or was replaced, and is not "
            f"loaded; build it again: {program()} engines build --force"
        )
    try:
        engine = called(runtime.deserialize_cuda_engine, plan, what=f"reading {path}", trt_logger=make_logger(trt))
    except ModelError as error:
        raise UnreadablePlanError(
            f"{error}. It was built by another TensorRT version or for another GPU, or it is damaged; build it again: "
            f"{program()} engines build --force"
        ) from error
    if getattr(engine, "has_implicit_batch_dimension", False):
        raise ModelError(f"{path} has an implicit batch size; build it from its ONNX file instead")
    return engine


def working_memory_bytes(engine: Any) -> int:
    """GPU memory for the layers, without weights, inputs and outputs."""
    newer = hasattr(engine, "device_memory_size_v2")
    return int(engine.device_memory_size_v2 if newer else engine.device_memory_size)


def layer_from_json(text: str) -> PlanLayer:
    """Parses a layer from the inspector: its name only, or JSON if the engine was built with detailed information."""
    try:
        fields = json.loads(text)
    except ValueError:
        return PlanLayer(text.strip())
    if not isinstance(fields, dict):
        return PlanLayer(str(fields))
    outputs = fields.get("Outputs") or [{}]
    found = _PRECISION.search(str(outputs[0].get("Format/Datatype", "")))
    precision = found.group(1).upper() if found else ""
    return PlanLayer(
        str(fields.get("Name", "")), str(fields.get("LayerType", "")), _OTHER_NAMES.get(precision, precision)
    )
