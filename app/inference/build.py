"""Engines for TensorRT: found where they were built before, built where they are missing, kept beside the ONNX file."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from app import __version__
from app.errors import ModelError
from app.files import write_whole
from app.inference.build_job import MEBIBYTE, BuildJob, BuildWishes, Built, default_workspace_bytes
from app.inference.build_process import run_builder
from app.inference.calibration import NOTHING_SEEN, how_to_learn, ranges_file
from app.inference.cuda import borrow_gpu, give_back_gpu
from app.inference.engine import NetworkSpec
from app.inference.engine_card import (
    CannotKeepError,
    EngineCard,
    EngineDemand,
    card_of,
    engines_beside,
    keep_engine,
    stale_reason,
)
from app.inference.failed_build import failed_before, forget_failure, remember_failure
from app.inference.place import Place, place_here
from app.inference.tensorrt import TensorRTEngine
from app.inference.tensorrt_plan import UnreadablePlanError

logger = logging.getLogger(__name__)

Report = Callable[[str], None]

LOWER = {"auto": ("fp16", "fp32"), "int8": ("int8", "fp16", "fp32"), "fp16": ("fp16", "fp32"), "fp32": ("fp32",)}
"""By what is asked for: the precisions that are tried, one after the other."""

TELL_EVERY_S = 15.0


@dataclass(frozen=True)
class KeptEngine:
    """An engine that lies on the disk and fits."""

    path: Path
    card: EngineCard
    was_there: bool
    lack: str = ""
    """Why it is not in int8, which was asked for and could not be tried."""

    @property
    def remark(self) -> str:
        """What is to be said of it, besides that it is there."""
        refused = "".join(f"; {precision} could not be built: {why}" for precision, why in self.card.instead_of.items())
        made = "built on this device before" if self.was_there else f"built now in {self.card.build_seconds:.0f} s"
        return f"{self.path.name}, {made}{refused}{self.lack and f'; no int8: {self.lack}'}"


def open_tensorrt(network: NetworkSpec, build_missing: bool, report: Report) -> Tuple[TensorRTEngine, str, str]:
    """The network on TensorRT, its precision, and how that came about: from an engine that fits, else one is built.

    Raises ModelError with all reasons when there is no way.
    """
    here, gpu = place_here()
    found, unfit = find_engine(network, here)
    if found is not None:
        try:
            return _opened(found)
        except UnreadablePlanError as error:
            unfit[found.path.name] = str(error)
    why = "; ".join(f"{name} cannot be used: {reason}" for name, reason in unfit.items()) or "there is none yet"
    if not build_missing:
        raise ModelError(f"no engine for {network.name}: {why}; build one: {network.build_command}")
    known_failure = failed_before(network, here)
    if known_failure:
        raise ModelError(
            f"building an engine for {network.name} failed before; try again with: {network.build_command}. "
            f"The reasons were: {known_failure}"
        )
    # What would keep a new engine from running is found out before minutes are spent on it.
    borrow_gpu()
    give_back_gpu()
    report(
        f"{network.name}: building an engine for TensorRT on {gpu.name}, once, since {why}; this takes minutes "
        "(--backend onnx starts at once)"
    )
    made = _built_once(network, here, gpu.memory_bytes, report)
    try:
        return _opened(made)
    except UnreadablePlanError as error:
        remember_failure(network, here, str(error))
        raise


def _opened(kept: KeptEngine) -> Tuple[TensorRTEngine, str, str]:
    return TensorRTEngine(kept.path, kept.card.dla), kept.card.precision, kept.remark


def _built_once(network: NetworkSpec, here: Place, gpu_memory: int, report: Report) -> KeptEngine:
    """A new engine. A failure is remembered."""
    tell = _now_and_then(network, report)
    try:
        made = build_engine(network, BuildWishes(force=True), here=here, gpu_memory=gpu_memory, tell=tell)
    except CannotKeepError:
        raise
    except ModelError as error:
        remember_failure(network, here, str(error))
        raise
    report(f"{network.name}: {made.remark}")
    return made


def precisions_for(asked: str) -> Tuple[str, ...]:
    if asked not in LOWER:
        raise ModelError(f"TensorRT engines compute in fp32, fp16 or int8, not in {asked}")
    return LOWER[asked]


def find_engine(network: NetworkSpec, here: Place) -> Tuple[Optional[KeptEngine], Dict[str, str]]:
    """The engine beside the network that a run takes, of several that fit the one built last; why others do not fit.

    A precision that is asked for outright is exchanged for another only where it could not be built, or is int8 and
    there is nothing to learn it from. Raises ModelError where that is so and nothing but int8 will do.
    """
    precisions = precisions_for(network.precision)
    found, unfit = _find(network, precisions if network.precision == "auto" else precisions[:1], here)
    lack = "" if found else _lack(network)
    if lack:
        found, unfit = find_engine(_in_fp16(network, lack), here)
    return found and replace(found, lack=lack), unfit


def _find(network: NetworkSpec, wanted: Tuple[str, ...], here: Place) -> Tuple[Optional[KeptEngine], Dict[str, str]]:
    demand = EngineDemand.of(network, wanted)
    fitting: List[KeptEngine] = []
    unfit: Dict[str, str] = {}
    for path in engines_beside(network.path):
        card = card_of(path)
        reason = stale_reason(card, demand, here)
        if reason is None and card is not None:
            fitting.append(KeptEngine(path, card, was_there=True))
        else:
            unfit[path.name] = reason or "it has no card"

    def rank(engine: KeptEngine) -> Tuple[int, str]:
        precision = engine.card.precision
        return -wanted.index(precision) if precision in wanted else -len(wanted), engine.card.built_at

    return (max(fitting, key=rank) if fitting else None), unfit


def build_engine(
    network: NetworkSpec,
    wishes: BuildWishes,
    *,
    here: Place,
    gpu_memory: int,
    tell: Report,
) -> KeptEngine:
    """The engine, in the wanted precision or the next that can be built; `tell` hears what is being done.

    Raises ModelError with all reasons.
    """
    _check_folder(network.path)
    lack = _lack(network, wishes.learn_anew)
    if lack:
        # Not one of the reasons on the engine's card, for which it is taken as long as it lies there.
        logger.warning("%s: no engine in int8: %s", network.name, lack)
        lower = _in_fp16(network, lack)
        return replace(build_engine(lower, wishes, here=here, gpu_memory=gpu_memory, tell=tell), lack=lack)
    if network.precision == "int8" and not wishes.learn_anew and _ranges_are_known(network):
        # Perhaps from better pictures than are at hand now.
        network = replace(network, pictures=None)
    refused: Dict[str, str] = {}
    for precision in precisions_for(network.precision)[: 1 if network.exact_precision else None]:
        job = _job(network, precision, wishes, here, gpu_memory)
        try:
            made = _built(job, network, refused, tell)
            forget_failure(network)
            return made
        except CannotKeepError:
            raise
        except ModelError as error:
            logger.warning("%s: no engine in %s: %s", network.name, precision, error)
            refused[precision] = str(error)
    reasons = "".join(f"\n  {precision}: {reason}" for precision, reason in refused.items())
    raise ModelError(f"no engine of {network.name} can be built with {here}{reasons}")


def _lack(network: NetworkSpec, learn_anew: bool = False) -> str:
    """Why int8 cannot even be tried; empty where it can, or is not asked for.

    The first picture is looked at, since what the builder says stays on an engine's card when there are better ones.
    """
    if network.precision != "int8" or (_ranges_are_known(network) and not learn_anew):
        return ""
    if network.pictures is None:
        return "it is learnt from pictures, and here are none"
    try:
        first = next(network.pictures(), None)
    except ModelError as error:
        return str(error)
    return NOTHING_SEEN + how_to_learn(network.name) if first is None else ""


def _in_fp16(network: NetworkSpec, lack: str) -> NetworkSpec:
    """What is taken in the place of int8 that cannot be tried."""
    if network.exact_precision:
        raise ModelError(lack)
    return replace(network, precision="fp16")


def _ranges_are_known(network: NetworkSpec) -> bool:
    return ranges_file(network.path, network.sha256).is_file()


def _built(job: BuildJob, network: NetworkSpec, refused: Dict[str, str], tell: Report) -> KeptEngine:
    def tell_all(step: str) -> None:
        tell(f"building {job.name} in {job.precision}, {_minutes(time.monotonic() - start)}{step and ': ' + step}")

    start = time.monotonic()
    built = run_builder(job, network.pictures() if network.pictures and job.precision == "int8" else None, tell_all)
    _keep_by_products(built)
    if built.plan is None:
        card = card_of(built.engine)
        if card is None:
            raise ModelError(f"{built.engine} has vanished while it was looked at")
        return KeptEngine(built.engine, card, was_there=True)
    least, best, largest = built.shapes
    card = EngineCard(
        tensorrt=job.here.tensorrt,
        gpu=job.here.gpu,
        compute_capability=job.here.compute_capability,
        precision=job.precision,
        least=least,
        best=best,
        largest=largest,
        onnx_sha256=job.sha256,
        file_bytes=len(built.plan),
        build_seconds=round(time.monotonic() - start, 1),
        program=__version__,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        dla=job.wishes.dla,
        instead_of=dict(refused),
    )
    keep_engine(built.engine, built.plan, card)
    return KeptEngine(built.engine, card, was_there=False)


def _job(network: NetworkSpec, precision: str, wishes: BuildWishes, here: Place, gpu_memory: int) -> BuildJob:
    workspace = wishes.workspace_mb
    return BuildJob(
        name=network.name,
        onnx=network.path,
        sha256=network.sha256,
        precision=precision,
        only_if_fast=network.precision == "auto",
        largest_input=network.largest_input,
        workspace_bytes=workspace * MEBIBYTE if workspace else default_workspace_bytes(gpu_memory),
        here=here,
        wishes=wishes,
        has_pictures=network.pictures is not None,
        log_level=logger.getEffectiveLevel(),
    )


def _check_folder(onnx: Path) -> None:
    """Before minutes are spent on what could not be kept."""
    folder = onnx.parent
    if not os.access(folder, os.W_OK):
        raise CannotKeepError(f"engines are kept in {folder}, which cannot be written to")
    room = shutil.disk_usage(folder).free
    needed = 2 * onnx.stat().st_size
    if room < needed:
        raise CannotKeepError(
            f"engines are kept in {folder}, where {room // MEBIBYTE} MB are free: about {needed // MEBIBYTE + 1} MB "
            "are needed"
        )


def _keep_by_products(built: Built) -> None:
    for path, content in built.by_products.items():
        try:
            write_whole(path, content)
        except OSError as error:
            logger.warning("%s cannot be kept, so that the next build takes longer: %s", path, error.strerror)


def _now_and_then(network: NetworkSpec, report: Report) -> Report:
    told_at = time.monotonic()

    def tell(line: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TELL_EVERY_S:
            told_at = time.monotonic()
            report(line)

    return tell


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
