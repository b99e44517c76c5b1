"""The strangers' folder: a journal of changes that several programs append to, and the pictures of faces."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
from pathlib import Path
from typing import (
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    Type,
    get_type_hints,
)

import numpy as np

from app.errors import GalleryError
from app.files import locked, write_whole, written_as
from app.identity.reassignments import Reassigned, ReassignedState
from app.identity.strangers import (
    Change,
    Denied,
    DeniedState,
    Dropped,
    Ignored,
    Merged,
    Moved,
    Named,
    Numbered,
    NumberState,
    Renamed,
    Restored,
    Seen,
    StrangerBook,
    Unnamed,
    Visit,
    VisitState,
)

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
CROPS = "crops"
FRAMES = "frames"
_LOCK = ".lock"
_HEADER = b'{"journal": "strangers", "version": 1}\n'
_KINDS: Dict[str, Type[Any]] = {
    "seen": Seen,
    "dropped": Dropped,
    "moved": Moved,
    "merged": Merged,
    "ignored": Ignored,
    "named": Named,
    "unnamed": Unnamed,
    "renamed": Renamed,
    "denied": Denied,
    "reassigned": Reassigned,
    "restored": Restored,
    "numbered": Numbered,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_SPARE_LINES = 1000
LOCK_WAIT_S = 10.0
"""How long a command waits for the program that is writing."""

_MAX_NUMBER = 1e15
"""Numbers beyond it are damage."""

Decision = Callable[[StrangerBook], List[Change]]
"""The changes to make, given the state as it is while no other program writes."""


class StrangerJournal:
    """The strangers of a folder, shared with other programs that use it. For one thread.

    `book` is the state after the last `refresh` or `update`. Without a folder nothing is stored.
    """

    def __init__(self, folder: Optional[Path]) -> None:
        self.folder = folder
        self.book = StrangerBook()
        self.generation = 0
        """How often another program has replaced the journal, as `people forget` does."""
        self._lines = 0
        self._read_to = 0
        self._last_line = b""
        self._file_id: Optional[Tuple[int, int]] = None
        self._reported = False

    @property
    def crops(self) -> Optional[Path]:
        return None if self.folder is None else self.folder / CROPS

    @property
    def frames(self) -> Optional[Path]:
        """The frames that the crops are from, with the same names."""
        return None if self.folder is None else self.folder / FRAMES

    @property
    def path(self) -> Optional[Path]:
        return None if self.folder is None else self.folder / JOURNAL

    def create(self) -> None:
        """Makes the folder, which is readable by its owner only. Raises OSError."""
        if self.folder is not None:
            (self.folder / CROPS).mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)

    def refresh(self) -> None:
        """Reads what other programs have written."""
        if self.path is None:
            return
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            if self._file_id is not None:
                # Deleted by hand. Numbers are not used again as long as this program runs.
                self._start_over(StrangerBook(next_number=self.book.next_number))
            return
        with file:
            status = os.fstat(file.fileno())
            file_id = (status.st_dev, status.st_ino)
            if self._file_id is not None and (file_id != self._file_id or not self._is_continued(file)):
                self._start_over(StrangerBook())
            self._file_id = file_id
            file.seek(self._read_to)
            self._apply_lines(file)

    def _is_continued(self, file: BinaryIO) -> bool:
        """Whether it still has what was read. The second file after the one that was read may have its inode."""
        file.seek(self._read_to - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line

    def _start_over(self, book: StrangerBook) -> None:
        self._begin(book)
        self.generation += 1

    def _begin(self, book: StrangerBook) -> None:
        self.book, self._file_id, self._read_to, self._lines, self._last_line = book, None, 0, 0, b""

    def update(self, decide: Decision, wait_s: float = LOCK_WAIT_S) -> Optional[List[Change]]:
        """Makes the changes that `decide` returns, and stores them. None: another program kept the folder locked."""
        if self.path is None:
            changes = decide(self.book)
            for change in changes:
                self.book.apply(change)
            return changes
        with self._locked(wait_s) as got:
            if not got:
                return None
            self.refresh()
            changes = decide(self.book)
            if changes:
                self._append(b"".join(map(encoded, changes)))
                self.refresh()
            return changes

    def rewrite(self, decide: Callable[[StrangerBook], Optional[StrangerBook]], wait_s: float = LOCK_WAIT_S) -> bool:
        """Replaces the journal, unless `decide` returns None: nothing is left of what is not in the new book.

        False: another program kept the folder locked. Other programs notice it and begin with the new journal.
        """
        if self.path is None:
            self.book = decide(self.book) or self.book
            return True
        with self._locked(wait_s) as got:
            if not got:
                return False
            self.refresh()
            book = decide(self.book)
            if book is not None:
                write_whole(self.path, _HEADER + b"".join(map(encoded, book.changes())), mode=0o600)
                self._begin(StrangerBook())
                self.refresh()
            self._sweep()
        return True

    @property
    def is_long(self) -> bool:
        """Whether the journal has many lines that later ones have replaced."""
        return self._lines > 2 * len(self.book.changes()) + _SPARE_LINES

    def sweep(self) -> None:
        """Deletes the pictures that belong to no visit. May be called from another thread."""
        own = StrangerJournal(self.folder)
        if own.path is not None:
            with own._locked(LOCK_WAIT_S) as got:
                if got:
                    own.refresh()
                    own._sweep()

    def _sweep(self) -> None:
        """While no other program writes: a picture is written after its visit."""
        wanted = self.book.crops()
        for folder in filter(None, (self.crops, self.frames)):
            for path in folder.glob("*"):
                if written_as(path.name) not in wanted:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def sync(self) -> None:
        """Brings what was written to the disk. May be called from another thread. Raises OSError."""
        if self.path is not None and self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def _append(self, content: bytes) -> None:
        assert self.path is not None
        with self.path.open("ab") as file:
            self.path.chmod(0o600)
            end = file.seek(0, os.SEEK_END)
            if end > self._read_to:
                file.truncate(self._read_to)  # half a line of a program that was killed
            file.write((b"" if self._read_to else _HEADER) + content)

    def _apply_lines(self, file: Iterable[bytes]) -> None:
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._read_to += len(line)
            self._last_line = line
            if line == _HEADER:
                continue
            self._lines += 1
            try:
                self.book.apply(decoded(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if not self._reported:
                    self._reported = True
                    logger.warning("%s: ignored a damaged line (%s): %.120r", self.path, error, line)

    @contextlib.contextmanager
    def _locked(self, wait_s: float) -> Iterator[bool]:
        assert self.folder is not None
        if not (self.folder / CROPS).is_dir():
            self.create()
        with locked(self.folder / _LOCK, wait_s) as lock:
            yield lock is not None


def encoded(change: Change) -> bytes:
    fields = {name: _plain(value) for name, value in vars(change).items() if value is not None}
    return (json.dumps({"change": _NAMES[type(change)], **fields}, ensure_ascii=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )


def decoded(line: bytes) -> Change:
    """Raises ValueError, KeyError or TypeError where the line is damaged."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise TypeError("not an object")
    kind = _KINDS[fields.pop("change")]
    if kind is Seen:
        visit = fields["visit"]
        return Seen(_checked(Visit(**{**visit, "embedding": _vector(visit["embedding"])})))
    if kind is Restored:
        return restored(fields)
    if "embedding" in fields:
        fields["embedding"] = _vector(fields["embedding"])
    if "visits" in fields:
        fields["visits"] = tuple(fields["visits"])
    change: Change = _checked(kind(**fields))
    return change


