"""Which backend runs a network on this machine, and why."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import statistics
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.inference.backend_choices import BackendChoice, BackendChoices
from app.inference.cuda import NoGpuError, probe_gpu
from app.inference.engine import Engine, NetworkSpec
from app.inference.onnx import OnnxEngine, onnx_providers, provider_label
from app.inference.openvino import OpenVinoEngine, openvino_devices

logger = logging.getLogger(__name__)

MIN_GAIN = 0.1
"""A later candidate must save this share of an earlier one's time, so that noise does not decide."""

MOST_ROUNDS = 9
TIME_TO_MEASURE_S = 0.4

NAMES = {"tensorrt": "TensorRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
PACKAGES = {"tensorrt": "tensorrt", "onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class OpenedNetwork:
    """An opened network, and how it came to be opened like that."""

    engine: Engine
    backend: str
    precision: str
    reason: str
    """In words, for the user."""
    label: str
    """The backend in words, with what it computes on where that is not the processor."""

    def __str__(self) -> str:
        return f"{self.label}, {self.precision}: {self.reason}"


@dataclass(frozen=True)
class Runner:
    """A network that is open and has run once."""

    backend: str
    label: str
    engine: Union[OnnxEngine, OpenVinoEngine]


def open_network(
    network: NetworkSpec, backend: str = "auto", build_missing: bool = True, measure_again: bool = False
) -> OpenedNetwork:
    """Opens the network on the requested backend, or on the best one that works on this machine.

    That is TensorRT if there is a GPU for it, otherwise the faster of ONNX Runtime and OpenVINO. Which one is faster is
    measured once and remembered next to the network's file; `measure_again` ignores what is remembered.
    `build_missing` allows TensorRT to build an engine, which takes minutes.
    """
    asked = backend != "auto"
    absent = {} if asked else {name: reason for name in NAMES for reason in [unavailable_reason(name)] if reason}
    wanted = [name for name in ((backend,) if asked else NAMES) if name not in absent]
    remarks = ["as asked for"] if asked else []
    failed: List[str] = []
    if "tensorrt" in wanted:
        try:
            return _on_tensorrt(network, build_missing, remarks)
        except ModelError as error:
            told = asked or str(error).startswith(NAMES["tensorrt"])
            failed.append(str(error) if told else f"{NAMES['tensorrt']}: {error}")
    others = [name for name in wanted if name != "tensorrt"]
    chosen, timings = _fastest(others, network, BackendChoices(network, backend), failed, measure_again)
    unavailable = ""
    if chosen is None and not asked and network.precision != "auto" and not network.exact_precision:
        # No backend offers the requested precision, but the program should run all the same.
        unavailable = network.precision
        network = dataclasses.replace(network, precision="auto")
        chosen, timings = _fastest(others, network, BackendChoices(network, backend), failed, measure_again)
    if chosen is None:
        raise _refusal(network, backend, list(dict.fromkeys((*failed, *absent.values()))))
    if unavailable:
        reasons = "; ".join([*absent.values(), *failed])
        used = f"{chosen.engine.precision} is used for {network.name}"
        logger.warning("%s is not available on this machine: %s (%s)", unavailable, used, reasons)
    remarks.extend([timings] if timings else absent.values())
    return OpenedNetwork(
        chosen.engine, chosen.backend, chosen.engine.precision, "; ".join([*remarks, *failed]), chosen.label
    )


def _refusal(network: NetworkSpec, backend: str, reasons: Sequence[str]) -> ModelError:
    if network.exact_precision:
        where = "here" if backend == "auto" else f"on {NAMES[backend]}"
        return ModelError(f"{network.name} cannot be had in {network.precision} {where}: {'; '.join(reasons)}")
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return ModelError(f"{network.name} cannot run (backend {backend}, precision {network.precision}){listed}")


def remembered_choice(network: NetworkSpec, backend: str) -> Optional[BackendChoice]:
    """The measured choice that a start would take now, if there is one."""
    found = BackendChoices(network, backend).find()
    if found is None and network.precision != "auto":
        found = BackendChoices(dataclasses.replace(network, precision="auto"), backend).find()
    return found


def fastest(times: Sequence[float]) -> int:
    """Which one to take: the first, unless a later one is faster beyond doubt."""
    best = 0
    for row, spent in enumerate(times):
        if spent < times[best] * (1 - MIN_GAIN):
            best = row
    return best


def unavailable_reason(backend: str) -> str:
    """Why a backend need not be tried at all; empty when it is worth a try."""
    if backend == "tensorrt":
        try:
            probe_gpu()
        except NoGpuError as error:
            logger.debug("TensorRT is out: %s", error)
            return "no NVIDIA GPU"
    return "" if importlib.util.find_spec(PACKAGES[backend]) else f"{NAMES[backend]} is not installed"


def _on_tensorrt(network: NetworkSpec, build_missing: bool, remarks: Sequence[str]) -> OpenedNetwork:
    from app.inference.build import open_tensorrt

    engine, precision, reason = open_tensorrt(network, build_missing, logger.warning)
    if network.exact_precision and precision != network.precision:
        engine.close()
        raise ModelError(f"it is in {precision} ({reason})")
    _try(engine, network)
    return OpenedNetwork(engine, "tensorrt", precision, "; ".join([*remarks, reason]), NAMES["tensorrt"])


def _runners(backend: str, network: NetworkSpec, failed: List[str], only: str = "") -> List[Runner]:
    """The backend's candidates, opened, each after one run. Reasons of those that do not work are added to `failed`.

    `only`: the label of the only candidate to open.
    """
    runners = []
    try:
        ways = _ways(backend, network)
    except ModelError as error:
        failed.append(str(error))
        return []
    for label, open_engine in ways:
        if only not in ("", label):
            continue
        try:
            engine = open_engine()
            _try(engine, network)
        except ModelError as error:
            failed.append(str(error))
        else:
            runners.append(Runner(backend, label, engine))
    return runners


def _ways(backend: str, network: NetworkSpec) -> List[Tuple[str, Callable[[], Union[OnnxEngine, OpenVinoEngine]]]]:
    """What the backend can compute on here, in words, and how the network is opened on it."""
    path, precision, threads = network.path, network.precision, network.threads
    if backend == "onnx":
        return [
            (provider_label(provider), partial(OnnxEngine, path, threads, precision, provider))
            for provider in onnx_providers()
        ]
    return [
        (
            "OpenVINO" if device == "CPU" else f"OpenVINO ({device})",
            partial(OpenVinoEngine, path, threads, precision, device),
        )
        for device in openvino_devices()
    ]


def _try(engine: Engine, network: NetworkSpec) -> None:
    """Some drivers fail only when something is computed."""
    try:
        engine.run(example(engine, network))
    except ModelError:
        engine.close()
        raise


def example(engine: Engine, network: NetworkSpec) -> Dict[str, np.ndarray]:
    """Something to run it on: one item of the largest size."""
    noise = np.random.default_rng(0)
    picture = (1, *network.largest_input[1:])
    feeds = {}
    for spec in engine.inputs:
        free = picture if len(spec.shape) == len(picture) else (1,) * len(spec.shape)
        shape = [size or chosen for size, chosen in zip(spec.shape, free)]
        feeds[spec.name] = noise.uniform(0, 1, shape).astype(spec.dtype)
    return feeds


def _fastest(
    backends: Sequence[str], network: NetworkSpec, choices: BackendChoices, failed: List[str], measure_again: bool
) -> Tuple[Optional[Runner], str]:
    """The fastest candidate, opened, and the figures behind the choice; None if no candidate works.

    A remembered choice is opened without measuring. If it cannot be opened any more, all candidates are measured again.
    """
    remembered = None if measure_again else choices.find()
    if remembered is not None and remembered.backend in backends:
        opened = _runners(remembered.backend, network, [], remembered.label)
        if opened:
            return opened[0], str(remembered)
        logger.info("%s: %s cannot be opened any more; measuring again", network.name, remembered.label)
        choices.forget()
    runners = [runner for name in backends for runner in _runners(name, network, failed)]
    if len(runners) < 2:
        return (runners[0] if runners else None), ""
    times = median_times_ms([runner.engine for runner in runners], network)
    best = fastest(times)
    for row, runner in enumerate(runners):
        if row != best:
            runner.engine.close()
    chosen = runners[best]
    measured = BackendChoice(
        model=network.name,
        backend=chosen.backend,
        label=chosen.label,
        precision=chosen.engine.precision,
        times_ms={runner.label: round(spent, 2) for runner, spent in zip(runners, times)},
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    choices.save(measured)
    return chosen, measured.figures


def median_times_ms(engines: Sequence[Engine], network: NetworkSpec) -> List[float]:
    """Taken in turns, so that whatever else the machine does slows all of them alike."""
    feeds = [example(engine, network) for engine in engines]
    spent: List[List[float]] = [[] for _ in engines]
    end = time.perf_counter() + TIME_TO_MEASURE_S
    while not spent[0] or (len(spent[0]) < MOST_ROUNDS and time.perf_counter() < end):
        for engine, given, times in zip(engines, feeds, spent):
            start = time.perf_counter()
            engine.run(given)
            times.append((time.perf_counter() - start) * 1000)
    return [statistics.median(times) for times in spent]
