"""Measured networks as text, as Markdown and as JSON."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Sequence

from app.text import percentage, table
from app.tools.benchmark.cases import Size
from app.tools.benchmark.networks import NetworkSpeed, NotMeasured, Outcome
from app.tools.benchmark.published import DETECTION, NETWORK, REQUEST, SpeedComparison

TableFormat = Callable[[Sequence[str], Sequence[Sequence[str]]], str]

SPEED_HEADER = (
    "network",
    "input",
    "backend",
    "batch",
    "images/s",
    "fastest",
    "prepare",
    "transfer",
    "inference",
    "decode",
    "memory",
    "GPU memory",
    "power",
    "runs",
)
SINGLY_HEADER = ("network", "backend", "faces", "one batch", "fastest", "one by one", "fastest", "batch takes")
PUBLISHED_HEADER = (
    "published by",
    "network",
    "input",
    "batch",
    "time of",
    "theirs, ms",
    "on",
    "here, fastest / p50",
    "with",
)

LEGEND = """Milliseconds per batch, p50 / p95 / p99; fastest: the total of the fastest run.
batch "8, by 4": of the batch of 8 the backend takes 4 at a time.
prepare: pixels to network input; transfer: to the device and back; decode: outputs to boxes or unit vectors.
memory: growth of the process since before the network was opened.
Transfer, GPU memory and power are shown if the backend and the machine report them."""
MEASURES = {REQUEST: "HTTP request", DETECTION: "whole detection", NETWORK: "network"}
PUBLISHED_LEGEND = """Milliseconds. Theirs: their own figures, their devices. Here: measured by this command, no HTTP.
*: random weights in the right architecture, which take the same time; their outputs are not decoded."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def speed_report(
    machine: str, picture: str, power: str, outcomes: Sequence[Outcome], as_table: TableFormat = table
) -> str:
    """What was measured, batches of faces compared with single faces, and what does not run on this machine."""
    speeds = [outcome for outcome in outcomes if isinstance(outcome, NetworkSpeed)]
    blocks = [machine]
    if speeds:
        notes = [LEGEND]
        notes += [f"Input of the detectors: {picture}."] if any(speed.task == "detection" for speed in speeds) else []
        notes += [f"power: {power}."] if power else []
        blocks.append("\n".join(notes))
        rows = [_speed_row(speed) for speed in speeds]
        filled = [at for at in range(len(SPEED_HEADER)) if any(row[at] != "-" for row in rows)]
        blocks.append(as_table([SPEED_HEADER[at] for at in filled], [[row[at] for at in filled] for row in rows]))
    singly = [
        (
            _network_name(speed),
            _backend(speed),
            _batch(speed),
            _milliseconds(speed.total.p50),
            _milliseconds(speed.total.min),
            _milliseconds(speed.singly.p50),
            _milliseconds(speed.singly.min),
            percentage(speed.total.p50 / speed.singly.p50, 0),
        )
        for speed in speeds
        if speed.singly is not None
    ]
    if singly:
        blocks += ["Faces in one batch compared with one call per face:", as_table(SINGLY_HEADER, singly)]
    reasons = dict.fromkeys(
        f"- {speed.model}, {speed.label}, {speed.precision}: {speed.reason}" for speed in speeds if speed.reason
    )
    if reasons:
        blocks.append("Why this backend:\n" + "\n".join(reasons))
    failures = [
        f"- {outcome.model}, {size_text(outcome.size)}, {outcome.backend}, {outcome.precision}: {outcome.reason}"
        for outcome in outcomes
        if isinstance(outcome, NotMeasured)
    ]
    if failures:
        blocks.append("Not measured:\n" + "\n".join(failures))
    return "\n\n".join(blocks)


def _speed_row(speed: NetworkSpeed) -> Sequence[str]:
    stages = [
        "-" if spread is None else " / ".join(_milliseconds(value) for value in (spread.p50, spread.p95, spread.p99))
        for spread in (speed.prepare, speed.transfer, speed.inference, speed.decode)
    ]
    return (
        _network_name(speed),
        size_text(speed.size),
        _backend(speed),
        _batch(speed),
        f"{speed.images_per_s:.1f}",
        _milliseconds(speed.total.min),
        *stages,
        f"{max(0.0, speed.memory_mb):.0f} MB",
        "-" if speed.gpu_memory_mb is None else f"{speed.gpu_memory_mb:.0f} MB",
        "-" if speed.power_w is None else f"{speed.power_w:.1f} W",
        str(speed.total.runs),
    )


def published_report(machine: str, rows: Sequence[SpeedComparison], as_table: TableFormat = table) -> str:
    """The published tables row by row, and the reasons for what was not measured.

    It is complete in itself, so that it can be copied into a document.
    """
    backends = list(dict.fromkeys(_backend(speed) for row in rows for speed in row.ours))
    blocks = [
        "; ".join([*backends, machine]),
        PUBLISHED_LEGEND,
        as_table(PUBLISHED_HEADER, [_published_row(row, show_backend=len(backends) > 1) for row in rows]),
    ]
    reasons: Dict[str, List[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.published.network)
    if reasons:
        lines = [f"- {', '.join(dict.fromkeys(networks))}: {reason}" for reason, networks in reasons.items()]
        blocks.append("Not measured here:\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def _published_row(row: SpeedComparison, show_backend: bool) -> Sequence[str]:
    published = row.published
    theirs = _milliseconds(published.min_ms)
    if published.max_ms != published.min_ms:
        theirs += f" to {_milliseconds(published.max_ms)}"
    remark = f" ({published.remark})" if published.remark and published.parts else ""
    ours = [
        speed.model + (" *" if speed.random_weights else "") + (f", {_backend(speed)}" if show_backend else "")
        for speed in row.ours
    ]
    return (
        published.program,
        published.network + remark,
        size_text(published.size),
        str(published.batch),
        MEASURES[published.measures],
        theirs,
        published.device,
        " / ".join(_milliseconds(value) for value in (row.fastest_ms, row.median_ms) if value is not None) or "-",
        " + ".join(ours) or "-",
    )


def report_json(machine: str, outcomes: Sequence[Outcome], rows: Iterable[SpeedComparison] = ()) -> Dict[str, Any]:
    facts: Dict[str, Any] = {
        "machine": machine,
        "measured": [outcome.as_json() for outcome in outcomes if isinstance(outcome, NetworkSpeed)],
        "not_measured": [vars(outcome) for outcome in outcomes if isinstance(outcome, NotMeasured)],
    }
    published = [
        {
            "program": row.published.program,
            "network": row.published.network,
            "device": row.published.device,
            "size": list(row.published.size),
            "batch": row.published.batch,
            "measures": row.published.measures,
            "remark": row.published.remark,
            "their_ms": [row.published.min_ms, row.published.max_ms],
            "here_ms": row.median_ms,
            "here_fastest_ms": row.fastest_ms,
            "here_with": [
                {
                    "model": speed.model,
                    "random_weights": speed.random_weights,
                    "backend": speed.backend,
                    "precision": speed.precision,
                }
                for speed in row.ours
            ],
            "not_measured": row.reason,
        }
        for row in rows
    ]
    return {**facts, "published": published} if published else facts


def size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _network_name(speed: NetworkSpeed) -> str:
    return f"{speed.model} (random weights)" if speed.random_weights else speed.model


def _backend(speed: NetworkSpeed) -> str:
    return f"{speed.label}, {speed.precision}"


def _batch(speed: NetworkSpeed) -> str:
    return str(speed.batch) if speed.at_once == speed.batch else f"{speed.batch}, by {speed.at_once}"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
