"""What a device knows of the shared gallery and strangers, in `.fleet` in its folder: the last state that both agreed
upon.

It is in the folder whose photos it is about: where the folder is lost, or not mounted, the state is missing too, and
nothing is taken for deleted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
    get_type_hints,
)

from app.database.ids import new_id
from app.errors import GalleryError
from app.files import locked, write_whole

logger = logging.getLogger(__name__)

FOLDER = ".fleet"
_STATE = "state.json"
_LOCK = "lock"
_VERSION = 1
LOCK_WAIT_S = 30.0
SHA256_BYTES = 32
MAX_UNCONFIRMED = 100
"""Turns, each of a program that ended before the database answered."""
DELETED = ""
"""Person of a photo that was deleted elsewhere and could not be deleted here yet: it is not a new one."""


Row = TypeVar("Row", bound=Tuple[Any, ...])


class SharedPerson(NamedTuple):
    name: str
    revision: int


class SharedPhoto(NamedTuple):
    person: str
    """An id, or DELETED."""
    revision: int
    path: str
    """Where it was in the folder."""


class Conflict(NamedTuple):
    """Changed here and elsewhere, in different ways. Neither is applied to the other until somebody decides."""

    mine: str
    """The name that it has here."""
    theirs: str
    person: str
    """The id of `theirs`."""
    person_revision: int
    revision: int


@dataclass
class FleetState:
    device: str = field(default_factory=new_id)
    turns: List[str] = field(default_factory=list)
    """The last one that the database has of this device, and those that may have reached it since. A copy of the
    folder has old ones as soon as either draws a new one."""
    database: str = ""
    """The id of the database that all of the following is about."""
    seen: int = 0
    """Everything up to this revision is here."""
    people: Dict[str, SharedPerson] = field(default_factory=dict)
    photos: Dict[str, SharedPhoto] = field(default_factory=dict)
    """By SHA-256."""
    conflicts: Dict[str, Conflict] = field(default_factory=dict)
    """By what they are about: `photo SHA256` or `person ID`."""
    waiting: Dict[str, int] = field(default_factory=dict)
    """Photos of others that could not be written, with their revisions; tried again each time."""

    def draw_turn(self) -> None:
        """Always a new one: one that may not have reached the database may be in a copy of the folder, too."""
        self.turns[1:] = [*self.turns[1:][-MAX_UNCONFIRMED:], str(uuid.uuid4())]

    def start_over(self, database: str) -> None:
        """For another database: nothing is agreed upon, so that nothing is deleted on either side."""
        self.database, self.seen = database, 0
        for known in (self.people, self.photos, self.conflicts, self.waiting):
            known.clear()

    def name_of(self, sha256: str) -> Optional[str]:
        """The person of a photo, as agreed upon."""
        photo = self.photos.get(sha256)
        person = None if photo is None else self.people.get(photo.person)
        return None if person is None else person.name

    def undecided_names(self, sha256: str) -> Set[str]:
        """The names of a photo here that wait for a decision: its person's, and its own."""
        photo = self.photos.get(sha256)
        subjects = [photo_subject(sha256)] + ([] if photo is None else [person_subject(photo.person)])
        return {self.conflicts[subject].mine for subject in subjects if subject in self.conflicts}

    def as_json(self) -> Dict[str, Any]:
        return {"version": _VERSION, **vars(self)}


