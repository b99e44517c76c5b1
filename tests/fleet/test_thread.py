"""Programs that run exchange their galleries by themselves, and go on while the database is away."""

import contextlib
import dataclasses

import pytest
from tcp_link import Link
from waiting import until

from app.fleet.thread import FleetThread
from app.gallery.gallery import Gallery
from app.network_thread import NetworkThread


@pytest.fixture
def running(device, fleet, postgres):
    """Makes devices whose threads run, each with a cable to the database."""
    with contextlib.ExitStack() as stack:

        def start(name):
            one = device(name)
            one.link = Link(postgres.port)
            stack.callback(one.link.close)
            address = fleet.database.replace(f":{postgres.port}/", f":{one.link.port}/")
            own = dataclasses.replace(
                one.settings,
                fleet=dataclasses.replace(fleet, database=address, sync_every_s=2.0, timeout_s=2.0),
                gallery=dataclasses.replace(one.settings.gallery, reload_every_s=0.1),
            )
            networks = NetworkThread()
            networks.start()
            one.gallery = stack.enter_context(contextlib.closing(Gallery(own, one.recognizer, networks)))
            thread = stack.enter_context(contextlib.closing(FleetThread(own, one.gallery)))
            stack.callback(networks.close)
            one.gallery.load()
            one.gallery.watch()
            thread.start()
            return one

        yield start


@pytest.mark.slow
def test_a_photo_arrives_at_the_other_device_whatever_is_away_meanwhile(running, photo, postgres, caplog):
    a, b = running("a"), running("b")
    a.put("Ann/1.jpg", photo(0))
    until(lambda: b.gallery.people.names == ("Ann",))
    b.link.cut()
    a.put("Ann/2.jpg", photo(1))
    b.rename("Ann", "Anna")
    until(lambda: b.gallery.people.names == ("Anna",))  # b goes on alone
    b.link.mend()
    until(lambda: a.files() == b.files() == sorted([("Anna", photo(0)), ("Anna", photo(1))]))
    postgres.kill()
    b.put("Eva/1.jpg", photo(2))
    postgres.start()
    until(lambda: ("Eva", photo(2)) in a.files())
    with postgres.hanging():
        b.put("Ida/1.jpg", photo(6))
        until(lambda: "has not answered" in caplog.text)
        until(lambda: "Ida" in b.gallery.people.names)  # it goes on alone
    until(lambda: ("Ida", photo(6)) in a.files())
