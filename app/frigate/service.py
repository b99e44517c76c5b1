"""Names the people of a Frigate until it is stopped."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Callable, Dict, Optional, Tuple

from app.capture.pictures import decode_picture
from app.errors import SourceError
from app.events.delivery import device_name
from app.frigate.api import Frigate, FrigateError
from app.frigate.inbox import Inbox
from app.frigate.link import FrigateLink
from app.frigate.looking import look_at, person_area
from app.frigate.messages import PersonMessage
from app.frigate.naming import TrackedPerson, answer, result, score, sub_label, with_vote
from app.gallery.gallery import Gallery
from app.http_request import RequestError
from app.network_thread import NetworkThread
from app.settings import Settings
from app.text import counted, suggestion
from app.types import Match

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
"""How often a stop is noticed."""
MAX_PEOPLE = 2000
"""Those that are remembered: more than Frigate ever tracks at a time, and those who have just left."""
MAX_ATTEMPTS = 8
"""For one person, while Frigate answers others."""
MAX_PAUSE_S = 30.0
MAX_AGE_S = 3.0
"""Of a message about somebody who is still there: then Frigate may have a newer picture, to which its box does not
belong."""


class FrigateService:
    """Its loop runs on the thread that calls `run`; the networks have one of their own."""

    def __init__(
        self,
        settings: Settings,
        gallery: Gallery,
        networks: NetworkThread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises SettingsError."""
        self._clock = clock
        self._settings = settings
        self._own = settings.frigate
        # Snapshots are few: those that agree are counted by a setting of their own.
        self._voting = replace(settings.recognition, min_votes=self._own.min_votes)
        self._limits = settings.quality.video_limits()
        self._gallery, self._networks = gallery, networks
        self._frigate = Frigate(self._own)
        self._inbox = Inbox(self._own.queue)
        self._cameras = frozenset(filter(None, (name.strip() for name in (self._own.cameras or "").split(","))))
        self._people: OrderedDict[str, TrackedPerson] = OrderedDict()
        self._sizes: Dict[str, Optional[Tuple[int, int]]] = {}
        self._has_restarted = threading.Event()
        self._pause_s = 0.0
        self._problem = ""
        self._named = 0
        self._generation = (gallery.index, 0)
        device = device_name(settings.delivery.device)
        self._link = FrigateLink(settings.mqtt, self._own, device, self._on_person, self._has_restarted.set)

    def status(self) -> str:
        """How it is, in a line."""
        return f"{counted(self._named, 'name')} written into Frigate, {self._problem or 'which answers'}"

    def run(self, stop: threading.Event, on_turn: Callable[[], None] = lambda: None) -> None:
        """Raises FatalError when the networks cannot be run any more. `on_turn` is called twice a second, less often
        while Frigate does not answer."""
        self._link.start()
        try:
            self._learn_sizes()
        except FrigateError as error:
            self._is_away(error)
        reported = 0
        try:
            while not stop.is_set():
                on_turn()
                message = self._inbox.take(LOOK_EVERY_S)
                if message is not None and not self._advance(message):
                    # Frigate is away: everyone waits.
                    stop.wait(self._pause_s)
                if self._inbox.left_out > 2 * reported:
                    reported = self._inbox.left_out
                    logger.warning("more people than frigate.queue: %d messages were left out so far", reported)
        finally:
            self._link.close()

    def _on_person(self, message: PersonMessage) -> None:
        if not self._cameras or message.camera in self._cameras:
            self._inbox.put(replace(message, received=self._clock()))

    def _advance(self, message: PersonMessage) -> bool:
        """Does what is to be done for a person. False if Frigate did not answer, and it has to be done later."""
        person = self._people.pop(message.id, None) or TrackedPerson(message)
        person = replace(person, message=person.message.and_later(message))
        try:
            person = self._looked_at(person)
            match = answer(person, self._voting)
            person = self._written(person, match)
            self._is_back()
        except FrigateError as error:
            self._is_away(error)
            self._inbox.put_back(person.message, 0.0)
            self._remember(person)
            return False
        person = self._published(person, match)
        self._remember(person)
        return True

    def _looked_at(self, person: TrackedPerson) -> TrackedPerson:
        if not person.wants_snapshot:
            return person
        watched = self._watched(person.message.camera)
        if not person.message.has_ended and self._clock() - person.message.received > MAX_AGE_S:
            # The next message comes when there is a better picture, or at the end.
            return person
        data = self._frigate.snapshot(person.message.id)
        person = replace(person, asked=person.message.snapshot_time)
        digest = hashlib.sha256(data or b"").hexdigest()
        if data is None or digest in person.pictures:
            return person
        person = replace(person, pictures=person.pictures | {digest})
        try:
            picture = decode_picture(data, f"snapshot of {person.message.id}")
        except SourceError as error:
            logger.warning("%s", error)
            return person
        area = person_area((picture.shape[1], picture.shape[0]), watched, person.message.box)
        recognizer, index = self._gallery.recognizer, self._gallery.index
        look = self._networks.call(lambda: look_at(picture, area, recognizer, index, self._limits))
        if look is None:
            return replace(person, snapshots=person.snapshots + 1)
        if index is not self._generation[0]:
            self._generation = (index, self._generation[1] + 1)
        return with_vote(person, look.match, look.weight, self._generation[1], self._voting)

    def _written(self, person: TrackedPerson, match: Match) -> TrackedPerson:
        """The person with the sub label that Frigate has now."""
        name = sub_label(person, match, self._own.replace_sub_label) if self._own.set_sub_label else None
        if name is None:
            return person
        try:
            if self._frigate.set_sub_label(person.message.id, name, score(match) if name else None):
                logger.info("%s: %s is %s", person.message.camera, person.message.id, name or "unknown after all")
                self._named += bool(name)
                return replace(person, written=name, earlier=person.earlier | {name}, attempts=0)
            problem = "Frigate does not know it"
        except FrigateError:
            raise
        except RequestError as error:
            problem = str(error)
        person = replace(person, attempts=person.attempts + 1)
        if person.attempts < MAX_ATTEMPTS:
            # A person who has just left may not be stored yet.
            self._inbox.put_back(person.message, min(MAX_PAUSE_S, 0.5 * 2**person.attempts))
        else:
            logger.warning(
                "%s: the name of %s is not in Frigate: %s", person.message.camera, person.message.id, problem
            )
        return person

    def _published(self, person: TrackedPerson, match: Match) -> TrackedPerson:
        """A result when the answer changes, and a last one at the end."""
        name = match.name or ""
        is_last = person.message.has_ended and not person.has_ended
        if not is_last and name == person.published:
            return person
        self._link.publish(person.message.camera, result(person, match))
        return replace(person, published=name, has_ended=person.message.has_ended)

    def _watched(self, camera: str) -> Optional[Tuple[int, int]]:
        """The size in which Frigate watches a camera, asked for once, and again when Frigate has started."""
        if self._has_restarted.is_set() or camera not in self._sizes:
            self._learn_sizes()
        return self._sizes.setdefault(camera, None)

    def _learn_sizes(self) -> None:
        self._has_restarted.clear()
        self._sizes = {}
        self._sizes.update(self._frigate.sizes())
        logger.info("Frigate at %s watches %s", self._frigate.name, ", ".join(sorted(self._sizes)))
        for name in sorted(self._cameras - self._sizes.keys()):
            logger.warning("frigate.cameras: Frigate has no camera %r%s", name, suggestion(name, self._sizes))

    def _remember(self, person: TrackedPerson) -> None:
        self._people[person.message.id] = person
        while len(self._people) > MAX_PEOPLE:
            self._people.popitem(last=False)

    def _is_away(self, error: FrigateError) -> None:
        if not self._pause_s:
            logger.warning("%s; trying again until it works", error)
        self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s or 1.0)
        self._problem = str(error)

    def _is_back(self) -> None:
        if self._pause_s:
            logger.info("Frigate at %s answers again", self._frigate.name)
        self._pause_s, self._problem = 0.0, ""
