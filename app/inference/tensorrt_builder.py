"""TensorRT's parser and builder: from an ONNX file to the bytes of an engine.

Runs in a process of its own (see `app/inference/build_process.py`), so it does not release memory.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from app.errors import ModelError
from app.inference.engine import NetworkSpec
from app.inference.engine_files import MIN_SIDE, default_best_batch, engine_path, read_engine_file
from app.inference.int8 import Calibration, NextPicture, fp16_network, has_calibrator, int8_network, ranges_file
from app.inference.tensorrt_api import TensorRTTarget, called, checked, load_tensorrt, make_logger
from app.inference.tensorrt_tensors import ShapeRange, shape_text

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True)
class BuildOptions:
    """Options of `engines build`; each has a sensible default."""

    batch: Optional[Tuple[int, int, int]] = None
    """Smallest, best and largest batch."""
    size: Optional[Tuple[int, int]] = None
    """Width and height for an engine with a fixed input size."""
    workspace_mb: Optional[int] = None
    """Memory that a layer may use temporarily."""
    dla: Optional[int] = None
    """The number of a deep learning accelerator."""
    force: bool = False
    """Build even if a usable engine exists."""
    recalibrate: bool = False
    """Measure the ranges for int8 again even if they are known."""


@dataclass(frozen=True)
class BuildJob:
    """The builder's input: it is sent to another process."""

    spec: NetworkSpec
    """Without its pictures, which are sent one by one."""
    precision: str
    options: BuildOptions
    target: TensorRTTarget
    workspace_bytes: int
    has_pictures: bool
    """Calibrate int8 with pictures, instead of using known ranges."""
    log_level: int

    @property
    def timing_cache(self) -> Path:
        """Measured times of layer implementations, which make later builds faster."""
        capability = self.target.compute_capability.replace(".", "")
        return self.spec.path.with_name(f"tensorrt-{self.target.tensorrt}-sm{capability}.timing")


@dataclass(frozen=True)
class BuildResult:
    """The builder's output."""

    path: Path
    shapes: ShapeRange
    plan: Optional[bytes]
    """The engine's content; None if a usable engine is at this path already."""
    by_products: Dict[Path, bytes] = field(default_factory=dict)
    """Files that make later builds faster."""


def shapes_for(name: str, declared: Sequence[int], largest: Sequence[int], options: BuildOptions) -> ShapeRange:
    """The shapes to build for, given the network's declared input (-1: free) and the largest input at run time."""
    if len(declared) != 4 or declared[1] == -1:
        raise ModelError(
            f"{name}: engines need a network with one input N x 3 x height x width, but this one has "
            f"{shape_text(tuple(declared))}"
        )
    if declared[0] == -1:
        batches = options.batch or (1, default_best_batch(largest[0]), largest[0])
    elif options.batch is None or set(options.batch) == {declared[0]}:
        batches = (declared[0],) * 3
    else:
        raise ModelError(f"{name} has a fixed batch size of {declared[0]} in its ONNX file; remove --batch")
    width, height = options.size or (None, None)
    heights = _sides(name, "height", declared[2], largest[2], height)
    widths = _sides(name, "width", declared[3], largest[3], width)
    if options.dla is not None:
        batches, heights, widths = ((sizes[2],) * 3 for sizes in (batches, heights, widths))
    smallest, best, biggest = (
        (batch, declared[1], height, width) for batch, height, width in zip(batches, heights, widths)
    )
    return smallest, best, biggest


def _sides(name: str, what: str, declared: int, largest: int, requested: Optional[int]) -> Tuple[int, int, int]:
    if declared == -1:
        return (requested,) * 3 if requested else (min(MIN_SIDE, largest), largest, largest)
    if requested not in (None, declared):
        raise ModelError(
            f"{name} has a fixed input {what} of {declared} in its ONNX file, so {requested} is impossible"
        )
    return (declared,) * 3


