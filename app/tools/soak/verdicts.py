"""What a soak has shown: one verdict per promise, from what was measured. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Set

import numpy as np

from app.text import counted
from app.tools.soak.recordings import VideoCheck
from app.tools.soak.schedule import Fault, FaultKind
from app.tools.soak.usage import Usage
from app.tools.soak.watch import Recovery, Seen

MAX_MB_PER_MINUTE = 1.0
MAX_SHORT_MB = 20.0
"""Growth that is allowed in any run: in a short one, a slope says little."""
MAX_AGE_GROWTH_S = 0.25
AFTER_FAULT_S = 8.0
"""For so long after a fault, pictures may still be damaged by it."""
SETTLED_AFTER_S = 18.0
"""So long after the last fault, everything is open again: a video that failed is continued after 10 s."""
MAX_VIDEO_SHIFT_S = 2.0
MAX_WARNINGS_PER_FAULT = 8
WARM_UP_SHARE, MAX_WARM_UP_S = 0.25, 300.0
AGE_BINS = 40
OVERTAKEN_IN_A_ROW = 4
"""A camera that misses so many chances to come back is lost for good."""


@dataclass(frozen=True)
class Verdict:
    """One promise."""

    name: str
    passed: Optional[bool]
    """None: the run was too short to tell."""
    text: str

    def __str__(self) -> str:
        word = {True: "ok", False: "FAILED", None: "unknown"}[self.passed]
        return f"{word:<8}{self.name}: {self.text}"


@dataclass(frozen=True)
class Evidence:
    """All that was measured. Times are seconds after the start of the run."""

    planned_s: float
    ran_s: float
    problem: Optional[str]
    """Why the run ended before its time, other than by Ctrl-C."""
    stopped: bool
    faults: Sequence[Fault]
    """Those that were begun."""
    usage: Sequence[Usage]
    seen: Mapping[str, Seen]
    recoveries: Sequence[Recovery]
    recovery_limit_s: float
    events: Sequence[Mapping[str, Any]]
    broken_lines: Sequence[str]
    names: Mapping[str, Collection[str]]
    """Who is seen by each camera."""
    videos: Sequence[VideoCheck]
    warnings: int

    @property
    def warm_up_s(self) -> float:
        return min(MAX_WARM_UP_S, WARM_UP_SHARE * self.planned_s)


def judge(evidence: Evidence) -> List[Verdict]:
    return [
        _ran(evidence),
        _memory(evidence),
        *(_nothing_left(evidence, name) for name in ("threads", "handles", "processes")),
        _latency(evidence),
        _recovered(evidence),
        _whole_pictures(evidence),
        _event_log(evidence),
        _visits(evidence),
        _outages(evidence),
        _video(evidence),
        _quiet(evidence),
    ]


def broken_promise(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.passed is False for verdict in verdicts)


def as_json(evidence: Evidence, verdicts: Sequence[Verdict]) -> Dict[str, Any]:
    return {
        "minutes": evidence.planned_s / 60,
        "ran_s": round(evidence.ran_s, 1),
        "verdicts": [vars(verdict) for verdict in verdicts],
        "faults": [
            {
                "kind": str(fault.kind),
                "camera": fault.camera,
                "begins_s": round(fault.begins_s, 1),
                "lasts_s": round(fault.lasts_s, 1),
            }
            for fault in evidence.faults
        ],
        "recoveries": [
            {
                "camera": one.camera,
                "kind": str(one.fault.kind),
                "took_s": None if one.took_s is None else round(one.took_s, 2),
            }
            for one in evidence.recoveries
        ],
        "usage": {name: [round(getattr(one, name), 1) for one in evidence.usage] for name in Usage._fields},
        "videos": [vars(video) for video in evidence.videos],
    }


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between any two points (Theil and Sen): outliers do not change it."""
    x, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first]))) if len(first) else 0.0


def _ran(evidence: Evidence) -> Verdict:
    text = f"{evidence.ran_s / 60:.1f} of {evidence.planned_s / 60:g} min, {counted(len(evidence.faults), 'fault')}"
    if evidence.stopped:
        text += ", then stopped by Ctrl-C"
    return Verdict("the run", evidence.problem is None, f"{text}; {evidence.problem}" if evidence.problem else text)


def _memory(evidence: Evidence) -> Verdict:
    warm = [one for one in evidence.usage if one.seconds >= evidence.warm_up_s]
    if len(warm) < 10:
        return Verdict("memory", None, f"only {counted(len(warm), 'sample')} after the warm-up")
    span_min = (warm[-1].seconds - warm[0].seconds) / 60
    found = slope([one.seconds / 60 for one in warm], [one.memory_mb for one in warm])
    limit = max(MAX_MB_PER_MINUTE, MAX_SHORT_MB / span_min)
    # Without the moments in which a process that is being started is a copy of the program.
    highest = np.percentile([one.memory_mb for one in warm], 95)
    return Verdict(
        "memory",
        found < limit,
        f"{found:+.2f} MB a minute in {span_min:.1f} min after {evidence.warm_up_s:.0f} s of warm-up "
        f"(limit {limit:.2f}); {highest:.0f} MB with all processes",
    )


