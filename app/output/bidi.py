"""Scripts that need more than placing letter after letter from left to right.

A name does not need Unicode's full bidirectional algorithm: one level of runs is enough. Where Pillow has Raqm, that is
used instead, and joins Arabic letters too.
"""

from __future__ import annotations

import unicodedata
from typing import List, Tuple

_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
# Indic scripts to Sinhala (Thai and Lao do not join), Tibetan to Myanmar, Khmer, Mongolian.
_JOINING_BLOCKS = ((0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x17FF), (0x1800, 0x18AF))


def needs_joining(character: str) -> bool:
    """Whether the shape of the letter depends on its neighbours."""
    if ord(character) < 0x300:
        return False
    if is_right_to_left(character):
        return unicodedata.bidirectional(character) == "AL"
    return any(first <= ord(character) <= last for first, last in _JOINING_BLOCKS)


def is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL")


def visual_order(text: str) -> str:
    """The characters in the order in which they are drawn from the left."""
    if not any(map(is_right_to_left, text)):
        return text
    first_strong = next(c for c in text if is_right_to_left(c) or unicodedata.bidirectional(c) == "L")
    line_is_backwards = is_right_to_left(first_strong)
    # Letters stay together with the accents on them.
    clusters: List[str] = []
    for character in text:
        if clusters and unicodedata.combining(character):
            clusters[-1] += character
        else:
            clusters.append(character)
    runs = _runs(clusters, line_is_backwards)
    if line_is_backwards:
        runs.reverse()
    return "".join(
        "".join(reversed(part)).translate(_MIRRORED) if backwards else "".join(part) for backwards, part in runs
    )


def _runs(clusters: List[str], line_is_backwards: bool) -> List[Tuple[bool, List[str]]]:
    """Runs of one direction; spaces and signs between two directions have that of the line."""
    runs: List[Tuple[bool, List[str]]] = []
    neutral: List[str] = []
    for cluster in clusters:
        kind = unicodedata.bidirectional(cluster[0])
        backwards = kind in ("R", "AL")
        if not backwards and kind not in ("L", "EN", "AN"):
            neutral.append(cluster)
        elif runs and runs[-1][0] == backwards:
            runs[-1][1].extend([*neutral, cluster])
            neutral = []
        else:
            if neutral:
                runs.append((line_is_backwards, neutral))
            runs.append((backwards, [cluster]))
            neutral = []
    if neutral:
        runs.append((line_is_backwards, neutral))
    return runs