def build_plan(job: BuildJob, next_picture: NextPicture, report: Callable[[str], None]) -> BuildResult:
    """Builds the engine, unless a usable one with the same shapes exists."""
    trt = load_tensorrt()
    trt_logger = make_logger(trt)
    builder = called(trt.Builder, trt_logger, what="starting its builder", trt_logger=trt_logger)
    _check_device(trt, builder, job)
    network = _parse(trt, builder, job, None, trt_logger)
    network_input = network.get_input(0)
    shapes = shapes_for(job.spec.name, tuple(network_input.shape), job.spec.largest_input, job.options)
    path = engine_path(job.spec.path, job.precision, shapes, job.options.dla)
    if not job.options.force and _is_usable(job, path, shapes):
        return BuildResult(path, shapes, None)
    ranges = ranges_file(job.spec.path, job.spec.sha256)
    converted = _converted(trt, job, next_picture, ranges, report)
    if converted is not None:
        network = _parse(trt, builder, job, converted, trt_logger)
    config = called(builder.create_builder_config, what="preparing the build", trt_logger=trt_logger)
    timing_cache = _configure(trt, config, job)
    profile = _profile(builder, network_input.name, shapes, trt_logger)
    checked(config.add_optimization_profile(profile) >= 0, f"building for {shapes}", trt_logger)
    if hasattr(trt, "IProgressMonitor"):
        _report_progress(trt, config, report)
    calibration = None
    if job.precision == "int8" and converted is None:
        known = ranges.read_bytes() if not job.has_pictures and ranges.is_file() else None
        calibration = Calibration(job.spec.name, shapes[2], next_picture, known)
    with calibration or contextlib.nullcontext():
        if calibration is not None:
            _calibrate(trt, builder, config, network_input.name, calibration, trt_logger)
        what = f"building {job.spec.name} in {job.precision}"
        try:
            plan = called(builder.build_serialized_network, network, config, what=what, trt_logger=trt_logger)
        finally:
            # Even if TensorRT built something: it was calibrated with too little.
            if calibration is not None and calibration.failure is not None:
                raise calibration.failure
    measured = converted if calibration is None else calibration.ranges
    by_products = {job.timing_cache: bytes(timing_cache.serialize())}
    if job.precision == "int8" and measured is not None:
        by_products[ranges] = measured
    return BuildResult(path, shapes, bytes(plan), by_products)


def create_network(trt: Any, builder: Any, trt_logger: Any = None) -> Any:
    """Up to TensorRT 10 an explicit batch must be requested; from 11 on it is the only kind."""
    flags = trt.NetworkDefinitionCreationFlag
    explicit = 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0
    return called(builder.create_network, explicit, what="creating a network", trt_logger=trt_logger)


def _check_device(trt: Any, builder: Any, job: BuildJob) -> None:
    dla = job.options.dla
    if dla is not None:
        found = builder.num_DLA_cores
        if dla >= found:
            what = f"only {found}, numbered from 0" if found else "none"
            raise ModelError(
                f"DLA core {dla} does not exist: TensorRT {trt.__version__} finds {what} on this board. Xavier, "
                "Orin NX and AGX Orin have them, with JetPack 5 and 6; remove --dla"
            )
        if job.precision == "fp32":
            raise ModelError("a DLA core supports fp16 and int8 only")
    only_if_fast = job.spec.precision == "auto"
    if only_if_fast and job.precision == "fp16" and not getattr(builder, "platform_has_fast_fp16", True):
        raise ModelError("fp16 is no faster than fp32 on this GPU")
    if job.precision == "int8" and not getattr(builder, "platform_has_fast_int8", True):
        raise ModelError("int8 is no faster than fp16 on this GPU")


def _converted(
    trt: Any, job: BuildJob, next_picture: NextPicture, ranges: Path, report: Callable[[str], None]
) -> Optional[bytes]:
    """The network in fp16 or int8 if TensorRT takes the precision from the ONNX file (11 and later), otherwise None."""
    if job.precision == "fp16" and not hasattr(trt.BuilderFlag, "FP16"):
        return fp16_network(job.spec.path)
    if job.precision != "int8" or has_calibrator(trt):
        return None
    if not job.has_pictures and ranges.is_file():
        return ranges.read_bytes()
    report("calibrating int8")
    return int8_network(job.spec.name, job.spec.path, next_picture)


