"""What an event log says about earlier runs: its id, its last number, and the visits that are open."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from app import __version__
from app.errors import OutputError
from app.events.event import SCHEMA, EventKind, LeftReason, is_stranger, visit_key, visit_of_key
from app.text import iso_time, parse_time

logger = logging.getLogger(__name__)

Record = Dict[str, Any]
"""A line of the log, as in `docs/events.md`."""

# fmt: off
EVENT_COLUMNS = (
    "sequence", "event", "channel", "time", "frame", "position", "file", "visit", "track", "name", "stranger",
    "similarity", "confidence", "nearest", "photo", "runner_up", "runner_up_similarity", "reason", "why", "measured",
    "limit", "votes", "time_to_first_name_s", "previous_name", "previous_visit", "first_seen", "last_seen",
    "duration_s", "snapshot", "error", "lost_s", "level", "previous_level",
)
"""The fields of events in tables: all but boxes and attributes."""
# fmt: on

HEADER = "log"
"""The kind of the line with which every run, and every file, begins."""
HEADER_MARK = b'{"event": "log"'
"""How that line begins in a file."""
_LINE_MARKS = (HEADER_MARK, b'{"schema": ')
_MAX_NUMBER = 1e15
"""Numbers beyond it, and those that are none, are damage."""
_BLOCK_BYTES = 1 << 16
_TEXT, _NUMBER, _NONE = (str,), (int, float), (type(None),)
_TYPES: Dict[str, Tuple[type, ...]] = {
    **dict.fromkeys(("event", "log", "time", "channel", "reason"), _TEXT),
    **dict.fromkeys(("name", "stranger", "nearest", "previous_name", "file", "error"), _TEXT + _NONE),
    **dict.fromkeys(("sequence", "after", "visit", "of_visit", "track", "level", "previous_level"), (int,)),
    **dict.fromkeys(("duration_s", "lost_s"), _NUMBER),
    **dict.fromkeys(("position", "similarity"), _NUMBER + _NONE),
    "to_stranger": _TEXT + _NONE,
    "taken_back": (bool,),
    "open": (list,),
    "relabels": (dict,),
}


@dataclass
class History:
    """The state of a log after its last line. A header contains all of it, so the lines before need not be read."""

    log: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names the log in all its files."""
    sequence: int = 0
    """Of the last event."""
    visits: Dict[int, Record] = field(default_factory=dict)
    """The last event of each visit that is open, by its number."""
    relabels: Dict[str, str] = field(default_factory=dict)
    """The names that strangers got: `stranger-7` -> `Eva`."""

    def add(self, record: Record) -> None:
        kind = record.get("event")
        if kind == HEADER:
            self.log, self.sequence = record["log"], record["after"]
            self.visits = {visit["visit"]: visit for visit in record["open"] if "visit" in visit}
            self.relabels = dict(record.get("relabels", {}))
            return
        self.sequence = max(self.sequence, record["sequence"])
        if kind == EventKind.RELABEL:
            add_relabel(self.relabels, record)
        if "visit" not in record:
            return
        if kind == EventKind.LEFT:
            self.visits.pop(record["visit"], None)
        else:
            self.visits[record["visit"]] = record

    def header(self, now: float) -> Record:
        return {
            "event": HEADER,
            "schema": SCHEMA,
            "log": self.log,
            "program": __version__,
            "time": iso_time(now),
            "after": self.sequence,
            "open": list(self.visits.values()),
            **({"relabels": self.relabels} if self.relabels else {}),
        }

    def close_visits(self) -> List[Record]:
        """A LEFT for every open visit of a run that was killed, at the time and place of its last event."""
        left = []
        for number, visit in enumerate(self.visits.values(), self.sequence + 1):
            last_seen = visit["time"] if visit["position"] is None else visit["position"]
            first_seen = visit.get("first_seen", last_seen)
            kept = {name: value for name, value in visit.items() if not name.startswith("previous_")}
            changed = {"schema": SCHEMA, "sequence": number, "event": "left", "reason": str(LeftReason.RESTART)}
            times = {"first_seen": first_seen, "last_seen": last_seen, "duration_s": _between(first_seen, last_seen)}
            left.append({**kept, **changed, **times})
        return left


def encoded(record: Record) -> bytes:
    # A name from a file's name may hold bytes that are not text: they become visible as \udcXX.
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """The lines of a log as objects. A damaged line, as after a power failure, is skipped."""
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _is_sound(record):
            yield record


def _is_sound(record: Any) -> bool:
    """Whether the fields that this program reads are there, with the right types. New fields are ignored."""
    if not isinstance(record, dict):
        return False
    kind = record.get("event")
    if kind == HEADER:
        needed = ["time", "log", "after", "open"]
    elif kind == EventKind.RELABEL:
        record = {**record, "channel": ""}
        needed = ["time", "sequence", "stranger", "name"]
    elif kind == EventKind.DEGRADE_LEVEL:
        record = {**record, "channel": ""}
        needed = ["time", "sequence", "level", "level_name", "previous_level"]
    else:
        needed = ["event", "time", "sequence", "channel"]
        needed += ["name", "position", "reason", "track"] if "visit" in record else []
        needed += ["duration_s"] if kind == EventKind.LEFT else ["lost_s"] if kind == EventKind.SOURCE_BACK else []
    if not all(name in record for name in needed):
        return False
    if not all(isinstance(record[name], types) for name, types in _TYPES.items() if name in record):
        return False
    if not all(abs(value) < _MAX_NUMBER for value in record.values() if isinstance(value, (int, float))):
        return False
    try:
        parse_time(record["time"])
        _between(record.get("first_seen", 0), record.get("last_seen", 0))
    except (ValueError, TypeError, OverflowError):
        return False
    return kind != HEADER or all(map(_is_sound, record["open"]))


