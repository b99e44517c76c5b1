"""TensorRT engines: finds the ones that were built before, and builds those that are missing."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Dict, List, Optional, Tuple

from app import __version__
from app.errors import ModelError
from app.files import write_whole
from app.inference.build_process import run_builder
from app.inference.cuda import borrow_gpu, give_back_gpu
from app.inference.engine import NetworkSpec
from app.inference.engine_files import (
    CannotStoreError,
    EngineFile,
    engines_of,
    failed_build_reason,
    forget_failed_build,
    read_engine_file,
    remember_failed_build,
    store_engine,
)
from app.inference.host import available_memory
from app.inference.int8 import no_pictures_text, ranges_file
from app.inference.tensorrt import TensorRTEngine
from app.inference.tensorrt_api import TensorRTTarget, current_target
from app.inference.tensorrt_builder import BuildJob, BuildOptions, BuildResult
from app.inference.tensorrt_plan import UnreadablePlanError
from app.types import MessageCallback

logger = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
REPORT_EVERY_S = 15.0
PRECISIONS = {"auto": ("fp16", "fp32"), "int8": ("int8", "fp16", "fp32"), "fp16": ("fp16", "fp32"), "fp32": ("fp32",)}
"""For each requested precision, the precisions to try, in this order."""


def open_tensorrt(spec: NetworkSpec, build_missing: bool, report: MessageCallback) -> Tuple[TensorRTEngine, EngineFile]:
    """Opens a usable engine of the network, and builds one first if there is none.

    Raises ModelError with all reasons.
    """
    target = current_target()
    found, unusable = find_engine(spec, target)
    if found is not None:
        try:
            return TensorRTEngine(found.path, found.dla, found.sha256), found
        except UnreadablePlanError as error:
            unusable[found.path.name] = str(error)
    why = "; ".join(f"{name} cannot be used: {reason}" for name, reason in unusable.items()) or "none exists yet"
    if not build_missing:
        raise ModelError(f"no engine for {spec.name}: {why}; build one: {spec.build_command}")
    failure = failed_build_reason(spec, target)
    if failure:
        raise ModelError(
            f"building an engine for {spec.name} failed before; to try again: {spec.build_command}\n{failure}"
        )
    # Fails now if an engine could not run anyway, instead of after minutes of building.
    borrow_gpu()
    give_back_gpu()
    report(
        f"{spec.name}: building an engine for {target} ({why}); this takes minutes, but only once (to start now: "
        "--backend onnx)"
    )
    try:
        built = build_engine(spec, BuildOptions(force=True), target, _limited(report))
        report(f"{spec.name}: {built.remark}")
        return TensorRTEngine(built.path, built.dla, built.sha256), built
    except (BuildFailedError, UnreadablePlanError) as error:
        remember_failed_build(spec, target, str(error))
        raise


class BuildFailedError(ModelError):
    """No engine could be built, in any precision."""


def precisions_to_try(requested: str) -> Tuple[str, ...]:
    if requested not in PRECISIONS:
        raise ModelError(f"TensorRT engines support fp32, fp16 and int8, but not {requested}")
    return PRECISIONS[requested]


def find_engine(spec: NetworkSpec, target: TensorRTTarget) -> Tuple[Optional[EngineFile], Dict[str, str]]:
    """The stored engine that a run would use (the newest of several), and why others cannot be used, by file name.

    A requested precision is replaced only if building it failed, or if it is int8 and cannot be calibrated. Raises
    ModelError if int8 cannot be calibrated and no other precision is allowed.
    """
    precisions = precisions_to_try(spec.precision)
    accepted = precisions if spec.precision == "auto" else precisions[:1]
    usable: List[EngineFile] = []
    unusable: Dict[str, str] = {}
    for path in engines_of(spec.path):
        engine = read_engine_file(path)
        if engine is None:
            unusable[path.name] = "it has no valid metadata"
            continue
        reason = engine.unusable_reason(spec.sha256, accepted, spec.largest_input, target)
        if reason:
            unusable[path.name] = reason
        else:
            usable.append(engine)

    def rank(engine: EngineFile) -> Tuple[int, str]:
        order = accepted.index(engine.precision) if engine.precision in accepted else len(accepted)
        return -order, engine.built_at

    if usable:
        return max(usable, key=rank), unusable
    no_int8 = _calibration_problem(spec)
    if not no_int8:
        return None, unusable
    found, unusable = find_engine(_in_fp16(spec, no_int8), target)
    return found and replace(found, no_int8=no_int8), unusable


def build_engine(
    spec: NetworkSpec, options: BuildOptions, target: TensorRTTarget, report: MessageCallback
) -> EngineFile:
    """Builds an engine in the requested precision, or in the next one that works, and stores it.

    Raises ModelError with all reasons.
    """
    _check_folder(spec)
    no_int8 = _calibration_problem(spec, options.recalibrate)
    if no_int8:
        # Not stored with the engine: int8 is possible as soon as there are pictures.
        logger.warning("%s: int8 is not possible: %s", spec.name, no_int8)
        return replace(build_engine(_in_fp16(spec, no_int8), options, target, report), no_int8=no_int8)
    if spec.precision == "int8" and not options.recalibrate and ranges_file(spec.path, spec.sha256).is_file():
        # The known ranges may come from better pictures than the present ones.
        spec = replace(spec, pictures=None)
    failures: Dict[str, str] = {}
    for precision in precisions_to_try(spec.precision)[: 1 if spec.exact_precision else None]:
        try:
            engine = _build(spec, precision, options, target, failures, report)
        except CannotStoreError:
            raise
        except ModelError as error:
            logger.warning("%s: building %s failed: %s", spec.name, precision, error)
            failures[precision] = str(error)
        else:
            forget_failed_build(spec)
            return engine
    reasons = "".join(f"\n  {precision}: {reason}" for precision, reason in failures.items())
    raise BuildFailedError(f"no engine of {spec.name} can be built for {target}{reasons}")


def default_workspace_bytes(gpu_memory: int, free_memory: Optional[int] = None) -> int:
    """A sixteenth of the GPU's memory, from 256 MB to 2 GB.

    `free_memory` is given where the GPU shares it with all programs, as on a Jetson: at most a quarter of it is used,
    since the builder needs as much again for the network, and a camera or a desktop may need the rest. At least 64 MB.
    """
    wanted = max(256 * MEBIBYTE, min(2048 * MEBIBYTE, gpu_memory // 16))
    return wanted if free_memory is None else max(64 * MEBIBYTE, min(wanted, free_memory // 4))


def _workspace_bytes(options: BuildOptions, target: TensorRTTarget) -> int:
    if options.workspace_mb:
        return options.workspace_mb * MEBIBYTE
    free = available_memory() if target.shares_memory else None
    chosen = default_workspace_bytes(target.gpu_memory, free)
    if free is not None and chosen < default_workspace_bytes(target.gpu_memory):
        logger.warning(
            "only %d MB of memory are free: layers get %d MB of workspace, which can make the engine slower; to choose "
            "it: engines build --workspace MB",
            free // MEBIBYTE,
            chosen // MEBIBYTE,
        )
    return chosen


def _build(
    spec: NetworkSpec,
    precision: str,
    options: BuildOptions,
    target: TensorRTTarget,
    failures: Dict[str, str],
    report: MessageCallback,
) -> EngineFile:
    pictures = spec.pictures() if spec.pictures and precision == "int8" else None
    job = BuildJob(
        spec=replace(spec, pictures=None),
        precision=precision,
        options=options,
        target=target,
        workspace_bytes=_workspace_bytes(options, target),
        has_pictures=pictures is not None,
        log_level=logger.getEffectiveLevel(),
    )
    start = time.monotonic()

    def report_step(step: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        elapsed = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        report(f"building {spec.name} in {precision}, {elapsed}{step and ': ' + step}")

    result = run_builder(job, pictures, report_step)
    return _store(job, result, round(time.monotonic() - start, 1), failures)


def _store(job: BuildJob, result: BuildResult, seconds: float, failures: Dict[str, str]) -> EngineFile:
    for path, content in result.by_products.items():
        try:
            write_whole(path, content)
        except OSError as error:
            logger.warning("%s cannot be written, so the next build takes longer: %s", path, error.strerror)
    if result.plan is None:
        existing = read_engine_file(result.path)
        if existing is None:
            raise ModelError(f"{result.path} disappeared while it was checked")
        return existing
    engine = EngineFile(
        path=result.path,
        target=job.target,
        precision=job.precision,
        shapes=result.shapes,
        onnx_sha256=job.spec.sha256,
        file_bytes=len(result.plan),
        build_seconds=seconds,
        program=__version__,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        dla=job.options.dla,
        failures=dict(failures),
        sha256=hashlib.sha256(result.plan).hexdigest(),
        is_new=True,
    )
    store_engine(engine, result.plan)
    return engine


def _calibration_problem(spec: NetworkSpec, recalibrate: bool = False) -> str:
    """Why int8 cannot be calibrated; empty if it can, or if another precision is requested.

    Loads the first picture: a failure inside the builder would be stored with the engine.
    """
    if spec.precision != "int8" or (not recalibrate and ranges_file(spec.path, spec.sha256).is_file()):
        return ""
    if spec.pictures is None:
        return "it needs calibration pictures, and there are none"
    try:
        first = next(spec.pictures(), None)
    except ModelError as error:
        return str(error)
    return no_pictures_text(spec.name) if first is None else ""


def _in_fp16(spec: NetworkSpec, reason: str) -> NetworkSpec:
    """The replacement for int8 if it cannot be calibrated."""
    if spec.exact_precision:
        raise ModelError(reason)
    return replace(spec, precision="fp16")


def _check_folder(spec: NetworkSpec) -> None:
    """Fails before minutes are spent on an engine that could not be stored."""
    folder = spec.path.parent
    if not os.access(folder, os.W_OK):
        raise CannotStoreError(f"engines are stored in {folder}, which is not writable")
    free = shutil.disk_usage(folder).free
    needed = 2 * spec.path.stat().st_size
    if free < needed:
        raise CannotStoreError(
            f"engines are stored in {folder}, which has {free // MEBIBYTE} MB free; about {needed // MEBIBYTE + 1} MB "
            "are needed"
        )


def _limited(report: MessageCallback) -> MessageCallback:
    """Passes on one line every few seconds."""
    reported_at = time.monotonic()

    def limited(line: str) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at >= REPORT_EVERY_S:
            reported_at = time.monotonic()
            report(line)

    return limited
