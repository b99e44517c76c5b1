"""Devices with cameras that share strangers through a real database: planted faces, real trackers and journals."""

import dataclasses
import time

import pytest
from planted_visits import MODEL
from stranger_stage import StrangerStage

from app.database.connection import connected
from app.database.strangers import SharedStrangers
from app.fleet.strangers import StrangerSync
from app.gallery.strangers import strangers_folder


class Door:
    """A device with a camera."""

    def __init__(self, device):
        self.device = device
        device.gallery.recognizer = dataclasses.replace(device.recognizer, embedder_id=MODEL)
        self.strangers = StrangerSync(device.settings, device.gallery)
        self.open()

    def open(self):
        self.stage = StrangerStage(strangers_folder(self.device.settings), start=time.time() - 600)
        self.journal = self.strangers._journal

    def passes(self, person):
        """The number that somebody gets who comes and goes."""
        label = self.stage.show((person, 100), frames=6)[0]
        self.stage.leave()
        return label

    def exchange(self, now=None):
        self.device.exchange()
        with connected(self.device.settings.fleet) as connection:
            return self.strangers.exchange(connection, now)

    def change(self, *changes):
        self.journal.update(lambda book: list(changes))

    @property
    def book(self):
        self.journal.refresh()
        return self.journal.book


@pytest.fixture
def doors(device):
    return Door(device("door-a")), Door(device("door-b"))


@pytest.fixture
def seen(doors):
    """Devices at which each person of the fleet was, with the names there."""

    def everybody():
        with connected(doors[0].device.settings.fleet) as connection:
            found = {}
            for one in SharedStrangers(connection, "").sightings():
                found.setdefault(one.person, []).append((one.device, one.stranger, one.name))
        return sorted(sorted(places) for places in found.values())

    return everybody


def exchange(*doors):
    for _ in range(2):
        for door in doors:
            door.exchange()
