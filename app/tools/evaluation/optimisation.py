"""Which settings of a detector make the fewest errors on labelled pictures.

A pass looks at all pictures with one detector, input size and NMS, and keeps faces of low scores. It gives the
errors at each minimum score, so scores need no passes of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

import numpy as np

from app.errors import AppError, OutputError
from app.files import try_lock
from app.tools.evaluation.detection import NO_LABEL, PictureMatch
from app.tools.evaluation.labels import LabelledPicture

SCORES = tuple(round(percent / 100, 2) for percent in range(5, 100))
"""The minimum scores that are tried."""


class PassKey(NamedTuple):
    """What one pass is made with."""

    detector: str
    sha256: str
    """Of the detector's file."""
    input_size: int
    nms_iou: float


@dataclass(frozen=True)
class PassCounts:
    """What one pass found."""

    labels: int
    hits: Tuple[int, ...]
    """Labels that are found, at each of SCORES."""
    false: Tuple[int, ...]
    """False positives, at each of SCORES."""
    ms_per_picture: float


@dataclass(frozen=True)
class Choice:
    """A pass with the minimum score that has the fewest errors."""

    key: PassKey
    min_score: float
    equally_good: Tuple[float, float]
    """The range of minimum scores with the same number of errors."""
    missed: int
    false: int
    ms_per_picture: float

    @property
    def errors(self) -> int:
        return self.missed + self.false

    def as_json(self) -> Dict[str, Any]:
        return {**asdict(self), "key": self.key._asdict(), "errors": self.errors}

    def config(self) -> str:
        """For the settings file."""
        return (
            f"models:\n  detector: {self.key.detector}\n"
            f"detection:\n  input_size: {self.key.input_size}\n  min_score: {self.min_score:g}\n"
            f"  nms_iou: {self.key.nms_iou:g}"
        )


def count_pass(
    pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch], ms_per_picture: float
) -> PassCounts:
    labels = np.concatenate([match.labels for match in matches])
    scores = np.concatenate([match.scores for match in matches])
    hits, false = scores[labels >= 0], scores[labels == NO_LABEL]
    return PassCounts(
        labels=int(sum((~picture.ignored).sum() for picture in pictures)),
        hits=tuple(int((hits >= score).sum()) for score in SCORES),
        false=tuple(int((false >= score).sum()) for score in SCORES),
        ms_per_picture=round(ms_per_picture, 2),
    )


def best_choice(key: PassKey, counts: PassCounts) -> Choice:
    """Of several equally good scores, the middle of the widest range: it is the farthest from errors."""
    errors = counts.labels - np.array(counts.hits) + np.array(counts.false)
    best = np.flatnonzero(errors == errors.min())
    ranges = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    widest = max(ranges, key=len)
    middle = int(widest[len(widest) // 2])
    return Choice(
        key,
        SCORES[middle],
        (SCORES[widest[0]], SCORES[widest[-1]]),
        counts.labels - counts.hits[middle],
        counts.false[middle],
        counts.ms_per_picture,
    )


def ranked(passes: Dict[PassKey, PassCounts]) -> List[Choice]:
    """The best choice of each pass, those with the fewest errors first, and of these the fastest."""
    choices = [best_choice(key, counts) for key, counts in passes.items()]
    return sorted(choices, key=lambda choice: (choice.errors, choice.ms_per_picture, choice.key))


def description(pictures: Sequence[LabelledPicture], folder: Path, **more: Any) -> Dict[str, Any]:
    """What passes depend on besides their key: with other labels or pictures, they cannot be compared."""
    content = hashlib.sha256()
    for picture in pictures:
        content.update(f"{picture.file} {(folder / picture.file).stat().st_size}\n".encode("utf-8", "surrogateescape"))
        content.update(picture.boxes.tobytes() + picture.ignored.tobytes() + picture.crowds.tobytes())
    return {"labels_and_pictures": content.hexdigest()[:16], "pictures": len(pictures), **more}


class PassFile:
    """Finished passes, one JSON object a line, each on the disk before the next pass begins.

    The first line describes what they were made of. A last line that a kill left incomplete is removed.
    """

    def __init__(self, path: Path, made_of: Dict[str, Any]) -> None:
        self.path = path
        self.passes: Dict[PassKey, PassCounts] = {}
        try:
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        with contextlib.ExitStack() as opened:
            opened.callback(self._file.close)
            if not try_lock(self._file.fileno()):
                raise AppError(f"{path}: another process is writing its passes there; wait, or name another file")
            self._read(made_of)
            opened.pop_all()

    def __enter__(self) -> PassFile:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._file.close()

    def add(self, key: PassKey, counts: PassCounts) -> None:
        self._write({**key._asdict(), **asdict(counts)})
        self.passes[key] = counts

    def _read(self, made_of: Dict[str, Any]) -> None:
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b"\n") + 1]
        try:
            facts = [json.loads(line) for line in complete.splitlines()]
            if content and not isinstance(facts[0] if facts else None, dict):
                raise ValueError("no description in the first line")
            for fact in facts[1:]:
                counts = PassCounts(
                    fact["labels"], tuple(fact["hits"]), tuple(fact["false"]), float(fact["ms_per_picture"])
                )
                if not len(counts.hits) == len(counts.false) == len(SCORES):
                    raise ValueError("another number of scores")
                self.passes[PassKey(*(fact[name] for name in PassKey._fields))] = counts
        except (ValueError, KeyError, TypeError) as error:
            raise AppError(f"{self.path}: not a file of passes ({error}); name another one") from error
        if facts and facts[0] != made_of:
            differing = [name for name in made_of if facts[0].get(name) != made_of[name]]
            raise AppError(
                f"{self.path}: its passes were made with other {', '.join(differing) or 'settings'}; "
                "name another file, or delete this one"
            )
        self._file.truncate(len(complete))
        if not facts:
            self._write(made_of)

    def _write(self, facts: Dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(facts).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error
