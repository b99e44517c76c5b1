"""Measured networks as text, as Markdown and as JSON."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from app.text import table
from app.tools.benchmark.claims import DETECTION, NETWORK, REQUEST
from app.tools.benchmark.networks import NetworkSpeed, NotMeasured, Outcome
from app.tools.benchmark.published import PublishedRow
from app.tools.benchmark.stopwatch import Spread
from app.tools.benchmark.subjects import Size

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]

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

LEGEND = """Milliseconds a batch, p50 / p95 / p99; fastest: all of the fastest run.
batch "8, by 4": of the batch of 8 the backend takes 4 at a time.
prepare: pixels to the network's input; transfer: to the device and back; decode: outputs to boxes or unit vectors.
memory: growth of the process since before the network was opened.
Transfer, GPU memory and power are told where backend and machine tell them."""
RANDOM = "(random weights)"
COUNTS = {REQUEST: "HTTP request", DETECTION: "whole detection", NETWORK: "network"}
PUBLISHED_LEGEND = """Milliseconds. Theirs: their own figures, their devices. Here: measured by this command, no HTTP.
An asterisk: random weights in the right architecture, which take the same time; boxes are not read from them."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def speed_report(machine: str, picture: str, power: str, outcomes: Sequence[Outcome], as_table: Table = table) -> str:
    """Everything that was measured, the batches of faces, and what could not be run."""
    speeds = [outcome for outcome in outcomes if isinstance(outcome, NetworkSpeed)]
    blocks = [machine]
    if speeds:
        notes = [LEGEND]
        notes += [f"Detectors were shown {picture}."] if any(speed.task == "detection" for speed in speeds) else []
        notes += [f"power: {power}."] if power else []
        blocks.append("\n".join(notes))
        blocks.append(_without_empty_columns(SPEED_HEADER, [_speed_row(speed) for speed in speeds], as_table))
    singly = [_singly_row(speed, speed.singly) for speed in speeds if speed.singly is not None]
    if singly:
        blocks += ["Faces in one batch against one call a face:", as_table(SINGLY_HEADER, singly)]
    blocks += _backends(speeds)
    blocks += not_measured_lines(outcomes)
    return "\n\n".join(blocks)


