"""The section `view`: which parts of the picture count."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import List, Optional, Tuple

from app.settings.declaration import setting

Point = Tuple[float, float]
Polygon = Tuple[Point, ...]
"""Corners, as fractions of the width and height of the picture."""


def polygons(text: str) -> Tuple[Polygon, ...]:
    """Reads `0.1,0.2 0.9,0.2 0.9,1`: corners separated by spaces, several polygons by semicolons.

    Raises ValueError, which says what is wrong.
    """
    return tuple(_polygon(part) for part in text.split(";") if part.strip())


def _polygon(text: str) -> Polygon:
    corners: List[Point] = []
    for corner in text.split():
        try:
            x, y = map(float, corner.split(","))
        except ValueError:
            raise ValueError(f"{corner!r} is not a corner, x and y with a comma between them") from None
        # NaN fails every comparison.
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"{corner!r} is outside the picture: x and y are fractions of it, from 0 to 1")
        corners.append((x, y))
    if len(set(corners)) < 3:
        raise ValueError(f"{text.strip()!r} has fewer than three corners")
    sides = list(zip(corners, corners[1:] + corners[:1]))
    if any(_cross(one, other) for one, other in itertools.combinations(sides, 2)):
        raise ValueError(f"the outline of {text.strip()!r} crosses itself; write its corners in the order around it")
    return tuple(corners)


def _cross(one: Tuple[Point, Point], other: Tuple[Point, Point]) -> bool:
    """Whether two lines cross. Those that only touch, as neighbours do in their common corner, do not."""

    def apart(line: Tuple[Point, Point], ends: Tuple[Point, Point]) -> bool:
        """Whether the ends are on different sides of the line."""
        (x1, y1), (x2, y2) = line
        first, second = ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) for x, y in ends)
        return first * second < 0

    return apart(one, other) and apart(other, one)


@dataclass(frozen=True)
class ViewSettings:
    """Which parts of the picture count. `python -m app doctor --grid DIR` writes a picture to read positions from."""

    watch: Optional[str] = setting(
        None,
        "report only faces in these parts of the picture: the corners of a polygon as fractions of width and height, "
        "such as 0.1,0.2 0.9,0.2 0.9,1 0.1,1; several polygons are separated by semicolons",
        parse=polygons,
    )
    ignore: Optional[str] = setting(
        None,
        "report no faces in these parts of the picture, written in the same way; they remain visible in videos",
        parse=polygons,
    )
