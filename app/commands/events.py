"""Reading event logs on the command line."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional

from app.commands.arguments import expected
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, SettingsError
from app.events.event import EventKind
from app.events.filtering import EventFilter, local_time
from app.events.history import EVENT_COLUMNS, HEADER, Record, log_files, now_of, relabels_of
from app.events.pipe import is_pipe
from app.events.reading import STDIN, LogReader
from app.events.visits import VISIT_COLUMNS, Day, Visit, days, visits
from app.text import counted, duration, parse_time, printable, source_time, table

DESCRIPTION = """Lists the events that runs with --events wrote, the visits that follow from them, or a daily summary.
Several files of one log are read in their order; .gz files too."""

EXAMPLES = """examples:
  python -m app events visits.jsonl
  python -m app events visits-*.jsonl --visits --person Ann --since 2026-11-01
  python -m app events visits-*.jsonl --daily --since yesterday
  python -m app events visits.jsonl --format csv > visits.csv
  python -m app events visits-*.jsonl --sqlite visits.db
  python -m app events visits.jsonl -f --kind identified

since and until take 2026-11-29, 2026-11-29T18:00, 18:00, today, yesterday, or 90m, 2h, 3d (ago)"""

UNKNOWN = "unknown"
"""Shown for people without a name."""
PROCESSED = "processed"
"""The column with the clock of the program, for recordings of several runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="event log; - is standard input (default: all files of the log in the settings, output.events)",
    )
    add_settings_options(parser, sections=())
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--visits", action="store_true", help="show visits: who, from when to when, how long")
    views.add_argument("--daily", action="store_true", help="show a summary of each day and person")
    views.add_argument(
        "--sqlite", metavar="DB", type=Path, help="write all events and visits to this SQLite database, replacing it"
    )
    parser.add_argument("--person", metavar="NAME", action="append", help="only this person (can be repeated)")
    parser.add_argument(
        "--unknown", action="store_true", help="only unknown people; with --person, unknown people as well"
    )
    parser.add_argument("--channel", metavar="NAME", action="append", help="only this channel (can be repeated)")
    parser.add_argument(
        "--since", metavar="TIME", type=moment, help="not before this local time; of a recording, when it was processed"
    )
    parser.add_argument("--until", metavar="TIME", type=moment, help="before this local time")
    kinds = [str(kind) for kind in EventKind]
    parser.add_argument("--kind", choices=kinds, action="append", help=f"only these events: {', '.join(kinds)}")
    parser.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="json is one object per line"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="wait for new events, until Ctrl-C")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.kind and (arguments.visits or arguments.daily):
        raise SettingsError("--kind selects events; it cannot be combined with --visits or --daily")
    if arguments.follow and arguments.daily:
        raise SettingsError("--follow shows events or visits as they happen; --daily needs all of them")
    if arguments.sqlite and (arguments.follow or _filters(arguments)):
        raise SettingsError("--sqlite writes all events; select with SQL")
    log = None if arguments.files else _log_of_settings(arguments)
    reader = LogReader(arguments.files) if log is None else LogReader.of_log(log)
    runs: List[str] = []
    lines: Iterable[Record] = _noting_runs(reader.follow() if arguments.follow else reader.read(), runs)
    relabels = reader.relabels()
    if STDIN in arguments.files and not arguments.follow:
        # It can be read only once, and a stranger may get a name at the end.
        lines = list(lines)
        relabels.update(relabels_of(lines))
    chosen = EventFilter(
        relabels,
        people=arguments.person or (),
        unknown=arguments.unknown,
        channels=arguments.channel or (),
        kinds=arguments.kind or (),
        since=arguments.since,
        until=arguments.until,
    )
    try:
        if arguments.sqlite:
            # Some builds of Python have no SQLite.
            from app.events.sqlite import write_index

            events, found = write_index(arguments.sqlite, lines, relabels)
            _write(f"{arguments.sqlite}: {counted(events, 'event')}, {counted(found, 'visit')}")
        elif arguments.daily:
            _print(
                [_day_row(day) for day in days(filter(chosen.visit, visits(lines, relabels)))], arguments, chosen, runs
            )
        elif arguments.visits:
            shown: Iterable[Visit] = filter(chosen.visit, visits(lines, relabels))
            if not arguments.follow:
                shown = sorted(shown, key=lambda visit: (visit.time, visit.visit))
            _print((_visit_row(visit) for visit in shown), arguments, chosen, runs)
        else:
            _print((_event_row(record, relabels) for record in filter(chosen.event, lines)), arguments, chosen, runs)
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
    if reader.damaged:
        sys.stderr.write(f"warning: {counted(reader.damaged, 'damaged line')} skipped\n")
    if reader.missing:
        sys.stderr.write(f"warning: {counted(reader.missing, 'event')} missing: the numbers in `sequence` have gaps\n")
    return ExitCode.INCOMPLETE if reader.damaged or reader.missing else ExitCode.DONE


def _filters(arguments: argparse.Namespace) -> bool:
    names = ("person", "unknown", "channel", "since", "until", "kind")
    return any(getattr(arguments, name) for name in names)


def _log_of_settings(arguments: argparse.Namespace) -> Path:
    log = effective_settings(arguments).settings.output.events
    if log is None or is_pipe(log):
        raise SettingsError("name an event log, or set output.events in config.local.yaml")
    if not log_files(log):
        raise SettingsError(f"{log} (output.events) does not exist yet")
    return log


