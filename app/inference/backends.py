"""Opens a network on the backend that is requested, or on the fastest one that works on this machine."""

from __future__ import annotations

import importlib.util
import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Callable, Collection, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.inference.backend_choices import BackendChoice, BackendChoices
from app.inference.cuda import NoGpuError, probe_gpu
from app.inference.engine import Engine, NetworkSpec, TensorSpec
from app.inference.host import has_int8_instructions
from app.inference.onnx import CPU, OnnxEngine, onnx_providers, provider_label
from app.inference.openvino import OpenVinoEngine, openvino_devices

logger = logging.getLogger(__name__)

TITLES = {"tensorrt": "TensorRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
PACKAGES = {"tensorrt": "tensorrt", "onnx": "onnxruntime", "openvino": "openvino"}

MIN_GAIN = 0.1
"""A later candidate must save this share of an earlier one's time, so that noise does not decide."""
MIN_ROUNDS = 5
MAX_ROUNDS = 30
TIME_TO_MEASURE_S = 1.0


@dataclass(frozen=True)
class OpenedNetwork:
    """An engine that was chosen for a network, and why."""

    engine: Engine
    backend: str
    precision: str
    reason: str
    """For the user."""
    label: str
    """The backend's title, with the device if it is not the processor."""

    def __str__(self) -> str:
        return f"{self.label}, {self.precision}: {self.reason}"

    @property
    def inputs(self) -> Tuple[TensorSpec, ...]:
        return self.engine.inputs

    @property
    def outputs(self) -> Tuple[TensorSpec, ...]:
        return self.engine.outputs

    @property
    def max_batch(self) -> Optional[int]:
        return self.engine.max_batch

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        return self.engine.run(feeds)

    def close(self) -> None:
        self.engine.close()


CandidateEngine = Union[OnnxEngine, OpenVinoEngine]


@dataclass(frozen=True)
class Candidate:
    """A network that is open on one backend and device, and has run once."""

    backend: str
    label: str
    engine: CandidateEngine


def open_network(
    spec: NetworkSpec, backend: str = "auto", build_missing: bool = True, measure_again: bool = False
) -> OpenedNetwork:
    """Opens the network on the requested backend, or on the best one that works on this machine.

    That is TensorRT if there is a GPU for it, otherwise the faster of ONNX Runtime and OpenVINO. Which one is faster is
    measured once and remembered next to the network's file; `measure_again` ignores what is remembered.
    `build_missing` allows TensorRT to build an engine, which takes minutes.
    """
    is_auto = backend == "auto"
    reasons = {name: unavailable_reason(name) for name in TITLES} if is_auto else {}
    unavailable = [reason for reason in reasons.values() if reason]
    backends = [name for name in (TITLES if is_auto else (backend,)) if not reasons.get(name)]
    failures: List[str] = []
    if "tensorrt" in backends:
        try:
            return _open_on_tensorrt(spec, build_missing, is_auto)
        except ModelError as error:
            has_title = not is_auto or str(error).startswith(TITLES["tensorrt"])
            failures.append(str(error) if has_title else f"{TITLES['tensorrt']}: {error}")
        backends.remove("tensorrt")
    fastest_of = partial(_open_fastest, backends, backend, failures, measure_again)
    chosen, figures = fastest_of(spec)
    if chosen is None and is_auto and spec.precision != "auto" and not spec.exact_precision:
        # No backend supports the requested precision, but the program should run all the same.
        chosen, figures = fastest_of(replace(spec, precision="auto"))
        if chosen is not None:
            why = "; ".join([*unavailable, *failures])
            message = "%s: %s is not available on this machine, %s is used instead (%s)"
            logger.warning(message, spec.name, spec.precision, chosen.engine.precision, why)
    if chosen is None:
        raise _failure(spec, backend, list(dict.fromkeys((*failures, *unavailable))))
    remarks = ["as requested"] if not is_auto else []
    remarks += [figures] if figures else unavailable
    reason = "; ".join([*remarks, *failures])
    return OpenedNetwork(chosen.engine, chosen.backend, chosen.engine.precision, reason, chosen.label)


def reopen(spec: NetworkSpec, opened: OpenedNetwork) -> OpenedNetwork:
    """The network once more where it ran before. Raises ModelError."""
    spec = replace(spec, precision=opened.precision)
    if opened.backend == "tensorrt":
        return replace(_open_on_tensorrt(spec, False, False), reason=opened.reason)
    failures: List[str] = []
    for candidate in _open_candidates(opened.backend, spec, failures, opened.label):
        return replace(opened, engine=candidate.engine)
    raise ModelError("; ".join(failures))


def open_elsewhere(spec: NetworkSpec, failed: Collection[str]) -> OpenedNetwork:
    """The network where it has not failed, which `failed` lists by label: accelerators first, the processor last.

    Nothing is measured or built, since a camera waits. Raises ModelError.
    """
    failures: List[str] = []
    for precision in dict.fromkeys((spec.precision, "auto")):
        for backend in ("onnx", "openvino"):
            for label, open_engine in _ways(backend, replace(spec, precision=precision), failures).items():
                if label in failed:
                    continue
                candidate = _opened_candidate(backend, label, open_engine, spec, failures)
                if candidate is not None:
                    reason = f"replaces {', '.join(failed)}, which failed"
                    return OpenedNetwork(candidate.engine, backend, candidate.engine.precision, reason, label)
    raise ModelError("; ".join(dict.fromkeys(failures)))


def remembered_choice(spec: NetworkSpec, backend: str) -> Optional[BackendChoice]:
    """The measured choice that a start would use now, if there is one."""
    found = BackendChoices(spec, backend).find()
    if found is None and spec.precision != "auto":
        found = BackendChoices(replace(spec, precision="auto"), backend).find()
    return found


def unavailable_reason(backend: str) -> str:
    """Why a backend is not worth trying; empty if it is."""
    if backend == "tensorrt":
        try:
            probe_gpu()
        except NoGpuError as error:
            logger.debug("TensorRT is not available: %s", error)
            return "no NVIDIA GPU"
    return "" if importlib.util.find_spec(PACKAGES[backend]) else f"{TITLES[backend]} is not installed"


def example_input(engine: Engine, spec: NetworkSpec) -> Dict[str, np.ndarray]:
    """One item of the largest size, as noise."""
    noise = np.random.default_rng(0)
    picture = (1, *spec.largest_input[1:])
    feeds = {}
    for tensor in engine.inputs:
        free = picture if len(tensor.shape) == len(picture) else (1,) * len(tensor.shape)
        shape = [size or chosen for size, chosen in zip(tensor.shape, free)]
        feeds[tensor.name] = noise.uniform(0, 1, shape).astype(tensor.dtype)
    return feeds


def min_times_ms(engines: Sequence[Engine], spec: NetworkSpec) -> List[float]:
    """The shortest run of each engine, as other load on the machine only lengthens runs. They run in turns."""
    feeds = [example_input(engine, spec) for engine in engines]
    spent: List[List[float]] = [[] for _ in engines]
    end = time.perf_counter() + TIME_TO_MEASURE_S
    while len(spent[0]) < MIN_ROUNDS or (len(spent[0]) < MAX_ROUNDS and time.perf_counter() < end):
        for engine, given, times in zip(engines, feeds, spent):
            start = time.perf_counter()
            engine.run(given)
            times.append((time.perf_counter() - start) * 1000)
    return [min(times) for times in spent]


def fastest(times: Sequence[float]) -> int:
    """The index of the first time, unless a later one is clearly shorter."""
    best = 0
    for row, spent in enumerate(times):
        if spent < times[best] * (1 - MIN_GAIN):
            best = row
    return best


def _open_on_tensorrt(spec: NetworkSpec, build_missing: bool, is_auto: bool) -> OpenedNetwork:
    from app.inference.build import open_tensorrt

    engine, file = open_tensorrt(spec, build_missing, logger.warning)
    if spec.exact_precision and file.precision != spec.precision:
        engine.close()
        raise ModelError(f"the engine's precision is {file.precision} ({file.remark})")
    _run_once(engine, spec)
    reason = file.remark if is_auto else f"as requested; {file.remark}"
    return OpenedNetwork(engine, "tensorrt", file.precision, reason, TITLES["tensorrt"])


def _open_fastest(
    backends: Sequence[str], requested: str, failures: List[str], measure_again: bool, spec: NetworkSpec
) -> Tuple[Optional[Candidate], str]:
    """The fastest candidate and the figures behind the choice; None if no candidate works.

    A remembered choice is opened without measuring. If that fails, all candidates are measured again.
    """
    choices = BackendChoices(spec, requested)
    remembered = None if measure_again else choices.find()
    if remembered is not None and remembered.backend in backends:
        opened = _open_candidates(remembered.backend, spec, [], remembered.label)
        if opened:
            return opened[0], str(remembered)
        logger.info("%s: %s does not work any more; measuring again", spec.name, remembered.label)
        choices.forget()
    candidates = [candidate for name in backends for candidate in _open_candidates(name, spec, failures)]
    if len(candidates) < 2:
        return (candidates[0] if candidates else None), ""
    times = min_times_ms([candidate.engine for candidate in candidates], spec)
    chosen = candidates[fastest(times)]
    for candidate in candidates:
        if candidate is not chosen:
            candidate.engine.close()
    measured = BackendChoice(
        model=spec.name,
        backend=chosen.backend,
        label=chosen.label,
        precision=chosen.engine.precision,
        times_ms={candidate.label: round(spent, 2) for candidate, spent in zip(candidates, times)},
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    choices.save(measured)
    return chosen, measured.figures


def _open_candidates(backend: str, spec: NetworkSpec, failures: List[str], only: str = "") -> List[Candidate]:
    """The network on each device of the backend, or only on the one with the label `only`. Adds to `failures`."""
    opened = (
        _opened_candidate(backend, label, open_engine, spec, failures)
        for label, open_engine in _ways(backend, spec, failures).items()
        if only in ("", label)
    )
    return [candidate for candidate in opened if candidate is not None]


def _ways(backend: str, spec: NetworkSpec, failures: List[str]) -> Dict[str, Callable[[], CandidateEngine]]:
    """How to open the network on each device of the backend, by label. Adds to `failures`."""
    precision, threads = spec.precision, spec.threads
    ways: Dict[str, Callable[[], CandidateEngine]] = {}
    try:
        path = _int8_file(spec, backend) if precision == "int8" else spec.path
        if backend == "onnx":
            for provider in [CPU] if precision == "int8" else onnx_providers():
                ways[provider_label(provider)] = partial(OnnxEngine, path, threads, precision, provider)
        else:
            for device in ["CPU"] if precision == "int8" else openvino_devices():
                label = "OpenVINO" if device == "CPU" else f"OpenVINO ({device})"
                ways[label] = partial(OpenVinoEngine, path, threads, precision, device)
    except ModelError as error:
        failures.append(str(error))
    return ways


def _opened_candidate(
    backend: str, label: str, open_engine: Callable[[], CandidateEngine], spec: NetworkSpec, failures: List[str]
) -> Optional[Candidate]:
    """None, with an entry in `failures`, if it cannot be opened or run."""
    try:
        engine = open_engine()
        _run_once(engine, spec)
    except (ModelError, MemoryError, OSError) as error:
        failures.append(str(error) or f"{label}: no memory left")
        return None
    return Candidate(backend, label, engine)


def _int8_file(spec: NetworkSpec, backend: str) -> Path:
    """The network in int8 for processors. Raises ModelError where there is none, or the processor is no good at it."""
    if spec.int8_path is None:
        raise ModelError(f"{TITLES[backend]} needs a quantised network for int8, and there is none of this model")
    if not has_int8_instructions():
        raise ModelError(f"{TITLES[backend]} needs a processor with VNNI for int8")
    return spec.int8_path


def _run_once(engine: Engine, spec: NetworkSpec) -> None:
    """Some drivers fail only when they compute something."""
    try:
        engine.run(example_input(engine, spec))
    except ModelError:
        engine.close()
        raise


def _failure(spec: NetworkSpec, backend: str, reasons: Sequence[str]) -> ModelError:
    if spec.exact_precision:
        where = "this machine" if backend == "auto" else TITLES[backend]
        return ModelError(f"{spec.name}: {spec.precision} is not available on {where}: {'; '.join(reasons)}")
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return ModelError(f"{spec.name} cannot run (backend {backend}, precision {spec.precision}){listed}")
