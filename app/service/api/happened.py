"""Events and visits over HTTP: from the log, and as they happen."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.errors import AppError, GalleryError, OutputError
from app.events.event import EventKind
from app.events.filtering import EventFilter, local_time
from app.events.history import Record, now_of, own_relabels
from app.events.reading import LogReader, log_id
from app.events.visits import Visit as VisitInLog
from app.events.visits import visits
from app.gallery.names import normalize
from app.gallery.stranger_actions import NoSuchStrangerError, require_stranger
from app.gallery.visit_actions import LoggedVisit, reassign_visit
from app.identity.reassignments import UNKNOWN
from app.identity.strangers import Renamed, stranger_name
from app.service.api.changes import changed_by
from app.service.api.live_messages import ChangedVisit, Events, Visit, VisitChange, VisitDetails, Visits
from app.service.api.openapi import Described
from app.service.api.replies import flag, jpeg, read, reply, whole
from app.service.core import FaceService
from app.service.enrolment import Enrolment
from app.service.feed import Position, logged
from app.service.http import Endpoint, HttpError, Scope
from app.service.run_view import RunView
from app.service.streams import Stream, TokenCheck
from app.service.versions import require_version, visit_version
from app.text import parse_time

T = TypeVar("T")

MAX_LISTED = 1000
HEARTBEAT_S = 15.0
"""So that a proxy does not close a quiet stream."""
_CLOCK_STEP_S = 86400.0
"""Events may be logged in another order than that of their times when the clock was set."""


def history_endpoints(service: FaceService, view: RunView, enrolment: Enrolment) -> Tuple[Described, ...]:
    routes = _Routes(service, view, enrolment)
    api, read = "/api/v1", Scope.READ
    chosen = (
        ("since", "string"),
        ("until", "string"),
        ("person", "string"),
        ("unknown", "boolean"),
        ("channel", "string"),
        ("limit", "integer"),
    )
    return (
        Described(
            Endpoint("GET", f"{api}/events", routes.events, read),
            "Events of the log, the last one first",
            Events,
            query=(*chosen, ("kind", "string"), ("before", "integer")),
            failures=(400, 404),
        ),
        Described(
            Endpoint("GET", f"{api}/events/stream", routes.stream, read),
            "Events as they happen, as server-sent events; with Last-Event-ID those since then as well",
            media_type="text/event-stream",
        ),
        Described(
            Endpoint("GET", f"{api}/visits", routes.visits, read),
            "Who was where, from when to when",
            Visits,
            query=chosen,
            failures=(400, 404),
        ),
        Described(
            Endpoint("GET", f"{api}/visits/{{visit}}", routes.visit, read),
            "A visit and its events",
            VisitDetails,
            failures=(404,),
        ),
        Described(
            Endpoint("GET", f"{api}/visits/{{visit}}/picture.jpg", routes.picture, read),
            "The best picture of a visit",
            media_type="image/jpeg",
            failures=(404,),
        ),
        *(
            Described(
                Endpoint("POST", path, routes.reassign, Scope.ENROL),
                f"{what} is another person's than was recognised, a stranger's, or no one's who is known",
                ChangedVisit,
                body=VisitChange,
                failures=(404, 409),
            )
            for path, what in (
                (f"{api}/visits/{{visit}}/person", "A visit"),
                (f"{api}/events/{{event}}/person", "The visit of an event"),
            )
        ),
    )


class _Routes:
    def __init__(self, service: FaceService, view: RunView, enrolment: Enrolment) -> None:
        self._service = service
        self._view = view
        self._enrolment = enrolment
        self._kept = enrolment.kept
        self._pictures = service.settings.output.visit_snapshots

    async def events(self, request: Request) -> Response:
        log, limit = self._log(), _limit(request)
        before = whole(request, "before", 0, 0, 10**15)
        names, since = await self._names(log), _moment(request, "since")
        chosen = self._filter(request, names, kinds=_kinds(request))

        def found() -> List[Record]:
            lines = _since(self._logged(log), since)
            wanted = (one for one in lines if (not before or one["sequence"] < before) and chosen.event(one))
            return list(islice(wanted, limit + 1))

        records = await self._read(found)
        shown = [_relabelled(record, names) for record in records[:limit]]
        return reply(Events(shown, shown[-1]["sequence"] if len(records) > limit else None))

    async def visits(self, request: Request) -> Response:
        log, limit = self._log(), _limit(request)
        names, since = await self._names(log), _moment(request, "since")
        chosen = self._filter(request, names)

        def found() -> List[Visit]:
            records = list(_since(self._logged(log), since))[::-1]
            pictured = {one["visit"] for one in records if one.get("snapshot")}
            wanted = [one for one in visits(records, names) if chosen.visit(one)]
            wanted.sort(key=lambda one: (one.time, one.visit), reverse=True)
            return [_shown(one, one.visit in pictured) for one in wanted[: limit + 1]]

        shown = await self._read(found)
        return reply(Visits(shown[:limit], len(shown) > limit))

    async def visit(self, request: Request) -> Response:
        log = self._log()
        names = await self._names(log)
        records = await self._read(lambda: self._of_visit(request, log))
        return reply(_details(records, names))

    async def reassign(self, request: Request) -> Response:
        log, wanted = self._log(), await read(request, VisitChange)
        if wanted.name is not None and wanted.stranger is not None:
            raise HttpError(400, "name and stranger: expected one of them, or none")
        settings, journal, gallery = self._service.settings, self._kept.journal, self._service.gallery

        def changed() -> ChangedVisit:
            before = self._current(request, log, journal.book.all_names(), journal.book.renamed)
            was = before.visit.name or before.visit.stranger
            require_version(f"visit {before.visit.visit}", before.visit.version, wanted.version)
            who = normalize(wanted.name) if wanted.name is not None else UNKNOWN
            if wanted.name is not None and who not in gallery.people.names:
                raise GalleryError(f"no one is called {wanted.name!r}; enrol the person first")
            if wanted.stranger is not None:
                who = stranger_name(require_stranger(journal.book, wanted.stranger, journal.folder))
            visit = LoggedVisit(log_id(log), before.visit.visit, was)
            done = reassign_visit(settings, journal, visit, before.events, who)
            after = self._current(request, log, journal.book.all_names(), journal.book.renamed)
            answer = ChangedVisit(after.visit, done.face_kept, done.log.value, *changed_by(done.change))
            facts = {"visit": visit.number, "who": visit.who, "into": who or None, "undo": answer.undo}
            self._enrolment.note(request, "reassign visit", **facts)
            return answer

        try:
            return reply(await self._service.run(lambda: self._kept.changing(changed)))
        except NoSuchStrangerError as error:
            raise HttpError(404, str(error)) from error
        except (GalleryError, OutputError) as error:
            raise HttpError(409, str(error)) from error

    async def picture(self, request: Request) -> Response:
        log = self._log()
        records = await self._read(lambda: self._of_visit(request, log))
        names = [record["snapshot"] for record in records if record.get("snapshot")]
        if not names or self._pictures is None:
            raise HttpError(404, "there is no picture of this visit (output.visit_snapshots)")
        # The log says where the run has written it, which may have been started in another folder.
        path = self._pictures / Path(str(names[-1])).name
        try:
            return jpeg(await self._service.run(path.read_bytes))
        except OSError as error:
            raise HttpError(404, "the picture is not there any more") from error

    async def stream(self, request: Request) -> Response:
        # Taken now: what happens from here on is not missed.
        start = self._view.events.position(request.headers.get("last-event-id"))
        parts = self._parts(start, TokenCheck(request))
        return Stream(parts, "text/event-stream", self._view.viewers)

    async def _parts(self, start: Position, check_token: TokenCheck) -> AsyncIterator[bytes]:
        feed = self._view.events
        yield b"retry: 2000\n\n"
        async for records in feed.follow(start, HEARTBEAT_S):
            lines = [b"id: %s\ndata: %s\n\n" % (feed.id_of(one).encode(), orjson.dumps(one)) for one in records]
            yield b"".join(lines) or b":\n\n"
            check_token()

    def _log(self) -> Path:
        log = self._view.events.log
        if log is None:
            raise HttpError(
                404, "there is no event log: set output.events (--events FILE); /api/v1/events/stream works without it"
            )
        return log

    async def _names(self, log: Path) -> Dict[str, str]:
        """The names that strangers got: `stranger-7` -> `Eva`. A run may not have logged the last ones yet."""
        kept = await self._read(self._kept.names)
        return await self._read(lambda: self._all_names(log, kept))

    def _all_names(self, log: Path, kept: Dict[str, Optional[str]]) -> Dict[str, str]:
        """`kept` is what people have said, which a run may not have logged yet."""
        names = {**LogReader.of_log(log).relabels(), **own_relabels(kept, log_id(log))}
        gone = {name for lines in self._kept.forgotten() for name in lines.person.names}
        return {key: name for key, name in names.items() if name is not None and name not in gone}

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await self._view.events.read(work)
        except AppError as error:
            raise HttpError(503, f"the event log cannot be read: {error}") from error

    def _current(
        self, request: Request, log: Path, kept: Dict[str, Optional[str]], renamed: Sequence[Renamed]
    ) -> VisitDetails:
        """The visit that a request is about. Raises HttpError (404)."""
        return _details(self._of_visit(request, log, renamed), self._all_names(log, kept))

    def _logged(self, log: Path, renamed: Optional[Sequence[Renamed]] = None) -> Iterator[Record]:
        """The events of a log, the last one first, with the names that people have now."""
        records, renamed = logged(log), self._kept.renamed() if renamed is None else renamed
        forgotten = self._kept.forgotten()
        name = log_id(log) if forgotten else ""
        for lines in forgotten:
            records = map(partial(lines.without, name), records)
        return (_with_new_name(record, renamed) for record in records) if renamed else records

    def _of_visit(self, request: Request, log: Path, renamed: Optional[Sequence[Renamed]] = None) -> List[Record]:
        """The oldest first. Raises HttpError (404)."""
        event = request.path_params.get("event")
        text = str(request.path_params["visit"] if event is None else event)
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        if event is not None:
            found = next((one for one in self._logged(log, renamed) if one["sequence"] <= number), {})
            if found.get("sequence") != number or "visit" not in found:
                raise HttpError(404, f"there is no event {text} of a person")
            number = found["visit"]
        records: List[Record] = []
        for record in self._logged(log, renamed):
            if record["sequence"] < number:
                break
            if record.get("visit") == number:
                records.append(record)
        if not records:
            raise HttpError(404, f"there is no visit {text}")
        return records[::-1]

    @staticmethod
    def _filter(request: Request, names: Dict[str, str], kinds: Tuple[str, ...] = ()) -> EventFilter:
        query = request.query_params
        return EventFilter(
            names,
            people=query.getlist("person"),
            unknown=flag(request, "unknown"),
            channels=query.getlist("channel"),
            kinds=kinds,
            since=_moment(request, "since"),
            until=_moment(request, "until"),
        )


def _with_new_name(record: Record, renamed: Sequence[Renamed]) -> Record:
    name = record.get("name")
    if name is not None:
        at = parse_time(record["time"])
        for one in renamed:
            if at < one.time and name == one.before:
                name = one.name
    return record if name is record.get("name") else {**record, "name": name}


def _since(records: Iterator[Record], since: Optional[float]) -> Iterator[Record]:
    """The last ones, until they are certainly too old."""
    for record in records:
        if since is not None and parse_time(record["time"]) < since - _CLOCK_STEP_S:
            return
        yield record


def _relabelled(record: Record, names: Dict[str, str]) -> Dict[str, Any]:
    """With the name that its stranger got later, or whose its visit is."""
    if "visit" not in record:
        return record
    name, stranger = now_of(names, record["visit"], record["name"], record.get("stranger"))
    return {**record, "name": name, **({"stranger": stranger} if "stranger" in record or stranger else {})}


def _shown(visit: VisitInLog, pictured: bool) -> Visit:
    version = visit_version(visit.visit, visit.name or visit.stranger)
    return Visit(**visit.as_json(), version=version, picture=pictured)


def _details(records: Sequence[Record], names: Dict[str, str]) -> VisitDetails:
    (one,) = visits(records, names)
    pictured = any(record.get("snapshot") for record in records)
    return VisitDetails(_shown(one, pictured), [_relabelled(record, names) for record in records])


def _limit(request: Request) -> int:
    return whole(request, "limit", 100, 1, MAX_LISTED)


def _moment(request: Request, name: str) -> Optional[float]:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return local_time(text)
    except (ValueError, OverflowError, OSError) as error:
        raise HttpError(
            400, f"{name}={text!r}: expected a time such as 2026-11-29T18:00, 18:00, today, 2h (ago) or with its zone"
        ) from error


def _kinds(request: Request) -> Tuple[str, ...]:
    kinds, known = request.query_params.getlist("kind"), [str(kind) for kind in EventKind]
    for kind in kinds:
        if kind not in known:
            raise HttpError(400, f"kind={kind!r}: expected one of {', '.join(known)}")
    return tuple(kinds)
