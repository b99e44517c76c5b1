"""95 % confidence intervals of shares and rates, computed from the counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Tuple

NORMAL_95 = 1.959963984540054
"""95 % of a normal distribution is within this many standard deviations of the mean."""

TAIL = 0.025


@dataclass(frozen=True)
class Share:
    """A share with its interval."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """NaN if `of` is 0."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> Tuple[float, float]:
        return wilson(self.hits, self.of)

    def __str__(self) -> str:
        if not self.of:
            return "none"
        low, high = self.interval
        return f"{100 * self.value:.2f} % [{100 * low:.2f} %, {100 * high:.2f} %], {self.hits} of {self.of}"

    def as_json(self) -> Dict[str, Any]:
        value = self.value if self.of else None
        return {"value": value, "interval_95": list(self.interval), "hits": self.hits, "of": self.of}


@dataclass(frozen=True)
class Rate:
    """Events per picture, with its interval. A picture may have several."""

    events: int
    pictures: int

    @property
    def value(self) -> float:
        return self.events / self.pictures if self.pictures else math.nan

    @property
    def interval(self) -> Tuple[float, float]:
        low, high = poisson(self.events)
        return (low / self.pictures, high / self.pictures) if self.pictures else (0.0, math.inf)

    def __str__(self) -> str:
        if not self.pictures:
            return "none"
        low, high = self.interval
        return f"{self.value:.4f} [{low:.4f}, {high:.4f}], {self.events} in {self.pictures} pictures"

    def as_json(self) -> Dict[str, Any]:
        facts: Dict[str, Any] = {"events": self.events, "pictures": self.pictures, "value": None, "interval_95": None}
        if self.pictures:
            facts.update(value=self.value, interval_95=list(self.interval))
        return facts


def wilson(hits: int, of: int) -> Tuple[float, float]:
    """Wilson's interval of a share. Unlike mean ± 2 σ, it is meaningful if all or none were hits."""
    if of == 0:
        return 0.0, 1.0
    square = NORMAL_95**2
    share = hits / of
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = NORMAL_95 / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    # At 0 and 1 the bound is exact; without this, rounding could exclude the share itself.
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == of else min(1.0, middle + half))


def poisson(events: int, tail: float = TAIL) -> Tuple[float, float]:
    """Garwood's exact interval of a count of rare, independent events; `tail` is the probability on either side."""
    low = 0.0 if events == 0 else _mean_with_tail(events - 1, 1 - tail)
    return low, _mean_with_tail(events, tail)


def _mean_with_tail(events: int, probability: float) -> float:
    """The mean of the Poisson distribution with this probability of at most `events`."""
    reach = 10 * math.sqrt(events + 1)
    low, high = max(0.0, events - reach), events + reach
    for _ in range(60):
        middle = (low + high) / 2
        if _poisson_cdf(events, middle) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _poisson_cdf(events: int, mean: float) -> float:
    if mean <= 0:
        return 1.0
    # Terms far below the mean are negligible; skipping them keeps large counts fast.
    first = max(0, int(mean - 12 * math.sqrt(mean) - 12))
    logarithm = math.log(mean)
    return math.fsum(math.exp(k * logarithm - mean - math.lgamma(k + 1)) for k in range(first, events + 1))
