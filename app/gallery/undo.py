"""Changes of people and strangers that can be undone: what each has changed, kept on disk for a while.

A change is kept before it is made, so that one that a crash has cut in half can be undone, too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import shutil
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Collection, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from app.errors import GalleryError
from app.files import write_whole
from app.gallery.stranger_journal import FRAMES, restored
from app.identity.stranger_rules import replayed
from app.identity.strangers import (
    Change,
    DeniedState,
    NumberState,
    Restored,
    StrangerBook,
    Visit,
    VisitState,
    stranger_name,
)

logger = logging.getLogger(__name__)

UNDO_DAYS = 7.0
UNDO_COUNT = 100
"""Changes that are kept at most: the oldest go first."""
_RECORD = "change.json"


class Moved(NamedTuple):
    """What became another's. None: nobody's."""

    before: Optional[str]
    after: Optional[str]
    visits: int
    photos: int


@dataclass(frozen=True)
class MovedPhoto:
    """A photo of a person that was elsewhere before."""

    content_hash: str
    person: str
    """Whose it is after the change."""
    path: Optional[str]
    """Where it was, inside the gallery. None: it was not there, and undoing deletes it."""
    owner: str
    """Whose it was: a person or a stranger."""


@dataclass(frozen=True)
class UndoableChange:
    action: str
    """Such as `merge strangers`."""
    time: float
    before: Restored = field(default_factory=Restored)
    """What undoing restores."""
    after: Restored = field(default_factory=Restored)
    """What the change has made of it. Where that is not so any more, it cannot be undone."""
    photos: Tuple[MovedPhoto, ...] = ()
    others: Tuple[str, ...] = ()
    """Paths of photos that the person had already."""
    renamed: Optional[Tuple[str, str]] = None
    """A person with a new name, who keeps everything: old and new name."""
    visit: Optional[Tuple[Optional[str], Optional[str]]] = None
    """One visit of the event log that became another's: whose it was, and is. None: no one's."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    undone: Optional[float] = None

    @property
    def moved(self) -> List[Moved]:
        """From whom to whom, and how much."""
        if self.visit is not None:
            return [Moved(*self.visit, 1, 0)]
        return moved(self.before, self.after, self.photos)

    def is_about(self, names: Collection[str], numbers: Collection[int]) -> bool:
        """Whether it says anything about one of these people or strangers."""
        told = {*(self.renamed or ()), *filter(None, self.visit or ())}
        for photo in self.photos:
            told |= {photo.person, photo.owner}
        known: Set[int] = set()
        for state in (self.before, self.after):
            given = [one.name for one in state.visits] + [one.name for one in state.numbers]
            told |= {name for name in (*given, *(one.name for one in state.denied)) if name is not None}
            known |= {one.number for one in state.numbers} | {one.merged for one in state.numbers if one.merged}
            known |= {one.stranger for one in state.visits if one.stranger is not None}
        return bool(told & set(names) or known & set(numbers) or told & set(map(stranger_name, numbers)))


def moved(before: Restored, after: Restored, photos: Iterable[MovedPhoto]) -> List[Moved]:
    counts: Dict[Tuple[Optional[str], Optional[str]], List[int]] = defaultdict(lambda: [0, 0])
    owners = {one.visit: _owner(one.stranger, one.name) for one in after.visits}
    for one in before.visits:
        if owners[one.visit] != _owner(one.stranger, one.name):
            counts[_owner(one.stranger, one.name), owners[one.visit]][0] += 1
    for photo in photos:
        counts[photo.owner, photo.person][1] += 1
    return [Moved(*owners_, *count) for owners_, count in counts.items()]


def _owner(stranger: Optional[int], name: Optional[str]) -> Optional[str]:
    return stranger_name(stranger) if name is None and stranger is not None else name


def difference(book: StrangerBook, changes: Sequence[Change]) -> Tuple[Restored, Restored]:
    """What these changes make different: as it is, and as it will be."""
    later = replayed([*book.changes(), *changes])
    visits = [
        (visit_state(visit), visit_state(later.visits[visit.id]))
        for visit in book.visits.values()
        if visit.id in later.visits
    ]
    numbers = [
        (number_state(book, number), number_state(later, number))
        for number in sorted({*book.merged, *book.named, *book.ignored, *later.merged, *later.named, *later.ignored})
    ]
    names = {(one.time, one.visit): one.name for one in later.denied}
    known = {(one.time, one.visit) for one in book.denied}
    denied = [
        (DeniedState(one.time, one.visit, one.name), DeniedState(one.time, one.visit, names[one.time, one.visit]))
        for one in book.denied
        if (one.time, one.visit) in names
    ]
    denied += [(DeniedState(*one, ""), DeniedState(*one, name)) for one, name in names.items() if one not in known]
    denied += [
        (DeniedState(one.time, one.visit, one.name), DeniedState(one.time, one.visit, ""))
        for one in book.denied
        if (one.time, one.visit) not in names
    ]
    reassigned = book.reassigned.differing(later.reassigned)
    new = {one.time for one in later.renamed} - {one.time for one in book.renamed}
    sides = []
    for side in (0, 1):
        sides.append(
            Restored(
                tuple(pair[side] for pair in visits if pair[0] != pair[1]),
                tuple(pair[side] for pair in numbers if pair[0] != pair[1]),
                tuple(pair[side] for pair in denied if pair[0] != pair[1]),
                max(new, default=None) if side == 0 else None,
                tuple(pair[side] for pair in reassigned),
            )
        )
    return sides[0], sides[1]


