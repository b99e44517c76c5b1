"""This machine's figures beside the published ones: which networks must be measured for them, and the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from app.errors import ModelError
from app.models.catalog import Catalog
from app.models.entry import FileState, ModelEntry
from app.text import program
from app.tools.benchmark.claims import NETWORK, Claim, Part
from app.tools.benchmark.networks import Demand, NetworkSpeed, NotMeasured, Outcome
from app.tools.benchmark.stopwatch import Spread
from app.tools.benchmark.subjects import Size, Subject, subject_of

MakeRandom = Callable[[str], Optional[ModelEntry]]
"""Writes a network of this architecture with weights drawn by lot; None for an architecture that it does not know."""


@dataclass(frozen=True)
class Plan:
    """What to measure for the rows that were asked for, and what cannot be."""

    subjects: Tuple[Tuple[Subject, Demand], ...]
    stand_ins: Mapping[Tuple[str, ...], Subject]
    """By a part's models and size: what is measured for it."""
    missing: Mapping[Tuple[str, ...], str]
    """By a part's models: why none of them can be, and how to get one."""


@dataclass(frozen=True)
class PublishedRow:
    """One claim, and what this machine takes for the same."""

    claim: Claim
    ours: Tuple[NetworkSpeed, ...] = ()
    reason: str = ""
    """Why there is no figure of ours."""
    ours_ms: Optional[float] = None
    fastest_ms: Optional[float] = None


def plan(claims: Sequence[Claim], catalog: Catalog, demand: Demand, make_random: MakeRandom) -> Plan:
    """Networks that are installed come before networks with random weights; every network and size is measured once."""
    entries: Dict[Tuple[str, ...], Tuple[ModelEntry, bool]] = {}
    missing: Dict[Tuple[str, ...], str] = {}
    stand_ins: Dict[Tuple[str, ...], Subject] = {}
    batches: Dict[Tuple[str, Size], Set[int]] = {}
    subjects: Dict[Tuple[str, Size], Subject] = {}
    for claim in claims:
        for part in claim.parts:
            if part.models not in entries and part.models not in missing:
                try:
                    entries[part.models] = _available(part.models, catalog, make_random)
                except ModelError as error:
                    missing[part.models] = str(error)
            if part.models in missing:
                continue
            subject = subject_of(entries[part.models][0], part.size, entries[part.models][1])
            key = (subject.entry.name, subject.size)
            stand_ins[_key(part)] = subjects.setdefault(key, subject)
            batches.setdefault(key, set()).add(claim.batch)
    planned = [(subjects[key], _with_batches(demand, batches[key])) for key in subjects]
    return Plan(tuple(planned), stand_ins, missing)


def rows(claims: Iterable[Claim], planned: Plan, outcomes: Iterable[Outcome]) -> List[PublishedRow]:
    """Every claim with its figure or with the reason why there is none."""
    measured: Dict[Tuple[str, Size, int], NetworkSpeed] = {}
    failed: Dict[Tuple[str, Size], str] = {}
    for outcome in outcomes:
        if isinstance(outcome, NotMeasured):
            failed[outcome.model, outcome.size] = outcome.reason
        else:
            # Of several backends the fastest speaks for this machine.
            key = (outcome.model, outcome.size, outcome.batch)
            if key not in measured or outcome.total.p50 < measured[key].total.p50:
                measured[key] = outcome
    return [_row(claim, planned, measured, failed) for claim in claims]


def _row(
    claim: Claim,
    planned: Plan,
    measured: Mapping[Tuple[str, Size, int], NetworkSpeed],
    failed: Mapping[Tuple[str, Size], str],
) -> PublishedRow:
    if not claim.parts:
        return PublishedRow(claim, reason=claim.remark)
    ours: List[NetworkSpeed] = []
    for part in claim.parts:
        if part.models in planned.missing:
            return PublishedRow(claim, reason=planned.missing[part.models])
        subject = planned.stand_ins[_key(part)]
        found = measured.get((subject.entry.name, subject.size, claim.batch))
        if found is None:
            return PublishedRow(claim, reason=failed.get((subject.entry.name, subject.size), "not measured"))
        ours.append(found)
    compared = [spread for speed in ours for spread in _comparable(claim, speed)]
    return PublishedRow(
        claim,
        tuple(ours),
        ours_ms=sum(spread.p50 for spread in compared),
        fastest_ms=sum(spread.least for spread in compared),
    )


def _comparable(claim: Claim, speed: NetworkSpeed) -> List[Spread]:
    """What must be added up to be the same as what the claim is for."""
    if claim.counts == NETWORK:
        return [speed.inference, *([speed.transfer] if speed.transfer else [])]
    return [speed.total]


def _available(models: Tuple[str, ...], catalog: Catalog, make_random: MakeRandom) -> Tuple[ModelEntry, bool]:
    """The first that is here, and whether its weights are drawn by lot."""
    known = [catalog.entries[name] for name in models if name in catalog.entries]
    for name in models:
        entry = catalog.entries.get(name)
        if entry is not None and entry.file_state() is FileState.VALID:
            return entry, False
        made = make_random(name)
        if made is not None:
            return made, True
    if known:
        raise ModelError(f"{known[0].name} is not here; {known[0].how_to_get}")
    raise ModelError(f"no model {models[0]!r} here; bring one with: {program()} engines import FILE --name {models[0]}")


def _with_batches(demand: Demand, batches: Set[int]) -> Demand:
    return replace(demand, batches=tuple(sorted(batches)))


def _key(part: Part) -> Tuple[str, ...]:
    return (*part.models, *map(str, part.size))
