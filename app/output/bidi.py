"""Right-to-left writing for backends that only know how to go from left to right.

A full implementation of Unicode's bidirectional algorithm is not needed for a name: one level of runs is.
Where Pillow has Raqm, that does the work instead, and joins Arabic letters too.
"""

from __future__ import annotations

import unicodedata
from typing import List, Tuple

_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL")


def visual_order(text: str) -> str:
    """The characters in the order in which they stand on the line, from the left."""
    if not any(map(is_right_to_left, text)):
        return text
    first_strong = next(c for c in text if is_right_to_left(c) or unicodedata.bidirectional(c) == "L")
    line_is_backwards = is_right_to_left(first_strong)
    runs = _runs(_clusters(text), line_is_backwards)
    if line_is_backwards:
        runs.reverse()
    return "".join(_mirrored(part) if backwards else "".join(part) for backwards, part in runs)


def _clusters(text: str) -> List[str]:
    """Letters with the accents that stand on them, which must stay together when the order turns round."""
    clusters: List[str] = []
    for character in text:
        if clusters and unicodedata.combining(character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _runs(clusters: List[str], line_is_backwards: bool) -> List[Tuple[bool, List[str]]]:
    """Stretches of one direction; spaces and signs between two directions take the line's own."""
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


def _mirrored(clusters: List[str]) -> str:
    return "".join(reversed(clusters)).translate(_MIRRORED)
