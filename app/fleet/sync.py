"""One exchange of a device's folder with the shared gallery: what was changed here goes out, then what others changed
comes in.

Both sides are compared with the last state that they agreed upon (`.fleet`). Every step may be repeated: an exchange
that was interrupted begins again and finds done what it has done.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import PurePosixPath
from typing import Dict, List, Optional

from app import __version__
from app.database.connection import Connection
from app.database.devices import greet, has_revision
from app.database.gallery import Accepted, Deleted, Differs, NewRow, Outcome, PersonRow, PhotoRow, SharedGallery
from app.database.ids import new_id
from app.errors import GalleryError
from app.events.delivery import device_name
from app.fleet.changes import (
    AddPhoto,
    LocalChange,
    LocalPhoto,
    MovePhoto,
    RemovePhoto,
    RenamePerson,
    are_too_many,
    local_changes,
    subject_of,
)
from app.fleet.exchange import Exchange
from app.fleet.folder import PhotoFolder, as_text
from app.fleet.state import (
    DELETED,
    Conflict,
    FleetFolder,
    FleetState,
    SharedPerson,
    SharedPhoto,
    person_subject,
    photo_subject,
)
from app.gallery.files import move_to_person, rename_person
from app.gallery.gallery import Gallery
from app.gallery.stranger_actions import rename_visits
from app.settings import Settings
from app.text import program

logger = logging.getLogger(__name__)


class GallerySync:
    """Exchanges the folder of a gallery."""

    def __init__(self, settings: Settings, gallery: Gallery) -> None:
        self._settings, self._gallery = settings, gallery
        self._root = settings.gallery.folder
        self._name = device_name(settings.delivery.device)
        self.folder = FleetFolder(self._root)
        self._photos = PhotoFolder(self._root, gallery)
        self._has_drawn = False
        """One turn for each start of a program is enough."""

    def exchange(
        self,
        connection: Connection,
        remove_many: bool = False,
        unsent: Optional[int] = None,
        *,
        restore_missing: bool = False,
    ) -> Exchange:
        """`restore_missing`: photos that are gone from the folder are fetched again, instead of being deleted on other
        devices. `unsent` events wait on this device, which others are shown. Raises GalleryError where the folder
        cannot be used; errors of the database are its own."""
        done = Exchange()
        with self.folder.locked() as state:
            self._greet(connection, state)
            shared = SharedGallery(connection, state.device)
            head = shared.head()
            if state.database != head.database or head.revision < state.seen:  # an old backup is another database
                state.start_over(head.database)
            try:
                local = self._photos.photos(state)
                changes = local_changes(state, local, self._photos.missing(state, local))
                if restore_missing:
                    changes = _without_removals(state, changes)
                self._send(shared, state, changes, remove_many, done)
                self._receive(shared, state, done)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.folder.write(state)
                raise
            self.folder.write(state)
            self._gallery.refresh()
            self._send_embeddings(shared)
            shared.keep_conflicts(
                (subject, subject.partition(" ")[0], conflict.mine, conflict.theirs)
                for subject, conflict in state.conflicts.items()
            )
            has_revision(connection, state.device, state.seen, unsent)
            done.conflicts = len(state.conflicts)
        return done

    def _greet(self, connection: Connection, state: FleetState) -> None:
        """Makes this device one of its own if another one has used its id: the folder was copied, as with a memory
        card, or is an old backup. What was agreed upon is true of the copy as well, and stays."""
        facts = self._name, self._gallery.embedder_id, __version__
        is_drawn = not self._has_drawn or not state.turns
        if is_drawn:
            state.draw_turn()
            self._has_drawn = True
            # Before the database has it: after a crash, it may have any of them.
            self.folder.write(state)
        if not greet(connection, state.device, *facts, state.turns):
            before, state.device = state.device, new_id()
            logger.warning(
                "fleet: another device has used the id of this one, %s: this folder was copied, or restored from a "
                "backup. It is a device of its own from now on, %s, and nothing is lost. If both are in use, give "
                "them different names (delivery.device); this one is called %s",
                before,
                state.device,
                self._name,
            )
            self.folder.write(state)
            greet(connection, state.device, *facts, state.turns)
        state.turns = state.turns[-1:]
        if is_drawn:
            self.folder.write(state)

    def _send(
        self, shared: SharedGallery, state: FleetState, changes: List[LocalChange], remove_many: bool, done: Exchange
    ) -> None:
        removed = sum(isinstance(change, RemovePhoto) for change in changes)
        if are_too_many(removed, state) and not remove_many:
            done.held_back = removed
            changes = [change for change in changes if not isinstance(change, RemovePhoto)]
        for change in changes:
            if isinstance(change, RemovePhoto):
                shared.remove(change.sha256)
                state.photos.pop(change.sha256)
                state.conflicts.pop(subject_of(change), None)
                done.sent += 1
                continue
            outcome = self._sent(shared, state, change)
            if outcome is not None:
                self._note(shared, state, change, outcome, done)

    def _sent(self, shared: SharedGallery, state: FleetState, change: LocalChange) -> Optional[Outcome]:
        """None: the file was changed meanwhile."""
        if isinstance(change, RenamePerson):
            return shared.rename(change.person, change.name, state.people[change.person].revision)
        if isinstance(change, MovePhoto):
            return shared.move(change.sha256, change.name, state.photos[change.sha256].revision)
        assert isinstance(change, AddPhoto)
        path = self._root / change.photo.path
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != change.sha256:
            return None
        undecided = {
            conflict.mine: conflict.theirs
            for subject, conflict in state.conflicts.items()
            if subject.startswith("person ")
        }
        name = undecided.get(change.photo.name, change.photo.name)
        known = [person for person, agreed in state.people.items() if agreed.name == name]
        row = NewRow(change.sha256, as_text(path.name), data, self._gallery.aligned(data))
        return shared.add(row, name, known[0] if known else None)

    def _note(
        self, shared: SharedGallery, state: FleetState, change: LocalChange, outcome: Outcome, done: Exchange
    ) -> None:
        """Keeps in the state what became of a change."""
        subject = subject_of(change)
        if isinstance(outcome, Differs):
            mine = change.photo.name if isinstance(change, AddPhoto) else getattr(change, "name", "")
            state.conflicts[subject] = Conflict(mine, *vars(outcome).values())
            logger.warning(
                "fleet: %s here is %s on other devices, see: %s fleet conflicts", mine, outcome.theirs, program()
            )
            return
        state.conflicts.pop(subject, None)
        if isinstance(outcome, Deleted):
            if isinstance(change, AddPhoto):
                logger.warning(
                    "fleet: %s was deleted on another device, so it is deleted here too; add it nevertheless with: "
                    "%s fleet again NAME PHOTO",
                    change.photo.path,
                    program(),
                )
                shared.notice(subject, as_text(PurePosixPath(change.photo.path).name))
                try:
                    self._photos.delete(change.sha256)
                except GalleryError:  # reported below, where it is tried again
                    state.photos[change.sha256] = SharedPhoto(DELETED, 0, change.photo.path)
                    state.waiting[change.sha256] = 0
            return
        done.sent += 1
        if isinstance(change, RenamePerson):
            self._note_rename(state, change, outcome)
            return
        assert isinstance(change, (AddPhoto, MovePhoto))
        state.people.setdefault(outcome.person, SharedPerson(outcome.name, outcome.person_revision))
        path = change.photo.path if isinstance(change, AddPhoto) else state.photos[change.sha256].path
        state.photos[change.sha256] = SharedPhoto(outcome.person, outcome.revision, path)

    def _note_rename(self, state: FleetState, change: RenamePerson, outcome: Accepted) -> None:
        state.people[outcome.person] = SharedPerson(outcome.name, outcome.person_revision)
        if outcome.person != change.person:  # they are one person now
            state.people.pop(change.person, None)
            for sha256, photo in state.photos.items():
                if photo.person == change.person:
                    state.photos[sha256] = photo._replace(person=outcome.person)

    def _receive(self, shared: SharedGallery, state: FleetState, done: Exchange) -> None:
        people, photos, revision, is_everything = shared.changes(state.seen, list(state.waiting))
        local = self._photos.photos(state)
        expected = set(state.waiting)
        if is_everything:
            # Away for longer than deletions are remembered: what is not there was deleted.
            expected.update(state.photos)
        known = {row.sha256 for row in photos}
        photos += [PhotoRow(sha256, None, "", 0) for sha256 in sorted(expected - known)]
        # People who are gone are last: until then it is known whose their photos were.
        for person in people:
            if person.name is not None:
                self._receive_person(state, local, person.name, person, done)
        if people:
            local = self._photos.photos(state)
        for photo in photos:
            state.waiting.pop(photo.sha256, None)
            try:
                done.received += self._receive_photo(shared, state, local.get(photo.sha256), photo)
            except GalleryError as error:
                state.waiting[photo.sha256] = photo.revision
                done.problems.append(str(error))
        for person in people:
            if person.name is None:
                state.people.pop(person.id, None)
                state.conflicts.pop(person_subject(person.id), None)
        self._end_conflicts(state)
        state.seen = revision
        local = self._photos.photos(state)
        for sha256, agreed in list(state.photos.items()):
            if sha256 in local:
                state.photos[sha256] = agreed._replace(path=local[sha256].path)
            elif not agreed.path:  # deleted here while nothing was agreed upon
                state.waiting[sha256] = state.photos.pop(sha256).revision

    def _receive_person(
        self, state: FleetState, local: Dict[str, LocalPhoto], name: str, row: PersonRow, done: Exchange
    ) -> None:
        subject, known = person_subject(row.id), state.people.get(row.id)
        conflict, agreed = state.conflicts.get(subject), SharedPerson(name, row.revision)
        if conflict is not None and conflict.mine != name:
            state.conflicts[subject] = Conflict(conflict.mine, name, row.id, row.revision, row.revision)
            return
        state.conflicts.pop(subject, None)
        mine = {
            sha256: local[sha256]
            for sha256, photo in state.photos.items()
            if photo.person == row.id and sha256 in local
        }
        names = {photo.name for photo in mine.values()}
        if known is None or known.name == name or names <= {name}:
            state.people[row.id] = agreed
            return
        others = names - {name, known.name}
        if others:  # renamed here while this exchange was going on
            state.conflicts[subject] = Conflict(min(others), name, row.id, row.revision, row.revision)
            return
        try:
            if names == {known.name}:
                rename_person(self._root, known.name, name, merge=True)
            else:
                for photo in mine.values():
                    if photo.name == known.name:
                        move_to_person(self._root, photo.path, name)
        except GalleryError as error:
            # Shown as a conflict: the folder cannot have this name.
            state.conflicts[subject] = Conflict(known.name, name, row.id, row.revision, row.revision)
            done.problems.append(str(error))
            return
        state.people[row.id] = agreed
        done.received += 1
        if names == {known.name}:
            rename_visits(self._settings, known.name, name)

    def _receive_photo(
        self, shared: SharedGallery, state: FleetState, here: Optional[LocalPhoto], row: PhotoRow
    ) -> int:
        """How many files were changed. Raises GalleryError where that is not possible."""
        subject, agreed = photo_subject(row.sha256), state.photos.get(row.sha256)
        if row.person is None:
            paths = [one.path for one in (here, agreed) if one is not None]
            if paths:  # kept until the file is gone
                state.photos[row.sha256] = SharedPhoto(DELETED, row.revision, paths[0])
            deleted = self._photos.delete(row.sha256, *paths[-1:])
            state.photos.pop(row.sha256, None)
            state.conflicts.pop(subject, None)
            return deleted
        if agreed is not None and agreed.person == DELETED:  # it was added again
            del state.photos[row.sha256]
            agreed = None
        person = state.people.get(row.person)
        if person is None:
            raise GalleryError(f"the shared photo {row.file_name!r} belongs to a person whom this device does not know")
        conflict = state.conflicts.get(person_subject(row.person))
        name = person.name if conflict is None else conflict.mine
        now = SharedPhoto(row.person, row.revision, "" if here is None else here.path)
        if here is None:
            if agreed is not None:  # deleted here, which is sent next time
                return 0
            path = self._photos.write(shared, row, name)
            if path is None:
                return 0
            state.photos[row.sha256] = now._replace(path=path)
            return 1
        conflict = state.conflicts.get(subject)
        if agreed is not None and agreed.revision == row.revision and conflict is None:
            return 0  # what this device has sent itself; it may have been moved here meanwhile
        if here.name == name:
            state.conflicts.pop(subject, None)
            state.photos[row.sha256] = now
            return 0
        if conflict is not None or agreed is None or here.name != state.name_of(row.sha256):
            mine = here.name if conflict is None else conflict.mine
            state.conflicts[subject] = Conflict(mine, name, row.person, person.revision, row.revision)
            return 0
        move_to_person(self._root, here.path, name)
        state.photos[row.sha256] = now
        return 1

    def _end_conflicts(self, state: FleetState) -> None:
        """Of photos whose person has got the name that they have here."""
        for subject, conflict in list(state.conflicts.items()):
            kind, _, key = subject.partition(" ")
            person = state.people.get(conflict.person)
            if kind == "photo" and person is not None and person.name == conflict.mine:
                del state.conflicts[subject]
                path = state.photos[key].path if key in state.photos else ""
                state.photos[key] = SharedPhoto(conflict.person, conflict.revision, path)

    def _send_embeddings(self, shared: SharedGallery) -> None:
        """So that other programs find the embeddings of this device's embedder."""
        embedder = self._gallery.embedder_id
        known = {photo.content_hash: photo.finding.embedding for photo in self._gallery.people.photos}
        for sha256 in shared.without_embedding(embedder):
            embedding = known.get(sha256)
            if embedding is not None:
                shared.add_embedding(sha256, embedder, embedding.astype("<f4").tobytes())


def _without_removals(state: FleetState, changes: List[LocalChange]) -> List[LocalChange]:
    """The other changes; photos that are gone are received like those of others."""
    for change in changes:
        if isinstance(change, RemovePhoto):
            state.waiting[change.sha256] = state.photos.pop(change.sha256).revision
            state.conflicts.pop(subject_of(change), None)
    return [change for change in changes if not isinstance(change, RemovePhoto)]
