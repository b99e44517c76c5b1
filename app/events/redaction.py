"""Removing a person from event logs. Lines stay, so that no number is missing, but say nothing about the person."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Callable, Collection, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from app.errors import OutputError
from app.events.cursors import rewind
from app.events.event import EventKind
from app.events.history import HEADER, Record, encoded, log_files, records
from app.events.log import open_locked
from app.files import write_whole
from app.reasons import Reason, explained

_KEPT = frozenset(
    {
        "schema", "sequence", "event", "channel", "time", "frame", "position", "file", "visit", "track", "box",
        "reason", "votes", "first_seen", "last_seen", "duration_s", "previous_visit",
    }
)  # fmt: skip
"""Fields of a visit that say nothing about who it was. The others become null, or are left out."""
_NULLABLE = (
    "name", "stranger", "similarity", "confidence", "nearest", "photo", "runner_up", "runner_up_similarity", "measured",
    "limit", "time_to_first_name_s", "previous_name",
)  # fmt: skip


class Person(NamedTuple):
    """Who is to be removed: names, and numbers such as `stranger-7`."""

    names: Collection[str]
    strangers: Collection[str]
    given: Mapping[str, Collection[int]] = {}
    """By log, visits that were recognised as somebody else's, or nobody's, and given to this person later."""

    def is_in(self, record: Record) -> bool:
        """Whether the line is about a visit of the person."""
        return record.get("name") in self.names or any(
            record.get(key) in self.strangers for key in ("stranger", "to_stranger")
        )

    def visits(self, found: Iterable[Tuple[str, Record]]) -> Dict[str, Set[int]]:
        """By log, the numbers of the person's visits, by any of their lines."""
        numbers: Dict[str, Set[int]] = defaultdict(set, {log: set(given) for log, given in self.given.items()})
        for log, line in found:
            for record in line["open"] if line["event"] == HEADER else [line]:
                if "visit" in record and self.is_in(record):
                    numbers[log].add(record["visit"])
        return dict(numbers)


def by_log(found: Iterable[Record]) -> Iterator[Tuple[str, Record]]:
    """Each line with the id of its log: every log counts its visits from 1."""
    log = ""
    for record in found:
        log = record["log"] if record["event"] == HEADER else log
        yield log, record


def without(record: Record, person: Person, visits: Collection[int]) -> Record:
    """A line that says nothing about the person. `visits` are the person's in this log."""
    if record["event"] == HEADER:
        relabels = {
            key: who
            for key, who in record.get("relabels", {}).items()
            if key not in person.strangers and who not in {*person.names, *person.strangers}
        }
        opened = [without(one, person, visits) for one in record["open"]]
        kept = {name: value for name, value in record.items() if name != "relabels"}
        return {**kept, "open": opened, **({"relabels": relabels} if relabels else {})}
    if record["event"] == EventKind.RELABEL:
        told = ("stranger", "name", "to_stranger")
        return {**record, **dict.fromkeys(record.keys() & told)} if person.is_in(record) else record
    if record.get("visit") in visits:
        left = {name: None for name in _NULLABLE if name in record}
        kept = {name: value if name in _KEPT else None for name, value in record.items() if name in {*_KEPT, *left}}
        if any(name in str(record.get("file", "")) for name in person.names):
            del kept["file"]
        return {**kept, "why": _plain(record)} if "why" in record else kept
    return _without_mention(record, person)


def _without_mention(record: Record, person: Person) -> Record:
    """Another person's line, in which the removed one may be the nearest or the second nearest."""
    changed = dict(record)
    if record.get("nearest") in person.names:
        changed.update(dict.fromkeys(("nearest", "photo", "similarity", "confidence") & record.keys()))
    if record.get("runner_up") in person.names:
        changed.update(dict.fromkeys(("runner_up", "runner_up_similarity") & record.keys()))
    if record.get("previous_name") in person.names:
        changed["previous_name"] = None
    _choose_candidates(changed, lambda name: name not in person.names)
    if changed != record and "why" in record:
        changed.update({"why": _plain(record), "measured": None, "limit": None})
    return changed


def _choose_candidates(record: Record, is_wanted: Callable[[str], bool]) -> None:
    """Leaves these of the nearest people in a line."""
    if "candidates" in record:
        kept = [one for one in record["candidates"] if is_wanted(one["name"])]
        record["candidates"] = kept
        if not kept:
            del record["candidates"]