def restored(fields: Mapping[str, Any]) -> Restored:
    """From JSON. Raises ValueError, KeyError or TypeError where it is damaged."""
    visits = tuple(_checked(VisitState(*one)) for one in fields.get("visits", ()))
    numbers = tuple(_checked(NumberState(*one)) for one in fields.get("numbers", ()))
    denied = tuple(_checked(DeniedState(*one)) for one in fields.get("denied", ()))
    renamed = fields.get("renamed")
    if not _fits(renamed, Optional[float]):
        raise TypeError(f"renamed is {renamed!r:.40}")
    reassigned = tuple(_checked(ReassignedState(*one)) for one in fields.get("reassigned", ()))
    return Restored(visits, numbers, denied, renamed, reassigned)


def _checked(made: Any) -> Any:
    """Raises TypeError for a field of another type: it would only be noticed when it is used."""
    for name, hint in _HINTS[type(made)].items():
        if not _fits(getattr(made, name), hint):
            raise TypeError(f"{name} is {getattr(made, name)!r:.40}")
    return made


_STATES = (Visit, VisitState, NumberState, DeniedState, ReassignedState, *_KINDS.values())
_HINTS = {kind: get_type_hints(kind) for kind in _STATES}


def _fits(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER
    if hint in (str, bool, np.ndarray, type(None)):
        return isinstance(value, hint)
    parts = [part for part in hint.__args__ if part is not Ellipsis]
    if hint.__origin__ is tuple:
        return isinstance(value, tuple) and all(_fits(one, parts[0]) for one in value)
    return any(_fits(value, part) for part in parts)


def _plain(value: Any) -> Any:
    if isinstance(value, Visit):
        return {name: _plain(field) for name, field in vars(value).items() if field is not None}
    if isinstance(value, np.ndarray):
        return base64.b64encode(value.astype("<f2").tobytes()).decode("ascii")
    return value


def _vector(text: str) -> np.ndarray:
    vector = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    length = float(np.linalg.norm(vector))
    if not (np.isfinite(length) and length > 0):
        raise ValueError("an embedding that is not a direction")
    # A fixed point: what is written again is the same, although its length is not exactly 1.
    return vector


def required(changes: Optional[List[Change]], folder: Optional[Path]) -> List[Change]:
    """For commands: the changes that were made, or an error when another program kept the folder locked."""
    require_unlocked(changes is not None, folder)
    return changes or []


def require_unlocked(is_done: bool, folder: Optional[Path]) -> None:
    """For commands: an error when another program kept the folder locked."""
    if not is_done:
        raise GalleryError(f"{folder} is locked by another program for more than {LOCK_WAIT_S:g} s; try again")
