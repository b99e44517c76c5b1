"""The card beside an engine file: what it was built from, for what and where; and whether it may be loaded here.

An engine works only with the very TensorRT and the kind of GPU that built it. TensorRT finds that out late, or not at
all, so that it is decided by the card, before the engine is touched.
"""

from __future__ import annotations

import glob
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from app.errors import ModelError
from app.files import write_whole
from app.inference.engine import NetworkSpec
from app.inference.engine_facts import read_card
from app.inference.place import Place
from app.inference.tensorrt_tensors import ShapeRange, written

LEAST_SIDE = 32
"""The smallest height and width that a network with a free size is asked for."""

_TEXTS = ("tensorrt", "gpu", "compute_capability", "precision", "onnx_sha256", "program", "built_at")


@dataclass(frozen=True)
class EngineCard:
    """What is written down when an engine is built."""

    tensorrt: str
    gpu: str
    compute_capability: str
    precision: str
    least: Tuple[int, ...]
    best: Tuple[int, ...]
    largest: Tuple[int, ...]
    onnx_sha256: str
    file_bytes: int
    build_seconds: float
    program: str
    """The version of this program."""
    built_at: str
    """As 2026-01-31T12:00:00+00:00."""
    dla: Optional[int] = None
    """The number of the deep learning accelerator that it was built for, if any."""
    instead_of: Mapping[str, str] = field(default_factory=dict)
    """Lower precisions that were asked for and could not be built, each with the reason."""


@dataclass(frozen=True)
class EngineDemand:
    """What a run asks of an engine."""

    onnx_sha256: str
    precisions: Tuple[str, ...]
    """Any of these will do; the first is liked best."""
    largest_input: Tuple[int, ...]

    @classmethod
    def of(cls, network: NetworkSpec, precisions: Tuple[str, ...]) -> EngineDemand:
        return cls(network.sha256, precisions, network.largest_input)


def stale_reason(card: Optional[EngineCard], demand: EngineDemand, here: Place) -> Optional[str]:
    """Why an engine with that card cannot be used for this here; None when it can."""
    if card is None:
        return "there is no card beside it that says what it was built from"
    if card.onnx_sha256 != demand.onnx_sha256:
        return "it was built from another file than the model's present one"
    if card.tensorrt != here.tensorrt:
        return f"it was built by TensorRT {card.tensorrt}, and here is {here.tensorrt}"
    if (card.gpu, card.compute_capability) != (here.gpu, here.compute_capability):
        return f"it was built for {card.gpu} ({card.compute_capability}), and here is {here.gpu}" + (
            f" ({here.compute_capability})"
        )
    if card.precision not in demand.precisions and not set(demand.precisions) & set(card.instead_of):
        return f"it computes in {card.precision}, and {' or '.join(demand.precisions)} is asked for"
    return _shape_reason(card, demand.largest_input)


def _shape_reason(card: EngineCard, asked: Tuple[int, ...]) -> Optional[str]:
    """A size that cannot be chosen is no reason: whoever runs it fills up the batch, or fits the picture in."""
    if len(card.largest) != len(asked):
        return f"it takes {written(card.largest)}, and {written(asked)} is asked for"
    free = [least != largest for least, largest in zip(card.least, card.largest)]
    if free[0] and card.least[0] > 1:
        return f"it takes no fewer than {card.least[0]} at once"
    for axis in range(1, len(asked)):
        if free[axis] and (card.largest[axis] < asked[axis] or card.least[axis] > LEAST_SIDE):
            return (
                f"it was built for {written(card.least)} to {written(card.largest)}, and {written(asked)} is asked for"
            )
    return None


def engine_path(onnx: Path, precision: str, shapes: ShapeRange, dla: Optional[int]) -> Path:
    """Several engines of a model lie side by side: `NAME.fp16.b16.112x112.engine`, `NAME.int8.b1.640x480.engine`."""
    least, best, largest = shapes
    usual = (1, usual_best_batch(largest[0])) == (least[0], best[0])
    batch = str(largest[0]) if usual else "-".join(str(shape[0]) for shape in shapes)
    size = "x".join(map(str, reversed(largest[2:])))
    details = [precision, f"b{batch}", size if least[2:] == largest[2:] else f"upto{size}"]
    details += [] if dla is None else [f"dla{dla}"]
    return onnx.with_name(f"{onnx.stem}.{'.'.join(details)}.engine")


def engines_beside(onnx: Path) -> List[Path]:
    """Whatever lies there under such a name."""
    return sorted(onnx.parent.glob(f"{glob.escape(onnx.stem)}.*.engine"))


def usual_best_batch(largest: int) -> int:
    """The batch that an engine is tuned for unless the user says otherwise: pictures with few faces are the rule."""
    return max(1, largest // 4)


def card_of(engine: Path) -> Optional[EngineCard]:
    """The card beside an engine; None when there is none that can be read and is about the file that lies there now."""
    try:
        card = _card_from(read_card(engine))
    except (ModelError, KeyError, TypeError, ValueError):
        return None
    return card if engine.is_file() and engine.stat().st_size == card.file_bytes else None


def _card_from(facts: Dict[str, Any]) -> EngineCard:
    instead_of = facts.get("instead_of", {})
    dla = facts.get("dla")
    if not isinstance(instead_of, dict) or not (dla is None or isinstance(dla, int)):
        raise ValueError("not a card of ours")
    least, best, largest = (tuple(int(size) for size in facts[name]) for name in ("least", "best", "largest"))
    texts = {name: str(facts[name]) for name in _TEXTS}
    return EngineCard(
        tensorrt=texts["tensorrt"],
        gpu=texts["gpu"],
        compute_capability=texts["compute_capability"],
        precision=texts["precision"],
        least=least,
        best=best,
        largest=largest,
        onnx_sha256=texts["onnx_sha256"],
        file_bytes=int(facts["file_bytes"]),
        program=texts["program"],
        built_at=texts["built_at"],
        build_seconds=float(facts["build_seconds"]),
        dla=dla,
        instead_of={str(precision): str(reason) for precision, reason in instead_of.items()},
    )


def keep_engine(path: Path, plan: bytes, card: EngineCard) -> None:
    """Engine and card, each whole or not at all. An engine whose card is missing counts as none."""
    card_file = path.with_suffix(".json")
    try:
        if card_file.exists():
            card_file.unlink()
        write_whole(path, plan)
        write_whole(card_file, (json.dumps(asdict(card), indent=1) + "\n").encode())
    except OSError as error:
        raise CannotKeepError(f"{path} cannot be written: {error.strerror or error}") from error


class CannotKeepError(ModelError):
    """What was built cannot be stored, whatever its precision."""