def visit_state(visit: Visit) -> VisitState:
    return VisitState(visit.id, visit.stranger, visit.name, visit.crop, visit.crop_quality)


def number_state(book: StrangerBook, number: int) -> NumberState:
    return NumberState(number, book.merged.get(number), book.named.get(number), number in book.ignored)


class UndoStore:
    """The changes that can be undone, each in a folder with the pictures that it needs."""

    def __init__(self, strangers_folder: Path, keep_days: float) -> None:
        self.folder = strangers_folder / "undo"
        self._keep_s = min(UNDO_DAYS, keep_days) * 86400

    def keep(self, change: UndoableChange, crops: Optional[Path]) -> None:
        """Keeps a change, or what it has become, with its pictures in the folder `crops`. Raises GalleryError."""
        home = self.folder / change.id
        is_new = not (home / _RECORD).exists()
        try:
            home.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, home):
                folder.chmod(0o700)
            # First the record: pictures without one, after a crash, would never be deleted.
            write_whole(home / _RECORD, json.dumps(_plain(change), ensure_ascii=False).encode(), mode=0o600)
            for place, kept in _files(change, crops, home):
                if not kept.exists() and place.is_file():
                    shutil.copyfile(str(place), str(kept))
                    kept.chmod(0o600)
        except OSError as error:
            if is_new:
                self.remove(change.id)
            raise GalleryError(f"{home} cannot be written: {error.strerror}") from error
        self.clean(change.time)

    def restore_pictures(self, change: UndoableChange, crops: Optional[Path]) -> None:
        """Copies them back. Raises GalleryError."""
        try:
            for place, kept in _files(change, crops, self.folder / change.id):
                if not place.exists() and kept.is_file():
                    write_whole(place, kept.read_bytes(), mode=0o600)
        except OSError as error:
            raise GalleryError(f"{crops} cannot be written: {error.strerror}") from error

    def get(self, change_id: str) -> Optional[UndoableChange]:
        if not re.fullmatch(r"[0-9a-f]{16}", change_id):
            return None
        try:
            return _made(change_id, json.loads((self.folder / change_id / _RECORD).read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: ignored, it is damaged: %s", self.folder / change_id, error)
            return None

    def all(self) -> List[UndoableChange]:
        """The latest first."""
        ids = [path.name for path in self.folder.glob("*")] if self.folder.is_dir() else []
        found = [change for change in map(self.get, ids) if change is not None]
        return sorted(found, key=lambda change: (-change.time, change.id))

    def remove(self, change_id: str) -> None:
        home = self.folder / change_id
        with contextlib.suppress(OSError):
            for path in home.iterdir():
                if path.name != _RECORD:
                    path.unlink()
            (home / _RECORD).unlink()  # last: what is left after a crash is found by it
            home.rmdir()

    def mark_undone(self, change: UndoableChange, now: float) -> None:
        """Its pictures are not needed any more."""
        self.keep(replace(change, undone=now), None)
        home = self.folder / change.id
        for _, kept in _files(change, home, home):
            kept.unlink(missing_ok=True)

    def clean(self, now: float) -> None:
        """Deletes what is too old."""
        for position, change in enumerate(self.all()):
            if position >= UNDO_COUNT or change.time < now - self._keep_s:
                self.remove(change.id)

    def forget(self, names: Collection[str], numbers: Collection[int]) -> None:
        """Deletes what is kept of these people and strangers. What they were merged with cannot be undone any more."""
        for change in self.all():
            if change.is_about(names, numbers):
                self.remove(change.id)


def _files(change: UndoableChange, crops: Optional[Path], home: Path) -> List[Tuple[Path, Path]]:
    """The pictures and frames that it needs: where they belong, and where they are kept."""
    if crops is None:
        return []
    # Only plain names: they become paths.
    names = [one.crop for one in change.before.visits if one.crop is not None and Path(one.crop).name == one.crop]
    frames = crops.parent / FRAMES
    return [
        *((crops / name, home / name) for name in names),
        *((frames / name, home / f"frame-{name}") for name in names),
    ]


def _plain(change: UndoableChange) -> Dict[str, Any]:
    fields = dict(vars(change))
    fields.update(before=vars(change.before), after=vars(change.after), photos=[vars(one) for one in change.photos])
    return fields


def _made(change_id: str, fields: Dict[str, Any]) -> UndoableChange:
    if fields["id"] != change_id:
        raise ValueError("it has another id")
    return UndoableChange(
        action=str(fields["action"]),
        time=float(fields["time"]),
        before=restored(fields["before"]),
        after=restored(fields["after"]),
        photos=tuple(MovedPhoto(**one) for one in fields["photos"]),
        others=tuple(fields["others"]),
        renamed=None if fields["renamed"] is None else (str(fields["renamed"][0]), str(fields["renamed"][1])),
        visit=None if fields.get("visit") is None else (fields["visit"][0], fields["visit"][1]),
        id=change_id,
        undone=fields["undone"],
    )