class Row(NamedTuple):
    """What is shown of an event, a visit or a day."""

    shown: Dict[str, str]
    """Short texts for the table."""
    fields: Dict[str, Any]
    """For CSV and JSON."""


def _noting_runs(lines: Iterable[Record], runs: List[str]) -> Iterator[Record]:
    """Adds when each run, or each file of its log, began."""
    for record in lines:
        if record["event"] == HEADER:
            runs.append(record["time"])
        yield record


def _print(rows: Iterable[Row], arguments: argparse.Namespace, chosen: EventFilter, runs: List[str]) -> None:
    if arguments.format == "json":
        for row in rows:
            _write(json.dumps(row.fields, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
    elif arguments.format == "csv":
        _print_csv(rows, arguments)
    elif arguments.follow:
        for row in rows:
            cells = (text for title, text in row.shown.items() if title != PROCESSED)
            _write("  ".join(filter(None, map(printable, cells))))
    else:
        shown = [row.shown for row in rows]
        # Times of a recording are the same in each run.
        if len(runs) < 2 or not any(cells.get(PROCESSED) for cells in shown):
            shown = [{title: text for title, text in cells.items() if title != PROCESSED} for cells in shown]
        if shown:
            _write(table(list(shown[0]), [list(cells.values()) for cells in shown]))
        else:
            sys.stderr.write(f"nothing found{chosen.hint()}\n")


def _print_csv(rows: Iterable[Row], arguments: argparse.Namespace) -> None:
    columns = DAY_COLUMNS if arguments.daily else VISIT_COLUMNS if arguments.visits else EVENT_COLUMNS
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row.fields)
        sys.stdout.flush()


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


DAY_COLUMNS = ("day", "name", "stranger", "visits", "first", "last", "total_s")


def _event_row(record: Record, relabels: Mapping[str, str]) -> Row:
    similarity = record.get("similarity")
    shown = {
        "time": _shown_time(record),
        "channel": record["channel"] or "",
        "event": record["event"],
        "person": _person(record, relabels),
        "similarity": "" if similarity is None else f"{similarity:.2f}",
        "remark": _remark(record),
        PROCESSED: "" if record.get("position") is None else _shown_moment(record["time"], None),
    }
    return Row(shown, record)


def _remark(record: Record) -> str:
    kind = record["event"]
    if kind == EventKind.RELABEL:
        return "" if record["stranger"] is None else f"was {record['stranger']}"
    if kind == EventKind.SOURCE_LOST:
        return record.get("error") or ""
    if kind == EventKind.SOURCE_BACK:
        return f"after {duration(record['lost_s'])}"
    if kind == EventKind.DEGRADE_LEVEL:
        return f"{record['level']} ({record['level_name']}), was {record['previous_level']}"
    if kind == EventKind.LEFT:
        return f"{record['reason']}, after {duration(record['duration_s'])}"
    if record.get("previous_name") is not None:
        return f"was {record['previous_name']}"
    if record["name"] is None and record.get("nearest") is not None:
        return f"{_why(record)}, nearest {record['nearest']}"
    return "" if record["name"] is not None else _why(record)


def _why(record: Record) -> str:
    """With its numbers, which logs of earlier versions do not contain."""
    return str(record.get("why") or record["reason"])


def _visit_row(visit: Visit) -> Row:
    shown = {
        "from": _shown_moment(visit.first_seen, visit.file),
        "to": _shown_moment(visit.last_seen, visit.file) if visit.ended else "",
        "duration": duration(visit.duration_s) if visit.ended else "",
        "channel": visit.channel,
        "person": _shown_name(visit.name, visit.stranger),
        "ended": visit.ended or "",
        PROCESSED: "" if isinstance(visit.first_seen, str) else _shown_moment(visit.time, None),
    }
    return Row(shown, visit.as_json())


def _day_row(day: Day) -> Row:
    first, last = day.first, day.last
    shown = {
        "day": day.day,
        "person": _shown_name(day.name, day.stranger),
        "visits": str(len(day.visits)),
        "first": _shown_moment(first.first_seen, first.file),
        "last": _shown_moment(last.last_seen, last.file),
        "total": duration(day.total_s),
    }
    fields = {
        "day": day.day,
        "name": day.name,
        "stranger": day.stranger,
        "visits": len(day.visits),
        "first": first.first_seen,
        "last": last.last_seen,
        "total_s": round(day.total_s, 3),
    }
    return Row(shown, fields)


def _person(record: Record, relabels: Mapping[str, str]) -> str:
    if "visit" not in record and record["event"] != EventKind.RELABEL:
        return ""
    return _shown_name(*now_of(relabels, record.get("visit"), record["name"], record.get("stranger")))


def _shown_name(name: Optional[str], stranger: Optional[str] = None) -> str:
    return name or stranger or UNKNOWN


def _shown_time(record: Record) -> str:
    position = record.get("position")
    return _shown_moment(record["time"] if position is None else position, record.get("file"))


def _shown_moment(moment: Any, file: Optional[str]) -> str:
    """Local time, seconds into a recording, or the name of a picture."""
    live = isinstance(moment, str)
    return source_time(parse_time(moment) if live else moment, live, file)


def moment(text: str) -> float:
    """The type of an option: a local time as seconds since the epoch."""
    try:
        return local_time(text)
    except ValueError as error:
        raise expected(
            text, "a local time such as 2026-11-29, 2026-11-29T18:00, 18:00, today, yesterday, or 2h (ago)"
        ) from error