def relabels_of(found: Iterable[Record], before: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """The names that strangers got, by relabel events and headers, of one or more logs: `stranger-7` -> `Eva`.

    `before` are the names of files before these.
    """
    names: Dict[str, str] = dict(before or {})
    for record in found:
        if record["event"] == HEADER:
            names.update(record.get("relabels", {}))
        elif record["event"] == EventKind.RELABEL:
            add_relabel(names, record)
    return names


def relabels_by_log(found: Sequence[Tuple[str, Record]]) -> Dict[str, str]:
    """The same of lines with the ids of their logs. Visits are `LOG/12`: every log counts them from 1."""
    everywhere = relabels_of(record for _, record in found)
    names = {key: who for key, who in everywhere.items() if visit_of_key(key) is None}
    for log in {log for log, _ in found}:
        for key, who in relabels_of(record for of, record in found if of == log).items():
            visit = visit_of_key(key)
            if visit is not None:
                names[f"{log}/{visit}"] = who
    return names


def add_relabel(names: Dict[str, str], record: Record) -> None:
    """What an event RELABEL says about its stranger or visit. It may be taken back."""
    if "of_visit" in record:
        key = visit_key(record["of_visit"])
        names.pop(key, None)
        if not record.get("taken_back"):
            names[key] = record["name"] or record.get("to_stranger") or ""
    elif record["stranger"] is not None:
        names.pop(record["stranger"], None)
        if record["name"] is not None:
            names[record["stranger"]] = record["name"]


def own_relabels(names: Mapping[str, Optional[str]], log: str) -> Dict[str, Optional[str]]:
    """What a log has to say of these: strangers, and the visits of this log, which are `LOG/12` in `names`."""
    own = {key.partition("/")[0::2]: who for key, who in names.items()}
    return {
        visit_key(int(visit)) if visit else key: who for (key, visit), who in own.items() if not visit or key == log
    }


def now_of(
    names: Mapping[str, str], visit: Optional[int], name: Optional[str], stranger: Optional[str]
) -> Tuple[Optional[str], Optional[str]]:
    """Name and stranger of a visit that was recognised as these, after what people have said since."""
    said = None if visit is None else names.get(visit_key(visit))
    if said is not None:
        name, stranger = (None, said) if is_stranger(said) else (said or None, None)
    return name or names.get(stranger or ""), stranger


def require_log(file: BinaryIO, path: Path) -> None:
    """Raises OutputError when the file holds something else: it would be damaged by appending."""
    file.seek(0)
    start = file.read(max(map(len, _LINE_MARKS)))
    if not any(start.startswith(mark) or mark.startswith(start) for mark in _LINE_MARKS):
        raise OutputError(f"{path} is not an event log; choose another name")


def repair(file: BinaryIO, path: Path) -> None:
    """Completes or removes a last line that a crash or a power failure cut off."""
    size = file.seek(0, 2)
    start = find_last(file, b"\n", size) + 1
    if start == size:
        return
    file.seek(start)
    rest = file.read(size - start)
    if list(records([rest])):
        file.write(b"\n")
        return
    file.truncate(start)
    logger.warning("%s: removed an incomplete last line of an interrupted run: %.200r", path, rest)


def read_history(path: Path) -> History:
    with path.open("rb") as file:
        start = find_last(file, b"\n" + HEADER_MARK, file.seek(0, 2)) + 1
        file.seek(start)
        history = History()
        for line in file:
            found = list(records([line]))
            for record in found:
                history.add(record)
            if not found:
                logger.warning("%s: ignored a line that is not an event: %.200r", path, line)
    return history


def log_files(template: Path, also_empty: bool = False) -> List[Path]:
    """The files of a log that are not empty, also rotated and compressed ones; the newest is last."""
    stem, suffix = (
        re.escape(part).replace(r"\{date\}", r"\d{4}-\d\d-\d\d").replace(r"\{time\}", r"\d\d-\d\d-\d\d")
        for part in (template.stem, template.suffix)
    )
    rotated = re.compile(rf"{stem}(-\d{{8}}T\d{{6}}Z(-\d+)?)?{suffix}(\.\d+|-\d{{8}}(-\d+)?)?(\.gz)?")
    changed_ns: Dict[Path, int] = {}
    for path in template.parent.glob("*"):
        if rotated.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # it was renamed or removed meanwhile
                found = path.stat()
                if stat.S_ISREG(found.st_mode) and (found.st_size or also_empty):
                    changed_ns[path] = found.st_mtime_ns
    return sorted(changed_ns, key=changed_ns.__getitem__)


def _between(first: Any, last: Any) -> float:
    """Seconds between two values of `first_seen` and `last_seen`: dates, or positions in a recording."""
    begin, end = (parse_time(value) if isinstance(value, str) else float(value) for value in (first, last))
    return round(max(0.0, end - begin), 3)


def find_last(file: BinaryIO, text: bytes, end: int) -> int:
    """Where the text last occurs before `end`; -1 if nowhere."""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        file.seek(begin)
        found = file.read(end - begin + len(text) - 1).rfind(text)
        if found >= 0:
            return begin + found
        end = begin
    return -1