def _parse(trt: Any, builder: Any, job: BuildJob, converted: Optional[bytes], trt_logger: Any) -> Any:
    """Parses the converted network, or the ONNX file."""
    try:
        content = job.spec.path.read_bytes() if converted is None else converted
    except OSError as error:
        raise ModelError(f"{job.spec.path} cannot be read: {error.strerror}") from error
    network = create_network(trt, builder, trt_logger)
    parser = called(trt.OnnxParser, network, trt_logger, what="starting its parser", trt_logger=trt_logger)
    if not parser.parse(content):
        reasons = "; ".join(_parser_error(parser.get_error(index)) for index in range(parser.num_errors))
        raise ModelError(f"{job.spec.path}: TensorRT {trt.__version__} cannot read this network: {reasons}")
    if network.num_inputs != 1:
        raise ModelError(
            f"{job.spec.path} has {network.num_inputs} inputs; engines need exactly one (a file without inputs is "
            "damaged or not a network)"
        )
    return network


def _parser_error(problem: Any) -> str:
    """The message and the layer, as far as this version reports it."""
    has_name = hasattr(problem, "node_operator") and problem.node_operator()
    where = f"{problem.node_operator()} {problem.node_name()}" if has_name else f"layer {problem.node()}"
    return f"{where.strip()}: {problem.desc()}"


def _is_usable(job: BuildJob, path: Path, shapes: ShapeRange) -> bool:
    existing = read_engine_file(path)
    if existing is None or existing.shapes != shapes:
        return False
    return not existing.unusable_reason(job.spec.sha256, (job.precision,), shapes[2], job.target)


def _configure(trt: Any, config: Any, job: BuildJob) -> Any:
    """Returns the timing cache, which is filled during the build."""
    if hasattr(config, "set_memory_pool_limit"):
        _limit_pool(trt, config, job.workspace_bytes)
    else:
        config.max_workspace_size = job.workspace_bytes
    # Otherwise fp32 silently has 19 bits on newer GPUs.
    config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.ProfilingVerbosity, "DETAILED"):  # not in 8.0, which has no inspector either
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if job.precision in ("fp16", "int8") and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if job.precision == "int8" and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
    if job.options.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = job.options.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    known = job.timing_cache.read_bytes() if job.timing_cache.is_file() else b""
    timing_cache = config.create_timing_cache(known)
    if timing_cache is None or not config.set_timing_cache(timing_cache, False):
        logger.warning("%s is not valid and is replaced", job.timing_cache)
        timing_cache = checked(config.create_timing_cache(b""), "creating a timing cache")
        checked(config.set_timing_cache(timing_cache, False), "using a new timing cache")
    return timing_cache


def _limit_pool(trt: Any, config: Any, size: int) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)


def _calibrate(trt: Any, builder: Any, config: Any, name: str, calibration: Calibration, trt_logger: Any) -> None:
    config.int8_calibrator = calibration.calibrator(trt)
    profile = _profile(builder, name, (calibration.shape,) * 3, trt_logger)
    checked(config.set_calibration_profile(profile), "setting the calibration shape", trt_logger)


def _profile(builder: Any, name: str, shapes: ShapeRange, trt_logger: Any) -> Any:
    profile = called(builder.create_optimization_profile, what="creating a profile", trt_logger=trt_logger)
    called(lambda: profile.set_shape(name, *shapes) is not False, what=f"building for {shapes}", trt_logger=trt_logger)
    return profile


def _report_progress(trt: Any, config: Any, report: Callable[[str], None]) -> None:
    """Reports the phases and their progress, which TensorRT 10 and later provide."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: Dict[str, int] = {}
            self._reported_at = 0.0

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._reported_at >= PROGRESS_EVERY_S:
                self._reported_at = now
                report(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, step + 1)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    config.progress_monitor = Monitor()
