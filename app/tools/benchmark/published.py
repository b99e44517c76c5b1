"""This machine's speed next to what others publish: the published rows, the networks to measure, the comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

import yaml

from app.errors import ModelError
from app.models.catalog import Catalog
from app.models.entry import FileState, ModelEntry
from app.text import parse_size, program
from app.tools.benchmark.cases import BenchmarkCase, Size, case_of
from app.tools.benchmark.networks import BenchmarkOptions, NetworkSpeed, NotMeasured, Outcome

DATA = Path(__file__).with_name("published_speeds.yaml")

REQUEST, DETECTION, NETWORK = "request", "detection", "network"
"""What a published time is for; `published_speeds.yaml` explains them."""

Models = Tuple[str, ...]
"""Names of models with the same speed, in the order in which they are looked for."""

MakeRandom = Callable[[str], Optional[ModelEntry]]
"""Writes a network of this architecture with random weights; returns None for an unknown architecture."""


@dataclass(frozen=True)
class PublishedSpeed:
    """One published figure."""

    program: str
    network: str
    device: str
    size: Size
    batch: int
    min_ms: float
    max_ms: float
    measures: str
    """REQUEST, DETECTION or NETWORK."""
    parts: Tuple[Models, ...]
    """The models to compare with, one for each network that takes part; empty if this project has no such network."""
    remark: str = ""


@dataclass(frozen=True)
class MeasurementPlan:
    """What to measure for the published rows, and what is not available."""

    cases: Tuple[Tuple[BenchmarkCase, BenchmarkOptions], ...]
    case_by_part: Mapping[Tuple[Models, Size], BenchmarkCase]
    missing: Mapping[Models, str]
    """Why none of these models can be measured, and how to get one."""


@dataclass(frozen=True)
class SpeedComparison:
    """One published figure, and this machine's time for the same work."""

    published: PublishedSpeed
    ours: Tuple[NetworkSpeed, ...] = ()
    reason: str = ""
    """Why it was not measured."""
    median_ms: Optional[float] = None
    fastest_ms: Optional[float] = None


def read_published_speeds(path: Path = DATA) -> List[PublishedSpeed]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = [{**group, **row} for group in content["groups"] for row in group["rows"]]
    return [_published_speed(row, content["same_speed"]) for row in rows]


def _published_speed(row: Mapping[str, Any], same_speed: Mapping[str, Sequence[str]]) -> PublishedSpeed:
    figures = row["fps"] if "fps" in row else row["ms"]
    low, high = figures if isinstance(figures, list) else (figures, figures)
    remark = row.get("remark", "")
    if "fps" in row:
        remark = f"{low:g} frames/s" if low == high else f"{low:g} to {high:g} frames/s"
        low, high = 1000 / high, 1000 / low
    return PublishedSpeed(
        program=row["program"],
        network=row["network"],
        device=row["device"],
        size=parse_size(row["size"]),
        batch=row.get("batch", 1),
        min_ms=low,
        max_ms=high,
        measures=row["measures"],
        parts=tuple(
            tuple(dict.fromkeys(name for listed in part for name in same_speed.get(listed, (listed,))))
            for part in row["compare_with"]
        ),
        remark=remark,
    )


def plan_measurements(
    published: Iterable[PublishedSpeed], catalog: Catalog, options: BenchmarkOptions, make_random: MakeRandom
) -> MeasurementPlan:
    """Prefers installed networks to random weights, and measures each network and size once."""
    entries: Dict[Models, Tuple[ModelEntry, bool]] = {}
    missing: Dict[Models, str] = {}
    case_by_part: Dict[Tuple[Models, Size], BenchmarkCase] = {}
    batches: Dict[Tuple[str, Size], Set[int]] = {}
    cases: Dict[Tuple[str, Size], BenchmarkCase] = {}
    for speed in published:
        for models in speed.parts:
            if models not in entries and models not in missing:
                try:
                    entries[models] = _available(models, catalog, make_random)
                except ModelError as error:
                    missing[models] = str(error)
            if models in missing:
                continue
            entry, is_random = entries[models]
            case = case_of(entry, speed.size, is_random)
            key = (entry.name, case.size)
            case_by_part[models, speed.size] = cases.setdefault(key, case)
            batches.setdefault(key, set()).add(speed.batch)
    planned = [(case, replace(options, batches=tuple(sorted(batches[key])))) for key, case in cases.items()]
    return MeasurementPlan(tuple(planned), case_by_part, missing)


def _available(models: Models, catalog: Catalog, make_random: MakeRandom) -> Tuple[ModelEntry, bool]:
    """The first model that can be measured, and whether its weights are random."""
    for name in models:
        entry = catalog.entries.get(name)
        if entry is not None and entry.file_state() is FileState.VALID:
            return entry, False
        made = make_random(name)
        if made is not None:
            return made, True
    for name in models:
        if name in catalog.entries:
            raise ModelError(f"{name} is not installed; {catalog.entries[name].how_to_get}")
    raise ModelError(f"no model {models[0]!r}; import one with: {program()} engines import FILE --name {models[0]}")


def compare_with_published(
    published: Iterable[PublishedSpeed], plan: MeasurementPlan, outcomes: Iterable[Outcome]
) -> List[SpeedComparison]:
    """Each published figure with ours, or with the reason why there is none."""
    measured: Dict[Tuple[str, Size, int], NetworkSpeed] = {}
    failed: Dict[Tuple[str, Size], str] = {}
    for outcome in outcomes:
        if isinstance(outcome, NotMeasured):
            failed[outcome.model, outcome.size] = outcome.reason
        else:
            # With several backends, the fastest one counts.
            key = (outcome.model, outcome.size, outcome.batch)
            if key not in measured or outcome.total.p50 < measured[key].total.p50:
                measured[key] = outcome
    return [_compare(speed, plan, measured, failed) for speed in published]


def _compare(
    published: PublishedSpeed,
    plan: MeasurementPlan,
    measured: Mapping[Tuple[str, Size, int], NetworkSpeed],
    failed: Mapping[Tuple[str, Size], str],
) -> SpeedComparison:
    if not published.parts:
        return SpeedComparison(published, reason=published.remark)
    ours: List[NetworkSpeed] = []
    for models in published.parts:
        if models in plan.missing:
            return SpeedComparison(published, reason=plan.missing[models])
        case = plan.case_by_part[models, published.size]
        found = measured.get((case.entry.name, case.size, published.batch))
        if found is None:
            return SpeedComparison(published, reason=failed.get((case.entry.name, case.size), "not measured"))
        ours.append(found)
    spreads = [speed.total for speed in ours]
    if published.measures == NETWORK:
        spreads = [spread for speed in ours for spread in (speed.inference, speed.transfer) if spread]
    return SpeedComparison(
        published,
        tuple(ours),
        median_ms=sum(spread.p50 for spread in spreads),
        fastest_ms=sum(spread.min for spread in spreads),
    )
