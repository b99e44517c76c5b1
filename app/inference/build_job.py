"""One engine that is to be built: what is asked for, what comes of it, and the shapes that follow from both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from app.errors import ModelError
from app.inference.engine_card import LEAST_SIDE, usual_best_batch
from app.inference.place import Place
from app.inference.tensorrt_tensors import ShapeRange, written

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class BuildWishes:
    """What may be asked besides the network itself; everything has a sensible default."""

    batch: Optional[Tuple[int, int, int]] = None
    """Least, best and largest batch."""
    size: Optional[Tuple[int, int]] = None
    """Width and height that the engine shall be fixed to."""
    workspace_mb: Optional[int] = None
    """Memory that a layer may use while it computes."""
    dla: Optional[int] = None
    """The number of a deep learning accelerator."""
    force: bool = False
    """Also where a fresh engine lies there."""
    learn_anew: bool = False
    """Learn int8 from the pictures also where it was learnt before."""


@dataclass(frozen=True)
class BuildJob:
    """Everything that the builder, in a process of its own, has to know."""

    name: str
    onnx: Path
    sha256: str
    precision: str
    only_if_fast: bool
    """Refuse a precision that this GPU computes no faster than fp32."""
    largest_input: Tuple[int, int, int, int]
    workspace_bytes: int
    here: Place
    wishes: BuildWishes
    has_pictures: bool
    """Whether int8 is to be learnt from pictures, rather than to be what was learnt before."""
    log_level: int

    @property
    def timing_cache(self) -> Path:
        """How fast each way to compute a layer was: makes later builds shorter. It holds for one TensorRT and GPU."""
        capability = self.here.compute_capability.replace(".", "")
        return self.onnx.with_name(f"tensorrt-{self.here.tensorrt}-sm{capability}.timing")


@dataclass(frozen=True)
class Built:
    """What the builder made."""

    engine: Path
    """Where it belongs."""
    shapes: ShapeRange
    plan: Optional[bytes]
    """None when a fresh engine lies there already."""
    by_products: Dict[Path, bytes] = field(default_factory=dict)
    """Files that make later builds faster."""


def default_workspace_bytes(gpu_memory: int) -> int:
    """A sixteenth of the memory, which a Jetson shares with everything else: 256 MB of 4 GB, 2 GB at most."""
    return max(256 * MEBIBYTE, min(2048 * MEBIBYTE, gpu_memory // 16))


def shapes_for(name: str, declared: Sequence[int], asked: Sequence[int], wishes: BuildWishes) -> ShapeRange:
    """Least, best and largest input for a network that declares its input so (-1: free), when that much is asked."""
    if len(declared) != 4 or declared[1] == -1:
        raise ModelError(
            f"{name}: engines are built for networks with one input N x 3 x height x width, this one has "
            f"{written(tuple(declared))}"
        )
    batches = _batches(name, declared[0], asked[0], wishes)
    heights = _sides(name, "high", declared[2], asked[2], None if wishes.size is None else wishes.size[1])
    widths = _sides(name, "wide", declared[3], asked[3], None if wishes.size is None else wishes.size[0])
    if wishes.dla is not None:
        batches, heights, widths = ((largest,) * 3 for *_, largest in (batches, heights, widths))
    least, best, largest = (
        (batch, declared[1], height, width) for batch, height, width in zip(batches, heights, widths)
    )
    return least, best, largest


def _batches(name: str, declared: int, asked: int, wishes: BuildWishes) -> Tuple[int, int, int]:
    if declared == -1:
        return wishes.batch or (1, usual_best_batch(asked), asked)
    if wishes.batch is not None and set(wishes.batch) != {declared}:
        raise ModelError(f"{name} takes {declared} at once and nothing else: its ONNX file says so; leave out --batch")
    return declared, declared, declared


def _sides(name: str, direction: str, declared: int, asked: int, wished: Optional[int]) -> Tuple[int, int, int]:
    if declared != -1:
        if wished not in (None, declared):
            raise ModelError(
                f"{name} takes pictures {declared} pixels {direction} and no others: its ONNX file says so, so that "
                f"it cannot be built for {wished}"
            )
        return declared, declared, declared
    return (wished, wished, wished) if wished else (min(LEAST_SIDE, asked), asked, asked)
