"""Lists of picture pairs: LFW's own `pairs.txt`, and CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.capture.uri import PICTURE_SUFFIXES
from app.errors import SourceError

CSV_HEADER = ("image_a", "image_b", "same")
CSV_HEADER_ENDINGS = ("same", "is_same", "same_person", "match", "label", "truth", "target")
"""The last column of a header line; the names of the others do not matter."""
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Pair:
    """Two pictures by their names in the list, and whether they show the same person."""

    first: str
    second: str
    same: bool
    line: int
    """Its line number in the list."""


@dataclass(frozen=True)
class PairList:
    """A list of pairs, and the fold of each pair if the list defines folds."""

    path: Path
    pairs: Tuple[Pair, ...]
    folds: Optional[np.ndarray] = None

    @property
    def same(self) -> np.ndarray:
        return np.array([pair.same for pair in self.pairs], bool)


def read_pairs(path: Path) -> PairList:
    """Reads a list in one of the two formats, recognised by its first line. It must contain both kinds of pairs."""
    lines = read_lines(path)
    content = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not content:
        raise SourceError(f"{path}: the list of pairs is empty")
    first = content[0][1]
    found = _read_csv(path, content) if "," in first else _read_lfw(path, content)
    if not found.same.any() or found.same.all():
        kind = "the same person" if found.same.all() else "different people"
        raise SourceError(f"{path}: all pairs show {kind}; both kinds are required")
    return found


def read_lines(path: Path) -> List[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def find_pictures(pairs: PairList, folder: Path) -> Dict[str, Path]:
    """The file of each picture in the list. All missing pictures are reported at once."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    found: Dict[str, Path] = {}
    missing: List[str] = []
    for pair in pairs.pairs:
        for name in (pair.first, pair.second):
            if name not in found:
                person = name.rpartition("_")[0]
                folders = [folder, folder / person] if person else [folder]
                files = [name, *(f"{name}{suffix}" for suffix in PICTURE_SUFFIXES)]
                path = next((place / file for file in files for place in folders if (place / file).is_file()), None)
                if path is None:
                    missing.append(f"{pairs.path}:{pair.line}: no picture {name!r} in {folder}")
                else:
                    found[name] = path
    if missing:
        tried = "tried NAME, NAME.jpg and PERSON/NAME.jpg, and other suffixes"
        raise SourceError(f"{first_lines(missing)}\n  {tried}")
    return found


def first_lines(lines: Sequence[str], shown: int = 5) -> str:
    """The first of these lines without duplicates, and the number of the others."""
    unique = list(dict.fromkeys(lines))
    more = [f"and {len(unique) - shown} more"] if len(unique) > shown else []
    return "\n  ".join([*unique[:shown], *more])


def _read_csv(path: Path, content: Sequence[Tuple[int, str]]) -> PairList:
    pairs = []
    for number, line in content:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error as error:
            raise SourceError(f"{path}:{number}: invalid CSV: {error}") from error
        if number == content[0][0] and len(cells) == 3 and cells[2].lower() in CSV_HEADER_ENDINGS:
            continue
        if len(cells) != 3 or not cells[0] or not cells[1]:
            raise SourceError(f"{path}:{number}: expected {','.join(CSV_HEADER)}, not {line!r}")
        if cells[2].lower() not in TRUTHS:
            raise SourceError(f"{path}:{number}: expected 1 (same person) or 0 as the third value, not {cells[2]!r}")
        pairs.append(Pair(cells[0], cells[1], TRUTHS[cells[2].lower()], number))
    if not pairs:
        raise SourceError(f"{path}: no pairs after the header")
    return PairList(path, tuple(pairs))


def _read_lfw(path: Path, content: Sequence[Tuple[int, str]]) -> PairList:
    """`pairs.txt` starts with the numbers of folds and of pairs per kind and fold, `pairsDev*.txt` with the latter."""
    number, header = content[0]
    words = header.split()
    if len(words) not in (1, 2) or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise SourceError(
            f"{path}:{number}: expected LFW's header (folds and pairs, or only pairs) or a CSV line "
            f"{','.join(CSV_HEADER)}, not {header!r}"
        )
    folds, each = (int(words[0]), int(words[1])) if len(words) == 2 else (1, int(words[0]))
    rows = content[1:]
    if len(rows) != folds * each * 2:
        raise SourceError(
            f"{path}: expected {folds} x {each} pairs of each kind, {folds * each * 2} lines, after the header; found "
            f"{len(rows)}"
        )
    pairs = tuple(_lfw_pair(path, line, text) for line, text in rows)
    for position, pair in enumerate(pairs):
        if pair.same != (position % (2 * each) < each):
            expected = "NAME N N (one person)" if not pair.same else "NAME N NAME N (two people)"
            raise SourceError(
                f"{path}:{pair.line}: expected {expected}: each fold has {each} of one person, then {each} of two"
            )
    return PairList(path, pairs, np.arange(len(pairs)) // (2 * each) if folds > 1 else None)


def _lfw_pair(path: Path, line: int, text: str) -> Pair:
    words = text.split("\t") if "\t" in text else text.split()
    words = [word.strip() for word in words]
    numbers = words[1:] if len(words) == 3 else words[1::2]
    if len(words) not in (3, 4) or not all(word.isdecimal() for word in numbers):
        raise SourceError(f"{path}:{line}: expected NAME N N or NAME N NAME N, not {text!r}")
    first = f"{words[0]}_{int(words[1]):04d}"
    second = f"{words[0]}_{int(words[2]):04d}" if len(words) == 3 else f"{words[2]}_{int(words[3]):04d}"
    return Pair(first, second, len(words) == 3, line)
