"""What is known of a TensorRT engine: the card that lies beside it, and what TensorRT itself tells where it can run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from app.errors import ModelError
from app.inference.onnx_damage import damage_of
from app.inference.tensorrt_plan import PlanDescription, describe_plan
from app.inference.tensorrt_tensors import TensorRange, written
from app.text import program


@dataclass(frozen=True)
class EngineFacts:
    """One engine file."""

    file_bytes: int
    card: Mapping[str, Any]
    """What was written down when it was built; empty when there is no card."""
    plan: Optional[PlanDescription] = None
    missing: str = ""
    """Why TensorRT tells nothing."""

    def as_json(self) -> Dict[str, Any]:
        facts: Dict[str, Any] = {"file_bytes": self.file_bytes, "card": dict(self.card), "missing": self.missing}
        if self.plan is None:
            return facts
        return {
            **facts,
            "tensors": [describe_tensor(tensor) for tensor in self.plan.tensors],
            "profiles": self.plan.profiles,
            "working_memory_bytes": self.plan.working_memory_bytes,
            "layers_by_precision": self.plan.layers_by_precision,
            "layers": [vars(layer) for layer in self.plan.layers],
        }


def describe_tensor(tensor: TensorRange) -> str:
    """`input 1 x 3 x ? x ? float32, from 1 x 3 x 64 x 64 to 1 x 3 x 640 x 640, best at …`"""
    if tensor.profile is None:
        return str(tensor.spec)
    least, best, largest = map(written, tensor.profile)
    return f"{tensor.spec}, from {least} to {largest}, best at {best}"


def engine_facts(path: Path) -> EngineFacts:
    """The card, and TensorRT's own description where there is a GPU and a TensorRT that reads this engine."""
    card = read_card(path)
    file_bytes = path.stat().st_size
    if not file_bytes:
        raise ModelError(f"{path}: it is empty: build it again: {program()} engines build")
    if not damage_of(path):
        raise ModelError(f"{path}: this is an ONNX file and no engine: name it .onnx")
    try:
        return EngineFacts(file_bytes, card, describe_plan(path))
    except ModelError as error:
        return EngineFacts(file_bytes, card, missing=f"TensorRT tells nothing of it here: {error}")


def read_card(engine: Path) -> Dict[str, Any]:
    """The card beside an engine, as it was written; empty when there is none."""
    path = engine.with_suffix(".json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}; build the engine again: {program()} engines build"
        ) from error
    return content if isinstance(content, dict) else {}
