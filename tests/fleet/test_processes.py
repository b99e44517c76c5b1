"""Three devices as processes, with a network that is cut and a server that is killed."""

import contextlib
import os
import subprocess
import sys

import pytest
from ports import free_port
from shipped import CATALOG, ROOT
from tcp_link import Link
from waiting import until

from app.fleet.decisions import conflicts_here

pytestmark = pytest.mark.slow


class Program:
    """`serve` with a folder of its own."""

    def __init__(self, device, link, address):
        self.device, self.link = device, link
        self.folder = device.folder.parent
        (self.folder / "own.yaml").write_text(
            f"models:\n  catalog: {CATALOG}\n  backend: onnx\n  threads: 1\n"
            "gallery:\n  folder: gallery\n  reload_every_s: 0.3\n"
            f"delivery:\n  device: {device.settings.delivery.device}\n"
            f"fleet:\n  database: {address}\n  timeout_s: 3\n  sync_every_s: 2\n"
        )
        self.start()

    def start(self):
        words = [sys.executable, "-m", "app", "serve", "--config", "own.yaml", "--port", str(free_port())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def programs(device, fleet, postgres):
    with contextlib.ExitStack() as stack:
        made = []
        for name in ("door-a", "door-b", "door-c"):
            link = stack.enter_context(contextlib.closing(Link(postgres.port)))
            address = fleet.database.replace(f":{postgres.port}/", f":{link.port}/")
            made.append(Program(device(name), link, address))
            stack.callback(made[-1].kill)
        yield made


def test_three_devices_have_the_same_people_after_everything_that_can_happen(programs, photo, postgres, rows):
    a, b, c = programs
    devices = [one.device for one in programs]

    def all_have(expected):
        for one in programs:
            assert one.process.poll() is None, (one.folder / "log").read_text()
        return all(one.files() == sorted(expected) for one in devices)

    a.device.put("Ann/1.jpg", photo(0))
    until(lambda: all_have([("Ann", photo(0))]))

    # The network of one device is cut. It goes on alone, and so do the others.
    c.link.cut()
    a.device.rename("Ann", "Anna")
    b.device.put("Eva/1.jpg", photo(2))
    c.device.put("Ida/1.jpg", photo(6))
    until(lambda: a.device.files() == b.device.files() == sorted([("Anna", photo(0)), ("Eva", photo(2))]))
    assert c.device.people() == ["Ann", "Ida"]
    c.link.mend()
    expected = [("Anna", photo(0)), ("Eva", photo(2)), ("Ida", photo(6))]
    until(lambda: all_have(expected))

    # The server is killed while a device is sending, and the device too.
    for number in range(8, 24):
        a.device.put(f"Mia/{number}.jpg", photo(number))
    until(lambda: rows("select count(*) from photo where not gone")[0][0] > len(expected))
    postgres.kill()
    a.kill()
    b.device.delete("Eva/1.jpg")
    postgres.start()
    a.start()
    expected = [("Anna", photo(0)), ("Ida", photo(6)), *(("Mia", photo(number)) for number in range(8, 24))]
    until(lambda: all_have(expected))
    assert rows("select count(*) from photo where not gone") == [(len(expected),)]
    assert [conflicts_here(one.folder) for one in devices] == [[], [], []]
    until(lambda: rows("select count(distinct revision), count(*) from device") == [(1, 3)])
