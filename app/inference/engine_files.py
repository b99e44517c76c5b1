"""TensorRT engine files, and the metadata next to them that says whether an engine can be used.

An engine works only with the TensorRT version and the GPU model that built it. TensorRT reports a mismatch late or not
at all, so the metadata decides before the engine is loaded.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from app.errors import ModelError
from app.files import write_whole
from app.inference.engine import NetworkSpec
from app.inference.tensorrt_api import TensorRTTarget
from app.inference.tensorrt_tensors import ShapeRange, shape_text
from app.text import program

logger = logging.getLogger(__name__)

MIN_SIDE = 32
"""The smallest height and width that an engine with a free input size supports."""


class CannotStoreError(ModelError):
    """An engine cannot be stored. Another precision would not help."""


@dataclass(frozen=True)
class EngineFile:
    """An engine on disk and its metadata."""

    path: Path
    target: TensorRTTarget
    precision: str
    shapes: ShapeRange
    onnx_sha256: str
    file_bytes: int
    build_seconds: float
    program: str
    """The version of this program that built it."""
    built_at: str
    """As 2026-01-31T12:00:00+00:00."""
    dla: Optional[int] = None
    """The number of the deep learning accelerator that it was built for, if any."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """The precisions that were tried first and could not be built, with the reason."""
    sha256: str = ""
    """Of the engine's own file; computed when it is stored."""
    is_new: bool = False
    """Built by this process. Not stored."""
    no_int8: str = ""
    """Why int8 was requested and could not be tried. Not stored."""

    @property
    def remark(self) -> str:
        """Where the engine comes from, for the user."""
        origin = f"built in {self.build_seconds:.0f} s" if self.is_new else "built earlier"
        failures = "".join(f"; {precision} could not be built: {why}" for precision, why in self.failures.items())
        return f"{self.path.name}, {origin}{failures}" + (f"; no int8: {self.no_int8}" if self.no_int8 else "")

    def unusable_reason(
        self, sha256: str, precisions: Tuple[str, ...], largest_input: Tuple[int, ...], target: TensorRTTarget
    ) -> str:
        """Why the engine cannot be used for these requirements; empty if it can.

        An engine that replaces a requested precision which could not be built is accepted.
        """
        if self.onnx_sha256 != sha256:
            return "built from another ONNX file than the current one"
        if self.target.tensorrt != target.tensorrt:
            return f"built by TensorRT {self.target.tensorrt}, but {target.tensorrt} is installed"
        if self.target != target:
            return f"built for {self.target.gpu_text}, but this machine has {target.gpu_text}"
        if self.precision not in precisions and not set(precisions) & set(self.failures):
            return f"its precision is {self.precision}, but {' or '.join(precisions)} is requested"
        # A fixed size is never a mismatch: the caller pads the batch, or resizes the picture.
        smallest, _, largest = self.shapes
        if len(largest) != len(largest_input):
            return f"its input is {shape_text(largest)}, but {shape_text(largest_input)} is requested"
        is_free = [low != high for low, high in zip(smallest, largest)]
        if is_free[0] and smallest[0] > 1:
            return f"its smallest batch has {smallest[0]} items"
        for axis in range(1, len(largest_input)):
            if is_free[axis] and (largest[axis] < largest_input[axis] or smallest[axis] > MIN_SIDE):
                built_for = f"{shape_text(smallest)} to {shape_text(largest)}"
                return f"built for {built_for}, but {shape_text(largest_input)} is requested"
        return ""


def engine_path(onnx: Path, precision: str, shapes: ShapeRange, dla: Optional[int]) -> Path:
    """Distinguishes engines of one model: `NAME.fp16.b16.112x112.engine`, `NAME.int8.b1.640x480.engine`."""
    smallest, best, largest = shapes
    is_default = (smallest[0], best[0]) == (1, default_best_batch(largest[0]))
    batch = str(largest[0]) if is_default else "-".join(str(shape[0]) for shape in shapes)
    size = "x".join(map(str, reversed(largest[2:])))
    details = [precision, f"b{batch}", size if smallest[2:] == largest[2:] else f"upto{size}"]
    details += [] if dla is None else [f"dla{dla}"]
    return onnx.with_name(f"{onnx.stem}.{'.'.join(details)}.engine")


