"""The content of a model file: `.onnx`, or a TensorRT engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from app.errors import ModelError
from app.inference.engine_files import read_metadata
from app.inference.onnx_damage import damage_of
from app.inference.onnx_info import OnnxInfo, read_onnx_info
from app.inference.tensorrt_plan import PlanDescription, describe_plan
from app.inference.tensorrt_tensors import TensorRange, shape_text
from app.models.catalog import Catalog
from app.models.engines import engines_built_from
from app.text import counted, labelled, megabytes, program, table

OPERATORS_SHOWN = 12


@dataclass(frozen=True)
class EngineInfo:
    """A TensorRT engine file."""

    file_bytes: int
    metadata: Mapping[str, Any]
    """As it was stored with the engine; empty if there is none."""
    plan: Optional[PlanDescription] = None
    missing: str = ""
    """Why TensorRT cannot describe the engine."""

    def as_json(self) -> Dict[str, Any]:
        fields = {"file_bytes": self.file_bytes, "metadata": dict(self.metadata), "missing": self.missing}
        if self.plan is None:
            return fields
        return {
            **fields,
            "tensors": [tensor_text(tensor) for tensor in self.plan.tensors],
            "profiles": self.plan.profiles,
            "working_memory_bytes": self.plan.working_memory_bytes,
            "layers_by_precision": self.plan.layers_by_precision,
            "layers": [vars(layer) for layer in self.plan.layers],
        }


FileInfo = Union[OnnxInfo, EngineInfo]


def find_files(text: str, catalog: Catalog) -> List[Path]:
    """The named file; or, for the name of a model, its file and the engines that were built from it."""
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir() and text not in catalog.entries:
        raise ModelError(f"{path} is a folder; expected a file")
    if text not in catalog.entries and (path.suffix in (".onnx", ".engine") or len(path.parts) > 1):
        raise ModelError(f"{path}: no such file")
    entry = catalog.require(text)
    return [entry.verified_file(), *engines_built_from(entry, catalog)]


def inspected_json(path: Path) -> Dict[str, Any]:
    return {"file": str(path), **_read(path).as_json()}


def inspected_text(path: Path, with_layers: bool) -> str:
    info = _read(path)
    lines = [str(path)]
    described = _onnx_lines(info) if isinstance(info, OnnxInfo) else engine_lines(info)
    lines += [f"  {heading:<12}{text}" for heading, text in described]
    if with_layers and not info.missing:
        lines += ["", _layers(info)]
    return "\n".join(lines)


def _read(path: Path) -> FileInfo:
    if path.suffix == ".engine":
        return read_engine_info(path)
    if path.suffix == ".onnx":
        return read_onnx_info(path)
    raise ModelError(f"{path}: only .onnx and .engine files can be inspected")


def read_engine_info(path: Path) -> EngineInfo:
    """The metadata, and TensorRT's own description if this machine can load the engine."""
    metadata = read_metadata(path)
    file_bytes = path.stat().st_size
    if not file_bytes:
        raise ModelError(f"{path} is empty; build it again: {program()} engines build")
    if not damage_of(path):
        raise ModelError(f"{path} is an ONNX file, not an engine; rename it to .onnx")
    try:
        return EngineInfo(file_bytes, metadata, describe_plan(path, metadata.get("sha256")))
    except ModelError as error:
        return EngineInfo(file_bytes, metadata, missing=f"not available on this machine: {error}")


def tensor_text(tensor: TensorRange) -> str:
    """`input 1 x 3 x ? x ? float32, from 1 x 3 x 64 x 64 to 1 x 3 x 640 x 640, best at …`"""
    if tensor.profile is None:
        return str(tensor.spec)
    smallest, best, largest = map(shape_text, tensor.profile)
    return f"{tensor.spec}, from {smallest} to {largest}, best at {best}"


def _onnx_lines(info: OnnxInfo) -> Iterator[Tuple[str, str]]:
    yield (
        "format",
        f"ONNX, opset {info.opset}, by {info.producer or 'an unnamed exporter'}" if info.opset else "ONNX",
    )
    yield from labelled("inputs", info.inputs)
    yield from labelled("outputs", info.outputs)
    yield "file", megabytes(info.file_bytes)
    if info.missing:
        yield "", info.missing
        return
    yield "precision", info.precision
    types = ", ".join(f"{megabytes(size)} {name}" for name, size in (info.weight_types or {}).items())
    yield "weights", f"{info.weights / 1e6:.2f} million: {types}"
    yield from labelled(
        "largest", [f"{t.name} {shape_text(t.shape)} {t.type}, {megabytes(t.size_bytes)}" for t in info.largest]
    )
    unknown = f" and {counted(info.sizes_unknown, 'result')} of unknown size" if info.sizes_unknown else ""
    yield "memory", f"{megabytes(info.activations_bytes)}{unknown} between the layers, for {info.activations_for}"
    yield "layers", f"{len(info.layers)}: {_operators(info.operators or {})}"


def engine_lines(info: EngineInfo) -> Iterator[Tuple[str, str]]:
    evidence = "metadata" if info.metadata else "file name"
    yield "format", "TensorRT engine" + ("" if info.plan else f" according to its {evidence}; not verified")
    yield "file", megabytes(info.file_bytes)
    yield from labelled("metadata", [f"{key}: {value}" for key, value in info.metadata.items()] or ["none"])
    if info.plan is None:
        yield "TensorRT", info.missing
        return
    for heading, is_input in (("inputs", True), ("outputs", False)):
        yield from labelled(heading, [tensor_text(held) for held in info.plan.tensors if held.is_input == is_input])
    yield "memory", f"{megabytes(info.plan.working_memory_bytes)} on the GPU, without weights, inputs and outputs"
    precisions = ", ".join(f"{count} {name}" for name, count in info.plan.layers_by_precision.items())
    yield "layers", f"{len(info.plan.layers)}" + (f": {precisions}" if precisions else "")


def _layers(info: FileInfo) -> str:
    if isinstance(info, OnnxInfo):
        nodes = [(str(at), node.operator, node.name, ", ".join(node.outputs)) for at, node in enumerate(info.layers)]
        return table(("", "operator", "name", "outputs"), nodes)
    assert info.plan is not None, "otherwise `missing` says why"
    rows = [
        (str(at), layer.kind or "-", layer.precision or "-", layer.name) for at, layer in enumerate(info.plan.layers)
    ]
    return table(("", "kind", "precision", "name"), rows)


def _operators(counts: Mapping[str, int]) -> str:
    shown = list(counts.items())[:OPERATORS_SHOWN]
    others = len(counts) - len(shown)
    text = ", ".join(f"{count} {name}" for name, count in shown)
    return f"{text} and {others} more kinds" if others > 0 else text
