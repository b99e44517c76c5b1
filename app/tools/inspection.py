"""A network's file, taken apart for people: `.onnx`, or an engine that was built on this device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

from app.errors import ModelError
from app.inference.engine_facts import EngineFacts, describe_tensor, engine_facts
from app.inference.onnx_facts import OnnxFacts, onnx_facts
from app.models.built_engines import engines_built_from
from app.models.catalog import Catalog
from app.text import counted, labelled, megabytes, table

OPERATORS_SHOWN = 12

Facts = Union[OnnxFacts, EngineFacts]


def find_files(text: str, catalog: Catalog) -> List[Path]:
    """A file; or of a model of the catalogue its file and the engines that were built from it."""
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir() and text not in catalog.entries:
        raise ModelError(f"{path} is a folder; name a file in it")
    if text not in catalog.entries and (path.suffix in (".onnx", ".engine") or len(path.parts) > 1):
        raise ModelError(f"there is no file {path}")
    entry = catalog.require(text)
    return [entry.verified_file(), *engines_built_from(entry, catalog)]


def inspected_json(path: Path) -> Dict[str, Any]:
    """Everything that is known of the file."""
    return {"file": str(path), **_facts(path).as_json()}


def inspected_text(path: Path, with_layers: bool) -> str:
    """The same, to be read."""
    facts = _facts(path)
    lines = [str(path)]
    described = _onnx_lines(facts) if isinstance(facts, OnnxFacts) else engine_lines(facts)
    lines += [f"  {heading:<12}{text}" for heading, text in described]
    if with_layers:
        lines += ["", _layers(facts)]
    return "\n".join(lines)


def _facts(path: Path) -> Facts:
    if path.suffix == ".engine":
        return engine_facts(path)
    if path.suffix == ".onnx":
        return onnx_facts(path)
    raise ModelError(f"{path}: only .onnx and .engine files can be inspected")


def _onnx_lines(facts: OnnxFacts) -> Iterator[Tuple[str, str]]:
    yield (
        "format",
        f"ONNX, opset {facts.opset}, by {facts.producer or 'an unnamed exporter'}" if facts.opset else "ONNX",
    )
    yield from labelled("inputs", facts.inputs)
    yield from labelled("outputs", facts.outputs)
    yield "file", megabytes(facts.file_bytes)
    if facts.missing:
        yield "", facts.missing
        return
    yield "precision", facts.precision
    types = ", ".join(f"{megabytes(size)} {name}" for name, size in (facts.weight_types or {}).items())
    yield "weights", f"{facts.weights / 1e6:.2f} million: {types}"
    yield from labelled(
        "largest", [f"{t.name} {_shape(t.shape)} {t.type}, {megabytes(t.size_bytes)}" for t in facts.largest]
    )
    unknown = f" and {counted(facts.sizes_unknown, 'result')} of unknown size" if facts.sizes_unknown else ""
    yield "memory", f"{megabytes(facts.activations_bytes)}{unknown} between the layers, for {facts.activations_for}"
    yield "layers", f"{len(facts.layers)}: {_operators(facts.operators or {})}"


def engine_lines(facts: EngineFacts) -> Iterator[Tuple[str, str]]:
    evidence = "its card" if facts.card else "its name alone"
    yield "format", "TensorRT engine" + ("" if facts.plan else f" by {evidence}: not verified, see TensorRT below")
    yield "file", megabytes(facts.file_bytes)
    yield from labelled("card", [f"{key}: {value}" for key, value in facts.card.items()] or ["none lies beside it"])
    if facts.plan is None:
        yield "TensorRT", facts.missing
        return
    for heading, is_input in (("inputs", True), ("outputs", False)):
        yield from labelled(
            heading, [describe_tensor(held) for held in facts.plan.tensors if held.is_input == is_input]
        )
    yield "memory", f"{megabytes(facts.plan.working_memory_bytes)} on the GPU, besides weights, inputs and outputs"
    precisions = ", ".join(f"{count} {name}" for name, count in facts.plan.layers_by_precision.items())
    yield "layers", f"{len(facts.plan.layers)}" + (f": {precisions}" if precisions else "")


def _layers(facts: Facts) -> str:
    if isinstance(facts, OnnxFacts):
        if facts.missing:
            return facts.missing
        nodes = [(str(at), node.operator, node.name, ", ".join(node.outputs)) for at, node in enumerate(facts.layers)]
        return table(("", "operator", "name", "outputs"), nodes)
    if facts.plan is None:
        return facts.missing
    rows = [
        (str(at), layer.kind or "-", layer.precision or "-", layer.name) for at, layer in enumerate(facts.plan.layers)
    ]
    return table(("", "kind", "precision", "name"), rows)


def _operators(counts: Mapping[str, int]) -> str:
    most = list(counts.items())[:OPERATORS_SHOWN]
    others = len(counts) - len(most)
    text = ", ".join(f"{count} {name}" for name, count in most)
    return f"{text} and {others} more kinds" if others > 0 else text


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"