def _nothing_left(evidence: Evidence, name: str) -> Verdict:
    """Compares the time after the last fault with the warm-up, in which everything was open at least once."""
    if not evidence.faults:
        return Verdict(name, None, "there was no fault")
    last_s = max(fault.ends_s for fault in evidence.faults)
    before = [getattr(one, name) for one in evidence.usage if one.seconds < evidence.warm_up_s]
    after = [getattr(one, name) for one in evidence.usage if one.seconds > last_s + SETTLED_AFTER_S]
    if not before or not after:
        return Verdict(name, None, "the run ended too soon after a fault")
    most = max(getattr(one, name) for one in evidence.usage)
    held, left = float(max(before)), float(np.median(after))
    text = f"up to {held:g} in the warm-up, {left:g} after the last fault; {most} at most"
    return Verdict(name, left <= held, text)


def _latency(evidence: Evidence) -> Verdict:
    at = np.concatenate([np.asarray(seen.at) for seen in evidence.seen.values()])
    ages = np.concatenate([np.asarray(seen.ages_s) for seen in evidence.seen.values()])
    warm = at >= evidence.warm_up_s
    if warm.sum() < AGE_BINS:
        return Verdict("latency", None, "too few pictures after the warm-up")
    at, ages = at[warm], ages[warm]
    edges = np.linspace(at.min(), at.max() + 1e-6, AGE_BINS + 1)
    bins = np.digitize(at, edges) - 1
    medians = [(float(at[bins == number].mean()), float(np.median(ages[bins == number]))) for number in set(bins)]
    growth_s = slope(*zip(*medians)) * (at.max() - at.min())
    p50, p95 = np.percentile(ages, (50, 95)) * 1000
    text = (
        f"a picture is {p50:.0f} ms old when its result is there (p95 {p95:.0f} ms, {len(ages)} pictures); drift "
        f"{growth_s * 1000:+.0f} ms over the run (limit {MAX_AGE_GROWTH_S * 1000:.0f} ms)"
    )
    return Verdict("latency", bool(growth_s <= MAX_AGE_GROWTH_S), text)


def _recovered(evidence: Evidence) -> Verdict:
    limit_s = evidence.recovery_limit_s
    took_s = [one.took_s for one in evidence.recoveries if one.took_s is not None]
    problems = [
        f"{one.camera} came back {one.took_s:.1f} s after {one.fault}"
        for one in evidence.recoveries
        if one.took_s is not None and one.took_s > limit_s
    ]
    overtaken = 0
    for camera in evidence.seen:
        in_a_row = 0
        for one in (one for one in evidence.recoveries if one.camera == camera):
            overtaken += one.overtaken
            in_a_row = in_a_row + 1 if one.took_s is None else 0
            waited_s = evidence.ran_s - one.since_s
            if one.took_s is None and not one.overtaken and waited_s > limit_s:
                problems.append(f"{camera} was not back {waited_s:.0f} s after {one.fault}")
            if in_a_row == OVERTAKEN_IN_A_ROW:
                problems.append(f"{camera} did not come back after {one.fault}, nor after those before")
    if not took_s and not problems:
        return Verdict("recovery", None, "no camera had to recover")
    median_s, most_s = (np.median(took_s), max(took_s)) if took_s else (0.0, 0.0)
    text = (
        f"{counted(len(took_s), 'time')}, {median_s:.1f} s after the fault (median), {most_s:.1f} s at most "
        f"(limit {limit_s:.0f} s); {overtaken} overtaken by the next fault"
    )
    return Verdict("recovery", not problems, "; ".join([text, *problems]))


def _whole_pictures(evidence: Evidence) -> Verdict:
    whole = sum(len(seen.at) for seen in evidence.seen.values())
    damaged = sum(len(seen.damaged_at) for seen in evidence.seen.values())
    strange: List[str] = []
    for camera, seen in evidence.seen.items():
        spans = [
            (fault.begins_s - 1, fault.ends_s + AFTER_FAULT_S)
            for fault in evidence.faults
            if fault.hits_cameras and fault.camera in (None, camera)
        ]
        unexplained = [at for at in seen.damaged_at if not any(begin <= at <= end for begin, end in spans)]
        if unexplained:
            strange.append(f"{len(unexplained)} of {camera} without a fault, the first at {unexplained[0]:.0f} s")
    text = f"{whole} whole, {damaged} damaged"
    return Verdict("pictures", whole > 0 and not strange, "; ".join([text, *strange]))