def default_best_batch(largest: int) -> int:
    """The batch size to optimise for by default: pictures usually have few faces."""
    return max(1, largest // 4)


def engines_of(onnx: Path, other_models: Iterable[Path] = ()) -> List[Path]:
    """The engine files of a model, without those of another model whose longer name begins the same."""
    longer = [f"{other.stem}." for other in other_models if other.stem.startswith(f"{onnx.stem}.")]
    found = sorted(onnx.parent.glob(f"{glob.escape(onnx.stem)}.*.engine"))
    return [path for path in found if not path.name.startswith(tuple(longer))]


def read_metadata(engine: Path) -> Dict[str, Any]:
    """The metadata of an engine as it is stored; empty if there is none."""
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


def read_engine_file(path: Path) -> Optional[EngineFile]:
    """The engine with its metadata; None if the metadata is missing, invalid or about another file."""
    try:
        fields = read_metadata(path)
        dla, failures = fields.get("dla"), fields.get("failures", {})
        if not isinstance(failures, dict) or not (dla is None or isinstance(dla, int)):
            return None
        smallest, best, largest = (
            tuple(int(size) for size in fields[name]) for name in ("min_shape", "best_shape", "max_shape")
        )
        engine = EngineFile(
            path=path,
            target=TensorRTTarget(str(fields["tensorrt"]), str(fields["gpu"]), str(fields["compute_capability"])),
            precision=str(fields["precision"]),
            shapes=(smallest, best, largest),
            onnx_sha256=str(fields["onnx_sha256"]),
            file_bytes=int(fields["file_bytes"]),
            build_seconds=float(fields["build_seconds"]),
            program=str(fields["program"]),
            built_at=str(fields["built_at"]),
            dla=dla,
            failures={str(precision): str(reason) for precision, reason in failures.items()},
            sha256=str(fields["sha256"]),
        )
    except (ModelError, KeyError, TypeError, ValueError):
        return None
    return engine if path.is_file() and path.stat().st_size == engine.file_bytes else None


def store_engine(engine: EngineFile, plan: bytes) -> None:
    """Writes engine and metadata atomically. An engine without metadata is never used."""
    metadata = engine.path.with_suffix(".json")
    smallest, best, largest = engine.shapes
    fields = {
        **engine.target.as_json(),
        "precision": engine.precision,
        "min_shape": smallest,
        "best_shape": best,
        "max_shape": largest,
        "onnx_sha256": engine.onnx_sha256,
        "file_bytes": engine.file_bytes,
        "sha256": hashlib.sha256(plan).hexdigest(),
        "build_seconds": engine.build_seconds,
        "program": engine.program,
        "built_at": engine.built_at,
        "dla": engine.dla,
        "failures": dict(engine.failures),
    }
    try:
        if metadata.exists():
            metadata.unlink()
        write_whole(engine.path, plan)
        write_whole(metadata, (json.dumps(fields, indent=1) + "\n").encode())
    except OSError as error:
        raise CannotStoreError(f"{engine.path} cannot be written: {error.strerror or error}") from error


def failed_build_reason(spec: NetworkSpec, target: TensorRTTarget) -> str:
    """Why building this network failed before under the same conditions; empty if it did not."""
    try:
        record = json.loads(_failure_file(spec).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    conditions = _build_conditions(spec, target)
    if not isinstance(record, dict) or {name: record.get(name) for name in conditions} != conditions:
        return ""
    return str(record.get("reasons", ""))


def remember_failed_build(spec: NetworkSpec, target: TensorRTTarget, reasons: str) -> None:
    """So that not every start spends minutes on the same failure."""
    content = json.dumps({**_build_conditions(spec, target), "reasons": reasons}, indent=1) + "\n"
    try:
        write_whole(_failure_file(spec), content.encode())
    except OSError as error:
        logger.warning("%s cannot be written, so the next start will try again: %s", _failure_file(spec), error)


def forget_failed_build(spec: NetworkSpec) -> None:
    if _failure_file(spec).exists():
        _failure_file(spec).unlink()


def _failure_file(spec: NetworkSpec) -> Path:
    return spec.path.with_name(f"{spec.path.stem}.build-failed.json")


def _build_conditions(spec: NetworkSpec, target: TensorRTTarget) -> Dict[str, str]:
    """What must change before another attempt is worthwhile."""
    precision = f"exactly {spec.precision}" if spec.exact_precision else spec.precision
    return {"onnx_sha256": spec.sha256, "precision": precision, **target.as_json()}
