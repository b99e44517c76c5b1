"""The metrics of a run in the format of Prometheus. docs/monitoring.md lists them."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple, Union

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app import __version__
from app.monitoring.counts import Histogram
from app.monitoring.monitor import RunMonitor, WatchedRun
from app.monitoring.processes import children, temperatures, threads
from app.recognizer import Recognizer
from app.types import ChannelState, ChannelStatus
from app.vision.face_network import RemoteStatus

PREFIX = "face_recognition_"

Samples = Iterable[Tuple[Tuple[str, ...], float]]
"""Pairs of the values of the labels and a value."""


class Page(NamedTuple):
    """What a scraper gets."""

    content_type: str
    body: bytes


class Exposition:
    """The metrics of one run, in a registry of its own."""

    def __init__(self, monitor: RunMonitor) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(RunCollector(monitor))
        ProcessCollector(registry=self.registry)

    def page(self, accept: str) -> Page:
        """In the format that a scraper accepts, by its header `Accept`."""
        encode, content_type = choose_encoder(accept)
        return Page(content_type, encode(self.registry))


class RunCollector(Collector):
    """Makes the metrics when they are asked for."""

    def __init__(self, monitor: RunMonitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        yield gauge("build_info", "The version of the program.", [((__version__,), 1)], ["version"])
        yield gauge("healthy", "1 if /health answers 200.", [((), self._monitor.health().is_healthy)])
        yield from _of_frames(self._monitor)
        if self._monitor.run is not None:
            yield from _of_sources(self._monitor.run.channels.status())
            yield from _of_outputs(self._monitor.run)
            yield _networks(self._monitor.run.recognizer)
            yield from _of_remotes(self._monitor.run.recognizer.remotes)
            level = self._monitor.run.degrade.level
            yield gauge("degrade_level", "What is left out because the machine is too slow: 0 to 4.", [((), level)])
        yield from _of_the_machine()


def _of_frames(monitor: RunMonitor) -> Iterator[Metric]:
    counts = monitor.counts
    yield counter("frames_processed", "Frames that were looked at.", one(counts.processed), ["channel"])
    yield counter(
        "faces",
        "Faces, once in each frame; answer is named or unknown.",
        list(counts.faces.items()),
        ["channel", "answer"],
    )
    looks = list(counts.looks.items())
    yield counter("looks", "Frames by where the detector looked.", looks, ["channel", "look"])
    yield counter("face_reasons", "Why faces have a name or none, once in each frame.", one(counts.reasons), ["reason"])
    yield histogram("frame_age_seconds", "From the arrival of a live frame to its result.", counts.ages, "channel")
    yield histogram("stage_seconds", "Time of a frame in each stage.", counts.stages, "stage")
    yield gauge("loop_silent_seconds", "Since the loop last came by.", [((), counts.silent_s())])


def _of_sources(channels: Sequence[ChannelStatus]) -> Iterator[Metric]:
    for name, text in (
        ("read", "Frames that sources delivered."),
        ("dropped", "Frames of live sources that a newer one replaced before they were looked at."),
    ):
        counts = [((channel.name,), getattr(channel.counters, name)) for channel in channels]
        yield counter(f"frames_{name}", text, counts, ["channel"])
    skipped = [
        ((channel.name, reason), count)
        for channel in channels
        for reason, count in (("max_fps", channel.counters.beyond_max_fps), ("level_4", channel.counters.skipped))
    ]
    yield counter("frames_skipped", "Frames of live sources that were left out.", skipped, ["channel", "reason"])
    for attribute, name, text in (
        ("unreadable", "pictures_unreadable", "Pictures that could not be read."),
        ("damaged", "frames_damaged", "Frames about which the decoder complained."),
        ("reconnects", "source_reconnects", "How often a lost live source came back."),
        ("stalls", "source_stalls", "How often a live source sent nothing for a while."),
    ):
        counts = [((channel.name,), getattr(channel.counters, attribute)) for channel in channels]
        yield counter(name, text, counts, ["channel"])
    states = [((channel.name, state.value), channel.state is state) for channel in channels for state in ChannelState]
    yield gauge("source_state", "1 for the state in which a source is.", states, ["channel", "state"])


def _networks(recognizer: Recognizer) -> Metric:
    opened = {"detector": recognizer.detector.runs_on, "embedder": recognizer.embedder.runs_on}
    running = [((name, one.label, one.precision), 1) for name, one in opened.items() if one is not None]
    return gauge("network_info", "What runs a network at the moment.", running, ["network", "backend", "precision"])


def _of_remotes(remotes: Mapping[str, RemoteStatus]) -> Iterator[Metric]:
    """Without values if this machine runs all networks."""
    up = [((name,), one.is_up) for name, one in remotes.items()]
    yield gauge("remote_up", "1 if the server that runs a network answers.", up, ["network"])
    results = [
        ((name, result), getattr(one, result))
        for name, one in remotes.items()
        for result in ("answered", "failed", "local", "deferred")
    ]
    yield counter("remote_requests", "Requests for a network, by how they ended.", results, ["network", "result"])
    p95 = [((name,), one.p95_s) for name, one in remotes.items()]
    yield gauge("remote_p95_seconds", "95th percentile of the last 200 answers.", p95, ["network"])
    sent = [((name,), one.sent_bytes) for name, one in remotes.items()]
    yield counter("remote_sent_bytes", "Bytes of all requests to the server.", sent, ["network"])


def _of_outputs(run: WatchedRun) -> Iterator[Metric]:
    outputs = [((output.kind, output.channel or ""), output) for output in run.outputs.status()]
    labels = ["output", "channel"]
    yield gauge(
        "output_queue_frames",
        "Frames that wait for an output.",
        total((key, one.waiting) for key, one in outputs),
        labels,
    )
    for name, text in (
        ("handled", "Frames that an output has taken."),
        ("skipped", "Frames of live sources that an output was too slow for."),
        ("failed", "Frames that are lost because an output failed."),
    ):
        yield counter(f"output_frames_{name}", text, total((key, getattr(one, name)) for key, one in outputs), labels)
    yield gauge(
        "output_failed",
        "1 if an output does not work.",
        total((key, not one.is_working) for key, one in outputs),
        labels,
    )
    yield counter("events", "Events.", one(run.events.counts), ["kind"])
    for prefix, label, sinks in (
        ("event_sink", "sink", run.events.sinks()),
        ("delivery", "destination", run.events.deliveries()),
    ):
        named = [((sink.kind,), sink) for sink in sinks]
        waiting = total((key, sink.waiting) for key, sink in named)
        yield gauge(f"{prefix}_queue_events", f"Events that wait for a {label}.", waiting, [label])
        failed = total((key, not sink.is_working) for key, sink in named)
        yield gauge(f"{prefix}_failed", f"1 if a {label} takes no events at the moment.", failed, [label])
        done = total((key, sink.done) for key, sink in named)
        yield counter(f"{prefix}_events", f"Events that a {label} has taken.", done, [label])
        lost = total((key, sink.lost) for key, sink in named)
        yield counter(f"{prefix}_events_lost", f"Events that a {label} will never get.", lost, [label])


def _of_the_machine() -> Iterator[Metric]:
    yield gauge("threads", "Threads of the main process.", [((), threads())])
    started = children()
    if started is not None:
        yield gauge("child_processes", "Processes that read sources, and commands.", [((), started.number)])
        yield gauge(
            "child_resident_memory_bytes",
            "Their memory, with frames that they share with the main process.",
            [((), started.resident_bytes)],
        )
    celsius = [((sensor,), value) for sensor, value in temperatures().items()]
    yield gauge("temperature_celsius", "Temperature of the machine.", celsius, ["sensor"])


def counter(name: str, text: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, text, labels=labels), samples)


def gauge(name: str, text: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=labels), samples)


def histogram(name: str, text: str, histograms: Mapping[str, Histogram], label: str) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=[label])
    for value, counted in list(histograms.items()):
        family.add_metric([value], counted.cumulated(), counted.sum)
    return family


def one(counts: Dict[str, int]) -> Samples:
    """What is counted by one label."""
    return (((label,), count) for label, count in list(counts.items()))


def total(samples: Samples) -> Samples:
    """Several outputs of one kind are one: Prometheus refuses the same labels twice."""
    sums: Dict[Tuple[str, ...], float] = defaultdict(float)
    for labels, value in samples:
        sums[labels] += value
    return sums.items()


def _filled(family: Union[CounterMetricFamily, GaugeMetricFamily], samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
