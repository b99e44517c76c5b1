"""A calibration in sentences and as JSON."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from app.gallery.people import PhotoRecord
from app.identity.calibration import MIN_OWN_LOOKS, Calibration
from app.identity.visits import COMPARISONS_PER_VISIT
from app.text import counted, table

RATES = (0.01, 0.001, 0.0001)
DIGITS = 3
"""Of a threshold."""


def calibration_text(found: Calibration, photos: Sequence[PhotoRecord], rate: float, now: float, now_is: str) -> str:
    """`photos` are those of the calibrated rows; `now` is the threshold in use, `now_is` where it comes from."""
    threshold = found.threshold(rate)
    lines = [
        f"{counted(found.people, 'person', 'people')}, {counted(len(photos), 'photo')}; compared with "
        f"{found.strangers:,} strangers",
        *_left_out(found),
        "",
        f"at {threshold:.{DIGITS}f} {_sentence(found, threshold)}",
    ]
    if round(now, DIGITS) != round(threshold, DIGITS):
        lines.append(f"now, at {now:.{DIGITS}f} ({now_is}), {_sentence(found, now)}")
    thresholds = [found.threshold(other) for other in RATES]
    rows = [
        (
            f"{value:.{DIGITS}f}",
            one_in(found.false_accept_rate(value)),
            one_in(found.upper_bound(value)),
            _named_cell(found, value),
        )
        for value in thresholds
    ]
    votes = f"{COMPARISONS_PER_VISIT} comparisons, of which {found.votes[1]} of the last {found.votes[0]} must agree"
    lines += [
        "",
        table(
            ("threshold", "visits of strangers that get a name", "95 % upper bound", "your people's pictures named"),
            rows,
        ),
        f"a visit is a minute in front of a camera: {votes}",
        *_pair(found, photos),
        *_missing(found),
    ]
    return "\n".join(lines)


def _sentence(found: Calibration, threshold: float) -> str:
    rate = found.false_accept_rate(threshold)
    named = found.named(threshold)
    people = "" if found.people == 1 else f", among {found.people} people"
    share = "" if named is None else f"; {_share(named.value)} of the pictures of your people would be named"
    return (
        f"one visit of a stranger in {_per(rate)} would get a name{people} "
        f"(95 % upper bound {one_in(found.upper_bound(threshold))}){share}"
    )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def one_in(rate: float) -> str:
    return f"1 in {_per(rate)}"


def _per(rate: float) -> str:
    """The denominator with two significant digits; a rate of 0 has a large one."""
    per = 1 / max(rate, 1e-9)
    if per < 10:
        return f"{per:.1f}"
    digits = len(str(int(per))) - 2
    return f"{round(per / 10**digits) * 10**digits:,}"


def _named_cell(found: Calibration, threshold: float) -> str:
    named = found.named(threshold)
    if named is None:
        return "not enough photos"
    low, high = named.interval
    return f"{_share(named.value)} [{_share(low)}, {_share(high)}], {named.hits} of {named.of}"


def _left_out(found: Calibration) -> List[str]:
    if not found.strangers_left_out:
        return []
    who = counted(found.strangers_left_out, "stranger")
    return [f"{who} left out: so similar to one of your people that it is probably the same person"]


def _pair(found: Calibration, photos: Sequence[PhotoRecord]) -> List[str]:
    if found.pair is None:
        return []
    one, other = (photos[row] for row in found.pair.rows)
    pair = f"{one.person} ({one.path}) and {other.person} ({other.path})"
    some = "" if found.compared_photos == len(photos) else f" (of {found.compared_photos:,} photos compared with all)"
    text = f"nearest pair{some}: {pair}, similarity {found.pair.similarity:.2f}"
    responsible = min((0, 1), key=lambda side: found.pair.without[side] if found.pair else 0)
    without = found.pair.without[responsible]
    if without > -1 and found.pair.similarity - without >= 0.02:
        return [f"{text}; without {(one, other)[responsible].path} {without:.2f}"]
    return [text]


def _missing(found: Calibration) -> List[str]:
    if found.named(0.0) is not None:
        return []
    have = counted(found.own_people, "person has", "people have")
    return [
        f"not enough photos to say how often your people are named: {have} a second photo that differs, which gives "
        f"{counted(len(found.own), 'look')}; needed are 2 people and {MIN_OWN_LOOKS} looks"
    ]


def calibration_json(found: Calibration, photos: Sequence[PhotoRecord], rate: float, now: float) -> Dict[str, Any]:
    def at(threshold: float) -> Dict[str, Any]:
        named = found.named(threshold)
        return {
            "threshold": round(threshold, 4),
            "false_accept_rate": found.false_accept_rate(threshold),
            "upper_bound_95": found.upper_bound(threshold),
            "named": None if named is None else named.as_json(),
        }

    pair: Optional[Dict[str, Any]] = None
    if found.pair is not None:
        rows = [photos[row] for row in found.pair.rows]
        pair = {
            "people": [photo.person for photo in rows],
            "photos": [photo.path for photo in rows],
            "similarity": round(found.pair.similarity, 4),
            "without_photo": [None if value == -1 else round(value, 4) for value in found.pair.without],
        }
    return {
        "people": found.people,
        "photos": len(photos),
        "strangers": found.strangers,
        "strangers_left_out": found.strangers_left_out,
        "wanted": {"false_accept_rate": rate, **at(round(found.threshold(rate), DIGITS))},
        "now": at(now),
        "nearest_pair": pair,
    }
