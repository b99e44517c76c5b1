"""TensorRT's parser and builder: from an ONNX file to the bytes of an engine.

Runs in a process of its own (see `app/inference/build_process.py`), so that nothing here has to give memory back.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import numpy as np

from app.errors import ModelError
from app.inference.build_job import BuildJob, Built, shapes_for
from app.inference.calibration import Calibration, calibrates, ranges_file
from app.inference.engine_card import EngineDemand, card_of, engine_path, stale_reason
from app.inference.reduced_precision import fp16_network, int8_network
from app.inference.tensorrt_api import called, checked, load_tensorrt, make_logger
from app.inference.tensorrt_tensors import ShapeRange

logger = logging.getLogger(__name__)

NextPicture = Callable[[], Optional[np.ndarray]]
"""The next input (1 x 3 x height x width) to calibrate with; None when there are no more."""

STEPS_EVERY_S = 0.2


def build_plan(job: BuildJob, next_picture: NextPicture, tell: Callable[[str], None]) -> Built:
    """The engine, unless a fresh one like it lies there already. `tell` hears what is being done."""
    trt = load_tensorrt()
    trt_logger = make_logger(trt)
    builder = called(trt.Builder, trt_logger, what="starting its builder", trt_logger=trt_logger)
    _check_device(trt, builder, job)
    network = _parsed(trt, builder, job, _content(job), trt_logger)
    network_input = network.get_input(0)
    shapes = shapes_for(job.name, tuple(network_input.shape), job.largest_input, job.wishes)
    path = engine_path(job.onnx, job.precision, shapes, job.wishes.dla)
    if not job.wishes.force and _is_fresh(job, path, shapes):
        return Built(path, shapes, None)
    ranges = ranges_file(job.onnx, job.sha256)
    rewritten = _rewritten(trt, job, next_picture, ranges, tell)
    if rewritten is not None:
        network = _parsed(trt, builder, job, rewritten, trt_logger)
    config = called(builder.create_builder_config, what="preparing the build", trt_logger=trt_logger)
    timing_cache = _configure(trt, config, job)
    profile = _profile(builder, network_input.name, shapes, trt_logger)
    checked(config.add_optimization_profile(profile) >= 0, f"building for {shapes}", trt_logger)
    if hasattr(trt, "IProgressMonitor"):
        _report_progress(trt, config, tell)
    with ExitStack() as releases:
        table = None
        if job.precision == "int8" and rewritten is None:
            table = releases.enter_context(Calibration(job, shapes[2], next_picture, ranges))
            _calibrate(trt, builder, config, network_input.name, table, trt_logger)
        plan = _build(builder, network, config, job, table, trt_logger)
    by_products = {job.timing_cache: bytes(timing_cache.serialize())}
    learnt = rewritten if table is None else table.learnt
    if job.precision == "int8" and learnt is not None:
        by_products[ranges] = learnt
    return Built(path, shapes, plan, by_products)


def create_network(trt: Any, builder: Any) -> Any:
    """Up to 10 the batch must be declared free, from 11 on it is and types are always those of the ONNX file."""
    flags = trt.NetworkDefinitionCreationFlag
    wanted = 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0
    return called(builder.create_network, wanted, what="making an empty network")


def _check_device(trt: Any, builder: Any, job: BuildJob) -> None:
    dla = job.wishes.dla
    if dla is not None:
        found = builder.num_DLA_cores
        if dla >= found:
            what = f"only {found}, counted from 0" if found else "none"
            raise ModelError(
                f"there is no DLA core {dla}: TensorRT {trt.__version__} finds {what} on this board. Xavier, Orin NX "
                "and AGX Orin have them, with JetPack 5 and 6; leave out --dla"
            )
        if job.precision == "fp32":
            raise ModelError("a DLA core computes in fp16 and int8 only")
    if job.only_if_fast and job.precision == "fp16" and not getattr(builder, "platform_has_fast_fp16", True):
        raise ModelError("this GPU computes fp16 no faster than fp32")
    if job.precision == "int8" and not getattr(builder, "platform_has_fast_int8", True):
        raise ModelError("this GPU computes int8 no faster than fp16")


def _rewritten(
    trt: Any, job: BuildJob, next_picture: NextPicture, ranges: Path, tell: Callable[[str], None]
) -> Optional[bytes]:
    """The network in less than fp32, where TensorRT takes that from the ONNX file (11 and later); else None."""
    if job.precision == "fp16" and not hasattr(trt.BuilderFlag, "FP16"):
        return fp16_network(job.onnx)
    if job.precision != "int8" or calibrates(trt):
        return None
    if not job.has_pictures and ranges.is_file():
        return ranges.read_bytes()
    tell("finding the ranges of int8")
    return int8_network(job.name, job.onnx, next_picture)


def _parsed(trt: Any, builder: Any, job: BuildJob, content: bytes, trt_logger: Any) -> Any:
    network = create_network(trt, builder)
    parser = called(trt.OnnxParser, network, trt_logger, what="starting its parser", trt_logger=trt_logger)
    if not parser.parse(content):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(parser.num_errors))
        raise ModelError(f"{job.onnx}: TensorRT {trt.__version__} cannot read this network: {reasons}")
    if network.num_inputs != 1:
        raise ModelError(
            f"{job.onnx} has {network.num_inputs} inputs; engines are built for networks with one, and a file with "
            "none is no network or damaged"
        )
    return network


def _reason(problem: Any) -> str:
    """What the parser has to say, and about which layer, as far as this version knows."""
    named = hasattr(problem, "node_operator") and problem.node_operator()
    where = f"{problem.node_operator()} {problem.node_name()}" if named else f"layer {problem.node()}"
    return f"{where.strip()}: {problem.desc()}"


def _content(job: BuildJob) -> bytes:
    try:
        return job.onnx.read_bytes()
    except OSError as error:
        raise ModelError(f"{job.onnx} cannot be read: {error.strerror}") from error


def _is_fresh(job: BuildJob, path: Path, shapes: ShapeRange) -> bool:
    card = card_of(path)
    if card is None or (card.least, card.best, card.largest) != shapes:
        return False
    return stale_reason(card, EngineDemand(job.sha256, (job.precision,), shapes[2]), job.here) is None


def _configure(trt: Any, config: Any, job: BuildJob) -> Any:
    """Returns the timing cache, which fills during the build."""
    if hasattr(config, "set_memory_pool_limit"):
        _limit_pool(trt, config, job.workspace_bytes)
    else:
        config.max_workspace_size = job.workspace_bytes
    # Else fp32 is silently one of 19 bits on newer GPUs.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if job.precision in ("fp16", "int8") and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if job.precision == "int8" and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
    if job.wishes.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = job.wishes.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return _timing_cache(config, job)


def _limit_pool(trt: Any, config: Any, size: int) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)


def _timing_cache(config: Any, job: BuildJob) -> Any:
    known = job.timing_cache.read_bytes() if job.timing_cache.is_file() else b""
    timing_cache = config.create_timing_cache(known)
    if timing_cache is None or not config.set_timing_cache(timing_cache, False):
        logger.warning("%s cannot be used and is made anew", job.timing_cache)
        timing_cache = checked(config.create_timing_cache(b""), "making a timing cache")
        checked(config.set_timing_cache(timing_cache, False), "using a new timing cache")
    return timing_cache


def _profile(builder: Any, name: str, shapes: ShapeRange, trt_logger: Any) -> Any:
    profile = called(builder.create_optimization_profile, what="making a profile", trt_logger=trt_logger)
    called(lambda: profile.set_shape(name, *shapes) is not False, what=f"building for {shapes}", trt_logger=trt_logger)
    return profile


def _calibrate(trt: Any, builder: Any, config: Any, name: str, calibration: Calibration, trt_logger: Any) -> None:
    config.int8_calibrator = calibration.calibrator(trt)
    profile = _profile(builder, name, (calibration.shape,) * 3, trt_logger)
    checked(config.set_calibration_profile(profile), "setting the shape to calibrate with", trt_logger)


def _build(
    builder: Any, network: Any, config: Any, job: BuildJob, calibration: Optional[Calibration], trt_logger: Any
) -> bytes:
    build = builder.build_serialized_network
    try:
        plan = called(build, network, config, what=f"building {job.name} in {job.precision}", trt_logger=trt_logger)
    finally:
        # Whatever TensorRT made of it: it learnt from too little.
        if calibration is not None and calibration.failure is not None:
            raise calibration.failure
    return bytes(plan)


def _report_progress(trt: Any, config: Any, tell: Callable[[str], None]) -> None:
    """Tells the phases and how far each is, which TensorRT 10 and later report."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: Dict[str, int] = {}
            self._told_at = 0.0

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._told_at >= STEPS_EVERY_S:
                self._told_at = now
                tell(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, step + 1)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    config.progress_monitor = Monitor()