def published_report(machine: str, rows: Sequence[PublishedRow], as_table: Table = table) -> str:
    """The published tables row by row; what this machine could not run stands below with its reason.

    It is whole without what is printed before it, so that it can be taken into a document as it is.
    """
    backends = list(dict.fromkeys(_backend(speed) for row in rows for speed in row.ours))
    blocks = [
        "; ".join([*backends, machine]),
        PUBLISHED_LEGEND,
        as_table(PUBLISHED_HEADER, [_published_row(row, len(backends) > 1) for row in rows]),
    ]
    reasons: Dict[str, List[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.claim.network)
    if reasons:
        lines = [f"- {', '.join(dict.fromkeys(networks))}: {reason}" for reason, networks in reasons.items()]
        blocks.append("Not measured here:\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def report_json(machine: str, outcomes: Sequence[Outcome], rows: Iterable[PublishedRow] = ()) -> Dict[str, Any]:
    speeds = [outcome for outcome in outcomes if isinstance(outcome, NetworkSpeed)]
    facts: Dict[str, Any] = {
        "machine": machine,
        "measured": [speed.as_json() for speed in speeds],
        "not_measured": [vars(outcome) for outcome in outcomes if isinstance(outcome, NotMeasured)],
    }
    published = [_published_json(row) for row in rows]
    return {**facts, "published": published} if published else facts


def not_measured_lines(outcomes: Iterable[Outcome]) -> List[str]:
    lines = [
        f"- {outcome.model}, {size_text(outcome.size)}, {outcome.backend}, {outcome.precision}: {outcome.reason}"
        for outcome in outcomes
        if isinstance(outcome, NotMeasured)
    ]
    return ["Not measured:\n" + "\n".join(lines)] if lines else []


def size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _without_empty_columns(header: Sequence[str], rows: Sequence[Sequence[str]], as_table: Table) -> str:
    told = [at for at in range(len(header)) if any(row[at] != "-" for row in rows)]
    return as_table([header[at] for at in told], [[row[at] for at in told] for row in rows])


def _speed_row(speed: NetworkSpeed) -> Tuple[str, ...]:
    return (
        _name(speed),
        size_text(speed.size),
        _backend(speed),
        _batch(speed),
        f"{speed.images_per_s:.1f}",
        _milliseconds(speed.total.least),
        _spread(speed.prepare),
        _spread(speed.transfer),
        _spread(speed.inference),
        _spread(speed.decode),
        f"{max(0.0, speed.memory_mb):.0f} MB",
        "-" if speed.gpu_memory_mb is None else f"{speed.gpu_memory_mb:.0f} MB",
        "-" if speed.power_w is None else f"{speed.power_w:.1f} W",
        str(speed.total.runs),
    )


def _singly_row(speed: NetworkSpeed, singly: Spread) -> Tuple[str, ...]:
    return (
        _name(speed),
        _backend(speed),
        _batch(speed),
        _milliseconds(speed.total.p50),
        _milliseconds(speed.total.least),
        _milliseconds(singly.p50),
        _milliseconds(singly.least),
        f"{speed.total.p50 / singly.p50:.0%}",
    )


def _published_row(row: PublishedRow, tell_backend: bool) -> Tuple[str, ...]:
    claim = row.claim
    theirs = _milliseconds(claim.least_ms)
    if claim.most_ms != claim.least_ms:
        theirs += f" to {_milliseconds(claim.most_ms)}"
    network = f"{claim.network} ({claim.remark})" if claim.remark and claim.parts else claim.network
    return (
        claim.program,
        network,
        size_text(claim.size),
        str(claim.batch),
        COUNTS[claim.counts],
        theirs,
        claim.device,
        " / ".join(_milliseconds(value) for value in (row.fastest_ms, row.ours_ms) if value is not None) or "-",
        " + ".join(_measured_with(speed, tell_backend) for speed in row.ours) or "-",
    )


def _measured_with(speed: NetworkSpeed, tell_backend: bool) -> str:
    name = f"{speed.model} *" if speed.random_weights else speed.model
    return f"{name}, {_backend(speed)}" if tell_backend else name


def _backend(speed: NetworkSpeed) -> str:
    return f"{speed.label}, {speed.precision}"


def _published_json(row: PublishedRow) -> Dict[str, Any]:
    claim = row.claim
    return {
        "program": claim.program,
        "network": claim.network,
        "device": claim.device,
        "size": list(claim.size),
        "batch": claim.batch,
        "counts": claim.counts,
        "remark": claim.remark,
        "their_ms": [claim.least_ms, claim.most_ms],
        "here_ms": row.ours_ms,
        "here_fastest_ms": row.fastest_ms,
        "here_with": [
            {"model": s.model, "random_weights": s.random_weights, "backend": s.backend, "precision": s.precision}
            for s in row.ours
        ],
        "not_measured": row.reason,
    }


def _backends(speeds: Iterable[NetworkSpeed]) -> List[str]:
    reasons = dict.fromkeys(
        f"- {speed.model}, {speed.label}, {speed.precision}: {speed.reason}" for speed in speeds if speed.reason
    )
    return ["Why which backend:\n" + "\n".join(reasons)] if reasons else []


def _name(speed: NetworkSpeed) -> str:
    return f"{speed.model} {RANDOM}" if speed.random_weights else speed.model


def _batch(speed: NetworkSpeed) -> str:
    return str(speed.batch) if speed.at_once == speed.batch else f"{speed.batch}, by {speed.at_once}"


def _spread(spread: Optional[Spread]) -> str:
    if spread is None:
        return "-"
    return " / ".join(_milliseconds(value) for value in (spread.p50, spread.p95, spread.p99))


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