def _event_log(evidence: Evidence) -> Verdict:
    numbers = [one["sequence"] for one in evidence.events if "sequence" in one]
    problems = [f"a line is no JSON: {evidence.broken_lines[0]}"] if evidence.broken_lines else []
    repeated = len(numbers) - len(set(numbers))
    if repeated:
        problems.append(f"{counted(repeated, 'number')} repeated")
    if numbers and sorted(set(numbers)) != list(range(1, max(numbers) + 1)):
        problems.append(f"{max(numbers) - len(set(numbers))} missing of {max(numbers)}")
    return Verdict("event log", bool(numbers) and not problems, "; ".join([counted(len(numbers), "event"), *problems]))


def _visits(evidence: Evidence) -> Verdict:
    present: Set[int] = set()
    begun, ended = 0, 0
    problems: List[str] = []
    named: Dict[str, int] = {}
    for one in evidence.events:
        if one.get("event") == "enter":
            begun += 1
            present.add(one["visit"])
        elif one.get("event") == "left":
            ended += 1
            if one["visit"] not in present:
                problems.append(f"visit {one['visit']} ended without a beginning")
            present.discard(one["visit"])
            if one["name"] is not None:
                named[one["name"]] = named.get(one["name"], 0) + 1
            if one["name"] is not None and one["name"] not in evidence.names[one["channel"]]:
                problems.append(f"{one['name']} was not in front of {one['channel']}, but visit {one['visit']} says so")
    if present:
        problems.append(f"{counted(len(present), 'visit')} without an end")
    missing = {name for names in evidence.names.values() for name in names} - set(named)
    if missing and evidence.ran_s > 120:
        problems.append(f"never recognised: {', '.join(sorted(missing))}")
    text = f"{begun} begun, {ended} ended; " + ", ".join(f"{name} {count}" for name, count in sorted(named.items()))
    return Verdict("visits", None if not begun else not problems, "; ".join([text, *problems]))


def _outages(evidence: Evidence) -> Verdict:
    """Each camera is lost and back in turn."""
    lost: Dict[str, int] = {}
    gone: Set[str] = set()
    problems: List[str] = []
    for one in evidence.events:
        if one.get("event") == "source_lost":
            lost[one["channel"]] = lost.get(one["channel"], 0) + 1
            if one["channel"] in gone:
                problems.append(f"{one['channel']} was lost twice in a row")
            gone.add(one["channel"])
        elif one.get("event") == "source_back":
            if one["channel"] not in gone:
                problems.append(f"{one['channel']} was back without being lost")
            gone.discard(one["channel"])
    kills = [fault for fault in evidence.faults if fault.kind in (FaultKind.KILLED, FaultKind.NETWORK_DOWN)]
    for camera in evidence.seen:
        expected = sum(fault.camera in (None, camera) for fault in kills)
        if lost.get(camera, 0) < expected:
            problems.append(f"{camera} was killed {expected} times, but lost only {lost.get(camera, 0)} times")
    if gone and not evidence.stopped:
        problems.append(f"not back at the end: {', '.join(sorted(gone))}")
    text = ", ".join(f"{camera} lost {count} times" for camera, count in sorted(lost.items())) or "no camera was lost"
    return Verdict("outages", not problems, "; ".join([text, *problems]))


def _video(evidence: Evidence) -> Verdict:
    frames, readable = (sum(getattr(one, name) for one in evidence.videos) for name in ("frames", "readable"))
    problems = [f"{one.name} cannot be read" for one in evidence.videos if not one.frames]
    problems += [
        f"{one.name} is {one.worst_shift_s:.1f} s out of step"
        for one in evidence.videos
        if one.worst_shift_s > MAX_VIDEO_SHIFT_S
    ]
    worst_s = max((one.worst_shift_s for one in evidence.videos), default=0.0)
    text = (
        f"{counted(len(evidence.videos), 'file')}, {frames} frames, {readable} with a readable number; gaps are shown "
        f"to within {worst_s:.1f} s (limit {MAX_VIDEO_SHIFT_S:.0f} s)"
    )
    return Verdict("video", bool(evidence.videos) and not problems, "; ".join([text, *problems]))


def _quiet(evidence: Evidence) -> Verdict:
    limit = MAX_WARNINGS_PER_FAULT * (len(evidence.faults) + 1)
    text = f"{counted(evidence.warnings, 'warning')} (limit {limit}: {MAX_WARNINGS_PER_FAULT} a fault)"
    return Verdict("log", evidence.warnings <= limit, text)