def _plain(record: Record) -> str:
    """The reason without numbers and names."""
    reasons = [reason for reason in Reason if str(record["why"]).split(" ")[0] == reason.value]
    return explained(reasons[0], "") if reasons else str(record["why"]).split(" ")[0]


class LockedLogs:
    """All files of some event logs, which no run can write meanwhile."""

    def __init__(self, templates: Iterable[Path], by: str = "another run; stop it, then repeat this command") -> None:
        """Raises OutputError when a run is writing one of them; `by` is as in `open_locked`."""
        self._by = by
        self._templates = tuple(templates)
        self._stack = contextlib.ExitStack()
        self._files: Dict[Path, io.FileIO] = {}
        try:
            # A log is rotated, or a run begins, between listing and locking.
            while not self._lock_all() or self._are_others():
                self.close()
        except OutputError:
            self.close()
            raise
        self.paths = [path for path in self._files if path.stat().st_size]

    def _listed(self) -> List[Path]:
        """Also the empty file of a run that has just begun."""
        found = [path for template in self._templates for path in log_files(template, also_empty=True)]
        return list({path.resolve(): path for path in found}.values())

    def _lock_all(self) -> bool:
        for path in self._listed():
            try:
                file = open_locked(path, self._by, create=False)
            except FileNotFoundError:
                return False
            self._files[path] = self._stack.enter_context(file)
        return True

    def _are_others(self) -> bool:
        return set(self._listed()) != self._files.keys() or not all(map(self._is_locked, self._files))

    def _is_locked(self, path: Path) -> bool:
        """Whether the file that has this name now is the one that was locked."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._files[path].fileno()))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._files.clear()
        self._stack.close()

    def records(self) -> Iterator[Tuple[str, Record]]:
        """All lines, each with the id of its log."""
        for path in self.paths:
            yield from by_log(records(_lines(path)))

    def replace(self, change: Callable[[str, Record], Record], texts: Collection[str]) -> Dict[Path, int]:
        """Replaces lines, and removes damaged ones that contain one of the texts; returns how many, by file.

        `change` gets the id of the line's log as well. Destinations that can correct what they have get these events
        again.
        """
        counts: Dict[Path, int] = {}
        for path in self.paths:
            lines: List[bytes] = []
            first: Dict[str, int] = {}
            changed = 0
            log = ""
            for line in _lines(path):
                found = list(records([line]))
                for record in found:
                    log = record["log"] if record["event"] == HEADER else log
                new = _changed(line, partial(change, log), texts)
                changed += new != line
                if new != line and found and found[0]["event"] != HEADER:
                    number = found[0]["sequence"]
                    first[log] = min(number, first.get(log, number))
                lines.append(line if new is None else new)
                if new is None:
                    lines.pop()
            # Before the file: if this ends in between, a repetition would find nothing to change.
            for log, sequence in first.items():
                rewind(path.parent, log, sequence)
            if changed:
                content = b"".join(lines)
                if not self._is_locked(path):
                    raise OutputError(f"{path} was renamed meanwhile; repeat this command")
                # With the time of its last event: the next run goes on where the newest file ends.
                changed_ns = path.stat().st_mtime_ns
                write_whole(path, gzip.compress(content) if path.suffix == ".gz" else content, modified_ns=changed_ns)
                counts[path] = changed
        return counts


def _changed(line: bytes, change: Callable[[Record], Record], texts: Collection[str]) -> Optional[bytes]:
    for record in records([line]):
        new = change(record)
        return line if new == record else encoded(new)
    return None if any(text.encode("utf-8", "backslashreplace") in line for text in texts) else line


def _lines(path: Path) -> List[bytes]:
    try:
        content = path.read_bytes()
        return list(io.BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content))
    except (OSError, EOFError) as error:
        raise OutputError(f"{path} cannot be read: {error}") from error


def of_person(found: Iterable[Record], person: Person) -> List[Record]:
    """The lines about the person's visits, without the names of other people."""
    lines = [(log, record) for log, record in by_log(found) if record["event"] != HEADER]
    visits = person.visits(lines)
    mine: List[Record] = []
    for log, record in lines:
        if record.get("visit") in visits.get(log, ()) or (
            record["event"] == EventKind.RELABEL and person.is_in(record)
        ):
            others: Dict[str, None] = {
                field: None
                for field in ("nearest", "runner_up", "previous_name")
                if record.get(field) is not None and record[field] not in person.names
            }
            line = {**record, **others}
            _choose_candidates(line, lambda name: name in person.names)
            mine.append(line)
    return mine
