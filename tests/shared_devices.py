"""Devices that share a gallery through a real database: a folder each, and the same networks."""

import contextlib
import dataclasses
from pathlib import Path

import pytest

from app.database.connection import connected
from app.database.gallery import SharedGallery
from app.database.schema import migrate
from app.fleet.state import FleetFolder
from app.fleet.sync import GallerySync
from app.gallery.files import move_to_person
from app.gallery.folder import scan
from app.gallery.gallery import Gallery
from app.settings import DeliverySettings, FleetSettings


class Device:
    def __init__(self, settings, recognizer):
        self.settings = settings
        self.folder = settings.gallery.folder
        self.folder.mkdir(parents=True)
        self.recognizer = recognizer
        self.open()

    def open(self):
        """As a program that is started again does."""
        self.gallery = Gallery(self.settings, self.recognizer)
        self.gallery.load()
        self.sync = GallerySync(self.settings, self.gallery)

    def exchange(self, **options):
        with connected(self.settings.fleet, self.settings.delivery.device) as connection:
            return self.sync.exchange(connection, **options)

    def put(self, path, content):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def delete(self, path):
        (self.folder / path).unlink()
        with contextlib.suppress(OSError):
            (self.folder / path).parent.rmdir()

    def rename(self, before, name):
        (self.folder / before).rename(self.folder / name)

    def move(self, path, name):
        move_to_person(self.folder, str(path), name)

    def files(self):
        """Whose photos there are, by content."""
        found = []
        for path in scan(self.folder).photos:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # moved meanwhile
                found.append((path.partition("/")[0], (self.folder / path).read_bytes()))
        return sorted(found)

    def people(self):
        return sorted({name for name, _ in self.files()})

    @property
    def state(self):
        return FleetFolder(self.folder).read()

    @contextlib.contextmanager
    def shared(self):
        with connected(self.settings.fleet) as connection:
            yield SharedGallery(connection, self.state.device)


def agree(*devices):
    """Exchanges until nobody has anything new."""
    for _ in range(2):
        for one in devices:
            one.exchange()


@pytest.fixture
def fleet(database):
    """The settings of devices that use a database with tables."""
    settings = FleetSettings(database=database)
    with connected(settings) as connection:
        migrate(connection)
    return settings


@pytest.fixture
def device(settings, recognizer, fleet, tmp_path):
    def make(name, **changes):
        return Device(
            dataclasses.replace(
                settings,
                fleet=fleet,
                delivery=DeliverySettings(device=name),
                gallery=dataclasses.replace(settings.gallery, folder=tmp_path / name / "gallery"),
                **changes,
            ),
            recognizer,
        )

    return make


@pytest.fixture
def photo(people_gallery):
    """Different photos of a person; a file may have more at its end."""
    originals = sorted(Path(people_gallery).glob("*.jpg"))

    def make(number):
        original = originals[number % len(originals)].read_bytes()
        return original + (b"" if number < len(originals) else str(number).encode())

    return make