@dataclass
class StrangerState:
    database: str = ""
    device: str = ""
    registered: str = ""
    """When the database got to know this device."""
    seen: int = 0
    ids: Dict[int, str] = field(default_factory=dict)
    """Of the fleet, by the number here."""
    sent: Dict[str, Tuple[float, float]] = field(default_factory=dict)
    """By id: when the stranger was last seen here, and the weight of the prototype that was sent."""
    visits: Dict[str, str] = field(default_factory=dict)
    """By the id of the visit: the stranger that it was counted for."""
    names: Dict[str, Optional[str]] = field(default_factory=dict)
    survivors: Dict[str, str] = field(default_factory=dict)
    merged: Set[Tuple[str, str]] = field(default_factory=set)
    """Pairs that were sent."""
    split: Set[Tuple[str, str]] = field(default_factory=set)
    """Pairs that people have separated here."""

    def start_over(self, database: str, device: str, registered: str) -> None:
        """For a database that may not have what was sent. Ids are the same in all databases."""
        self.database, self.device, self.registered, self.seen = database, device, registered, 0
        for known in (self.sent, self.names, self.survivors, self.merged):
            known.clear()

    @classmethod
    def read(cls, path: Path) -> StrangerState:
        try:
            found = json.loads(path.read_bytes())
            return cls(
                **{
                    **found,
                    "ids": {int(number): stranger for number, stranger in found["ids"].items()},
                    "sent": {
                        stranger: (float(seen), float(weight)) for stranger, (seen, weight) in found["sent"].items()
                    },
                    "merged": {(one, other) for one, other in found["merged"]},
                    "split": {(one, other) for one, other in found.get("split", [])},
                }
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s: cannot be read (%s); strangers are exchanged from the beginning", path, error)
            return cls()

    def write(self, path: Path) -> None:
        """Raises OSError."""
        content: Dict[str, Any] = {**vars(self), "merged": sorted(self.merged), "split": sorted(self.split)}
        write_whole(path, json.dumps(content).encode(), mode=0o600)

    def number_of(self, stranger: str) -> Optional[int]:
        return next((number for number, known in self.ids.items() if known == stranger), None)


def photo_subject(sha256: str) -> str:
    return f"photo {sha256}"


def person_subject(person: str) -> str:
    return f"person {person}"


def _rows(kind: Type[Row], found: Mapping[str, Sequence[Any]]) -> Dict[str, Row]:
    """Raises TypeError for values that such a row does not have."""
    rows = {key: kind(*values) for key, values in found.items()}
    types = list(get_type_hints(kind).values())
    if any([type(value) for value in row] != types for row in rows.values()):
        raise TypeError(f"a {kind.__name__} has values of other types")
    return rows


class FleetFolder:
    """The `.fleet` folder of a gallery."""

    def __init__(self, gallery: Path) -> None:
        self.path = gallery / FOLDER

    @contextlib.contextmanager
    def locked(self) -> Iterator[FleetState]:
        """The state, while no other program exchanges this gallery. Raises GalleryError if one takes too long."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            with locked(self.path / _LOCK, LOCK_WAIT_S) as lock:
                if lock is None:
                    raise GalleryError(f"{self.path} is in use by another program for more than {LOCK_WAIT_S:g} s")
                state = self.read()
                if not (self.path / _STATE).exists():
                    self.write(state)
                yield state
        except OSError as error:
            raise GalleryError(f"{self.path} cannot be used: {error.strerror}") from error

    def read(self) -> FleetState:
        try:
            found = json.loads((self.path / _STATE).read_bytes())
            if found.pop("version") != _VERSION:
                raise ValueError("another version")
            state = FleetState(
                **{
                    **found,
                    "device": str(uuid.UUID(found["device"])),
                    "turns": [str(uuid.UUID(turn)) for turn in found.get("turns", [])],
                    "people": _rows(SharedPerson, found["people"]),
                    "photos": _rows(SharedPhoto, found["photos"]),
                    "conflicts": _rows(Conflict, found["conflicts"]),
                }
            )
            for sha256, revision in [*state.waiting.items(), *((one, 0) for one in state.photos)]:
                if len(bytes.fromhex(sha256)) != SHA256_BYTES or type(revision) is not int:
                    raise ValueError(f"{sha256!r} is no photo")
            if type(state.seen) is not int or type(state.database) is not str:
                raise TypeError("a value of another type")
            return state
        except FileNotFoundError:
            return FleetState()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning(
                "%s: cannot be read (%s); the gallery is compared with the shared one again, and nothing is deleted",
                self.path / _STATE,
                error,
            )
            return FleetState()

    def write(self, state: FleetState) -> None:
        """Raises OSError."""
        write_whole(self.path / _STATE, json.dumps(state.as_json()).encode(), mode=0o600)
