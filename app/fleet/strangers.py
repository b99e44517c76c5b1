"""One exchange of a device's strangers with those of the fleet.

What the device has seen of strangers goes out, as a prototype each. Strangers whom other devices saw lately come in as
visits of the local journal, so that the next camera knows them at once; and so do the names and the merges of those who
are known here.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Dict, Iterable, List, Optional, Set, Tuple

import numpy as np

from app.database.connection import Connection
from app.database.ids import new_id
from app.database.strangers import SeenStranger, SharedStrangers, StrangerRow
from app.errors import GalleryError
from app.fleet.merger import merge, packed, unpacked
from app.fleet.state import FleetFolder, StrangerState
from app.gallery.gallery import Gallery
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.strangers import DAY_S, similarity_for, strangers_folder
from app.identity.strangers import (
    MERGE_ABOVE_SIMILARITY,
    Change,
    Dropped,
    Merged,
    Named,
    Seen,
    StrangerBook,
    Visit,
)
from app.output.cover import ALL, STRANGERS
from app.settings import Settings

logger = logging.getLogger(__name__)

_STATE = "strangers.json"
TIME_ERROR_S = 1e-3
"""Times of the database are rounded."""
NOTHING = 0.0, 0.0
"""When a stranger was seen, and the weight, before anything was sent."""
FOREIGN = "fleet-"
"""Visits with such an id are what other devices have seen."""


class StrangerSync:
    """Exchanges the strangers of a gallery's folder."""

    def __init__(self, settings: Settings, gallery: Gallery) -> None:
        self._gallery = gallery
        self._keep_s = settings.strangers.keep_days * DAY_S
        self._window_s = settings.fleet.strangers_minutes * 60
        self._model = gallery.embedder_id
        self._similarity = similarity_for(settings.strangers, gallery.recognizer.threshold) + MERGE_ABOVE_SIMILARITY
        self.is_on = (
            settings.strangers.enabled
            and settings.fleet.share_strangers
            and settings.output.cover not in (ALL, STRANGERS)
        )
        self._journal = StrangerJournal(strangers_folder(settings))
        self._fleet = FleetFolder(settings.gallery.folder)
        self._exchanged: Tuple[int, ...] = ()

    def is_changed(self) -> bool:
        """Whether the journal has grown since the last exchange."""
        return self.is_on and self._stamp() != self._exchanged

    def exchange(self, connection: Connection, now: Optional[float] = None) -> int:
        """How many strangers of other devices came in. The device must have a row. Raises GalleryError."""
        with self._fleet.locked() as fleet:
            path = self._fleet.path / _STATE
            state = StrangerState.read(path)
            shared = SharedStrangers(connection, fleet.device)
            stamp = self._stamp()
            self._refresh()
            registered, revision, time_there = shared.registration()
            now = time_there if now is None else now  # all devices have the same
            known = state.database, state.device, state.registered
            if known != (fleet.database, fleet.device, registered) or revision < state.seen:  # or an old backup
                state.start_over(fleet.database, fleet.device, registered)
                self._send_decisions(shared, state)
            if self._give_ids(state):
                state.write(path)  # before the database has them: a device that is killed does not give others
            self._send(shared, state)
            state.write(path)
            rows, revision = shared.changes(state.seen, now - self._window_s)
            if self._are_lost(shared, state, rows):
                self._send(shared, state)
            came = self._receive(state, rows, now)
            if came is not None:
                state.seen = revision
            state.write(path)
            self._exchanged = stamp
        merge(shared, self._model, self._similarity)
        return came or 0

    def _send_decisions(self, shared: SharedStrangers, state: StrangerState) -> None:
        """What people have decided here, for a database that may have forgotten it."""
        book = self._journal.book
        for number in shared.numbers():
            if book.current(number) not in {*book.strangers, *book.named}:
                shared.leave(number)
        for one, other in sorted(state.split):
            shared.decide(one, other, same=False, by_person=True)

    def _give_ids(self, state: StrangerState) -> bool:
        """Ids for strangers who have none; whether there were any."""
        before, known = len(state.ids), set(state.ids.values())
        for visit in self._journal.book.visits.values():
            stranger = visit.id[len(FOREIGN) :]
            # It came in an exchange that did not come to its end, or the state was lost.
            if visit.id.startswith(FOREIGN) and visit.stranger is not None and stranger not in known:
                state.ids.setdefault(visit.stranger, stranger)
        for number in self._journal.book.strangers:
            if number not in state.ids and any(visit.model == self._model for visit in self._own_visits(number)):
                state.ids[number] = new_id()
                state.sent[state.ids[number]] = NOTHING  # perhaps the database has it: to be deleted there, too
        return len(state.ids) > before

    def _own_visits(self, number: int) -> List[Visit]:
        return [visit for visit in self._journal.book.visits_of(number) if not visit.id.startswith(FOREIGN)]

    def _are_lost(self, shared: SharedStrangers, state: StrangerState, rows: List[StrangerRow]) -> bool:
        """Whether the database lacks what was sent: the stranger was forgotten on all devices, and this folder was
        restored from a backup; or another device has forgotten the same one, and took its looks away."""
        lost = [
            row.id
            for row in rows
            if row.id in state.sent
            and (row.weight == 0 if row.prototype is not None else shared.forgotten_until(row.id) is not None)
        ]
        for stranger in lost:
            del state.sent[stranger]
        return bool(lost)

    def _send(self, shared: SharedStrangers, state: StrangerState) -> None:
        book = self._journal.book
        for number in book.strangers:
            visits = self._own_visits(number)
            comparable = [visit for visit in visits if visit.model == self._model]
            if not comparable:
                continue
            stranger = state.ids.setdefault(number, new_id())
            for visit in visits:
                self._note_split(shared, state, visit.id, number, stranger)
            seen = _seen(stranger, number, comparable, self._keep_s)
            if state.sent.get(stranger) != (seen.last_seen, seen.weight):
                if not shared.seen(seen):
                    forgotten_until = shared.forgotten_until(stranger)
                    if forgotten_until is not None:
                        if not self._forget(number, forgotten_until):
                            continue  # the next exchange tries again
                        book = self._journal.book
                        visits = [visit for visit in visits if visit.id in book.visits]
                        comparable = [visit for visit in comparable if visit.id in book.visits]
                    self._drop(state, number, stranger)
                    if not comparable:
                        continue
                    # Expired there while this device was away, or came again.
                    stranger = state.ids[number] = new_id()
                    state.visits.update({visit.id: stranger for visit in visits})
                    seen = _seen(stranger, number, comparable, self._keep_s)
                    shared.seen(seen)
                state.sent[stranger] = seen.last_seen, seen.weight
        for number, stranger in list(state.ids.items()):
            current = book.current(number)
            other = state.ids.get(current)
            if other is not None and other != stranger and (stranger, other) not in state.merged:
                shared.decide(stranger, other, same=True, by_person=False)
                state.merged.add((stranger, other))
            name = book.named.get(current)
            if name != state.names.get(stranger) and (name is not None or stranger in state.names):
                shared.name(stranger, name)
                state.names[stranger] = name
            if current == number and number not in book.strangers and name is None:
                if stranger in state.sent:  # forgotten here, or too old
                    shared.leave(number)
                self._drop(state, number, stranger)
        state.visits = {visit: stranger for visit, stranger in state.visits.items() if visit in book.visits}

    def _note_split(
        self, shared: SharedStrangers, state: StrangerState, visit: str, number: int, stranger: str
    ) -> None:
        """A visit that belongs to another stranger than before, who is still there: they are two people."""
        before = state.visits.get(visit)
        old = None if before is None else state.number_of(before)
        if before is not None and old is not None and before != stranger and self._journal.book.current(old) != number:
            shared.decide(before, stranger, same=False, by_person=True)
            state.split.add((before, stranger))
        state.visits[visit] = stranger

    def _forget(self, number: int, until: float) -> bool:
        """Deletes the visits of a stranger up to a time; False: another program kept the journal locked."""

        def without_visits(book: StrangerBook) -> StrangerBook:
            left = StrangerBook(next_number=book.next_number)
            for change in book.changes():
                left.apply(change)
            old = [visit.id for visit in book.visits_of(number) if visit.last_seen <= until + TIME_ERROR_S]
            left.apply(Dropped(tuple(old)))
            return left

        logger.warning("fleet: stranger-%d was forgotten on all devices, and is forgotten here too", number)
        return self._journal.rewrite(without_visits)

    def _drop(self, state: StrangerState, number: int, stranger: str) -> None:
        state.ids.pop(number, None)
        for known in (state.sent, state.names, state.survivors):
            known.pop(stranger, None)
        state.split = {pair for pair in state.split if stranger not in pair}
        state.visits = {visit: whose for visit, whose in state.visits.items() if whose != stranger}

    def _receive(self, state: StrangerState, rows: List[StrangerRow], now: float) -> Optional[int]:
        """None: another program kept the journal locked, so that they have to come again."""
        numbers: Dict[int, str] = {}

        def decide(book: StrangerBook) -> List[Change]:
            numbers.clear()
            changes: List[Change] = []
            for row in rows:
                changes += self._changes(book, state, row, numbers, now)
            state.survivors.update({row.id: row.survivor for row in rows if row.prototype is not None})
            known = {**state.ids, **numbers}
            changes += _merges(book, known, state.survivors)
            changes += self._outdated(book, now)
            return changes

        if not rows and not self._outdated(self._journal.book, now):
            return 0
        try:
            changes = self._journal.update(decide)
        except OSError as error:
            raise GalleryError(f"{self._journal.path} cannot be written: {error.strerror}") from error
        if changes is None:
            return None
        state.ids.update(numbers)
        book = self._journal.book
        for row in rows:
            number = state.number_of(row.id)
            if number is not None and row.name == book.named.get(book.current(number)):
                state.names[row.id] = row.name
        return len(numbers)

    def _changes(
        self, book: StrangerBook, state: StrangerState, row: StrangerRow, numbers: Dict[int, str], now: float
    ) -> Iterable[Change]:
        """What one stranger of the fleet means for the journal. New numbers are added to `numbers`."""
        visit = FOREIGN + row.id
        known = book.visits.get(visit)
        is_elsewhere = row.prototype is not None and row.where is not None and row.weight > 0
        changes: List[Change] = [] if known is None or is_elsewhere else [Dropped((visit,))]
        number = state.number_of(row.id)
        if row.prototype is None:
            return changes
        if number is not None:
            if known is not None and is_elsewhere:
                foreign = self._foreign(row, number)
                if row.id in state.sent:  # the look may be one of this device
                    foreign = replace(foreign, embedding=known.embedding, weight=known.weight, looks=known.looks)
                if (known.channel, known.last_seen, known.weight) != (row.where, foreign.last_seen, foreign.weight):
                    changes.append(Seen(foreign))
            if row.name is not None and book.current(number) not in book.named:
                changes.append(Named(number, row.name))
            return changes
        is_of_interest = row.embedder == self._model and row.last_seen >= now - self._window_s and row.name is None
        if not (is_elsewhere and is_of_interest) or self._journal.folder is None:
            return changes
        number = max([book.next_number - 1, *numbers]) + 1
        numbers[number] = row.id
        return [Seen(self._foreign(row, number))]

    def _foreign(self, row: StrangerRow, number: int) -> Visit:
        assert row.prototype is not None and row.where is not None
        return Visit(
            id=FOREIGN + row.id,
            channel=row.where,
            track=0,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            model=row.embedder,
            embedding=unpacked(row.prototype),
            weight=row.weight,
            looks=row.looks,
            stranger=number,
        )

    def _outdated(self, book: StrangerBook, now: float) -> List[Change]:
        """Strangers of other devices who did not come here."""
        old = [
            visits[0].id
            for number in book.strangers
            for visits in [book.visits_of(number)]
            if len(visits) == 1
            and visits[0].id.startswith(FOREIGN)
            and visits[0].last_seen < now - self._window_s
            and number not in book.ignored
        ]
        return [Dropped(tuple(old))] if old else []

    def _refresh(self) -> None:
        try:
            self._journal.refresh()
        except OSError as error:
            raise GalleryError(f"{self._journal.path} cannot be read: {error.strerror}") from error

    def _stamp(self) -> Tuple[int, ...]:
        try:
            assert self._journal.path is not None
            status = self._journal.path.stat()
        except FileNotFoundError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns


def _seen(stranger: str, number: int, visits: List[Visit], keep_s: float) -> SeenStranger:
    mean = np.sum([visit.weight * visit.embedding for visit in visits], axis=0)
    last = max(visits, key=lambda visit: visit.last_seen)
    return SeenStranger(
        stranger,
        number,
        last.channel,
        last.model,
        packed(mean / max(float(np.linalg.norm(mean)), 1e-9)),
        float(sum(visit.weight for visit in visits)),
        sum(visit.looks for visit in visits),
        min(visit.first_seen for visit in visits),
        last.last_seen,
        last.last_seen + keep_s,
    )


def _merges(book: StrangerBook, ids: Dict[int, str], survivors: Dict[str, str]) -> List[Change]:
    """Numbers of one person become one: the one with a name, or the smallest."""
    groups: Dict[str, Set[int]] = {}
    for number, stranger in ids.items():
        groups.setdefault(survivors.get(stranger, stranger), set()).add(book.current(number))
    changes: List[Change] = []
    for numbers in groups.values():
        target = min(numbers, key=lambda number: (number not in book.named, number))
        changes += [Merged(number, target) for number in sorted(numbers - {target}) if number not in book.named]
    return changes
