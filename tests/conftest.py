"""Shared by tests of several packages: the demo's people, a video of them, and the built-in models."""

import contextlib
import dataclasses
import faulthandler
import logging
import os
import signal
import subprocess
import sys

import cv2
import hypothesis
import numpy as np
import pytest
from made_galleries import gallery_of as gallery_of
from made_galleries import record as record
from postgres import MISSING as POSTGRES_MISSING
from postgres import PGVECTOR_MISSING, WITH_PGVECTOR, PostgresServer
from real_sources import RtspServer, server_missing
from shipped import CATALOG, ROOT

from app.settings import ModelSettings, Settings

SLOW_TIMEOUT_S = 600
STUCK_S = 60.0
"""A test that is not over so long after its limit hangs where pytest-timeout cannot end it: in compiled code."""

STANDARD_ERROR = pytest.StashKey()

# A shell that starts the suite in the background leaves Ctrl-C ignored, here and in every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, on slow machines too, so that failures can be reproduced.
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")

MODELS = ModelSettings(catalog=CATALOG, backend="onnx")
"""A fixed backend: `auto` chooses the fastest, and the results of backends differ slightly."""


def pytest_collection_modifyitems(items):
    """Tests marked as slow have a longer limit than the usual one in pyproject.toml. All have names that are the same
    in each process, or several could not share them."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid} has an address in its name: give its parameters ids")
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@pytest.fixture(autouse=True)
def signal_handlers_as_before():
    """Restores the handlers that a run in this process replaces, or the next test might end the whole suite."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def portraits():
    """Collins, Hopper and the stranger."""
    from app.tools.demo.portraits import load_portraits

    return load_portraits()


@pytest.fixture(scope="session")
def people_gallery(tmp_path_factory, portraits):
    """A folder with two photos each of Collins and Hopper. Copy it instead of changing it."""
    from app.tools.demo.portraits import write_enrolment_photos

    folder = tmp_path_factory.mktemp("people") / "gallery"
    write_enrolment_photos(folder, portraits)
    return folder


@pytest.fixture(scope="session")
def people_video(tmp_path_factory, portraits):
    """40 frames, 1280 x 720, 25 frames/s: Collins, Hopper and the stranger next to each other."""
    from app.tools.demo.portraits import write_crowd_video

    path = tmp_path_factory.mktemp("video") / "people.mp4"
    write_crowd_video(path, portraits, faces=3, frames=40)
    return path


@pytest.fixture
def rtsp_server():
    """Starts servers, which are stopped after the test."""
    if server_missing():
        pytest.skip(server_missing())
    made = []

    def make(*words):
        made.append(RtspServer(*words))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def _postgres():
    if POSTGRES_MISSING:
        pytest.skip(POSTGRES_MISSING)
    pytest.importorskip("psycopg")
    with contextlib.closing(PostgresServer()) as server:
        yield server


@pytest.fixture
def postgres(_postgres):
    """A server for all tests of this process; it runs, even if the test before has killed it."""
    if _postgres.process.poll() is not None:
        _postgres.start()
    return _postgres


@pytest.fixture(scope="session")
def with_pgvector():
    """The same with pgvector."""
    if PGVECTOR_MISSING:
        pytest.skip(PGVECTOR_MISSING)
    pytest.importorskip("psycopg")
    with contextlib.closing(PostgresServer(WITH_PGVECTOR)) as server:
        yield server


@pytest.fixture
def database(postgres):
    """The address of a new, empty database."""
    address = postgres.database()
    yield address
    postgres.drop(address)


@pytest.fixture
def settings(tmp_path):
    """The defaults, with the built-in models and an empty gallery, in any current folder and on any machine."""
    (tmp_path / "gallery").mkdir()
    defaults = Settings()
    return dataclasses.replace(
        defaults,
        capture=dataclasses.replace(defaults.capture, wait=False),
        models=MODELS,
        gallery=dataclasses.replace(defaults.gallery, folder=tmp_path / "gallery"),
        output=dataclasses.replace(defaults.output, window=False),
    )


@pytest.fixture(scope="session")
def recognizer():
    """The built-in detector and embedder with the default settings."""
    from app.recognizer import Recognizer

    with Recognizer.from_settings(Settings(models=MODELS)) as recognizer:
        yield recognizer


@pytest.fixture(scope="session")
def networks(recognizer):
    """The built-in detector and embedder."""
    return recognizer.detector, recognizer.embedder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory, portraits, recognizer):
    """Two people next to each other, a picture without a face, and the noses."""
    folder = tmp_path_factory.mktemp("scenes")
    pair = cv2.hconcat([cv2.resize(portrait.image, (480, 640)) for portrait in portraits[:2]])
    assert cv2.imwrite(str(folder / "pair.png"), pair)
    assert cv2.imwrite(str(folder / "wall.png"), np.full((200, 300, 3), 127, np.uint8))
    (faces,) = recognizer.detector.detect([pair])
    assert len(faces) == 2
    (x1, y1), (x2, y2) = faces.landmarks[:, 2].tolist()
    (folder / "noses.csv").write_text(f"picture,x,y\npair.png,{x1},{y1}\npair.png,{x2},{y2}\nwall.png,,\n")
    (folder / "wrong.csv").write_text(f"picture,x,y\npair.png,{x1},{y1}\nwall.png,150,100\n")
    return folder


@pytest.fixture
def config_file(tmp_path):
    """The built-in networks and a gallery next to this file, for a program that is started elsewhere."""
    config = tmp_path / "test.yaml"
    config.write_text(
        f"models:\n  catalog: {CATALOG}\n  backend: {MODELS.backend}\ngallery:\n  folder: gallery\n", encoding="utf-8"
    )
    return config


def pytest_configure(config):
    # During tests, standard error is captured.
    config.stash[STANDARD_ERROR] = os.dup(2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A command that runs in this process, in a test or in a fixture, leaves logging and signals to the next test as
    they were. A process that is stuck ends with the stack of every thread; pytest-xdist reports the test and starts
    another."""
    marker, config = item.get_closest_marker("timeout"), item.config
    limit_s = float(marker.args[0] if marker else config.getoption("timeout") or config.getini("timeout"))
    if limit_s and not config.getoption("usepdb"):
        faulthandler.dump_traceback_later(limit_s + STUCK_S, exit=True, file=config.stash[STANDARD_ERROR])
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    actions = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    faulthandler.cancel_dump_traceback_later()
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, action in actions.items():
        signal.signal(number, action)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    """The developer's own config.local.yaml does not reach commands that run in this process, nor do the options of an
    earlier command reach the hints of a later one."""
    monkeypatch.setattr("app.commands.options.OWN_SETTINGS", ROOT / "no" / "config.local.yaml")
    monkeypatch.setattr("app.text._repeated", [])


@pytest.fixture
def answered(capsys):
    """Runs a command in this process: exit code, standard output, standard error."""
    from app.cli import main

    def run(*words):
        try:
            code = main([*map(str, words)])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def program(tmp_path, config_file):
    """Starts `python -m app` in an empty folder, as a user would from another one, without a display."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment["PYTHONPATH"] = str(ROOT)
    started = []

    def start(*words, **variables):
        needs_config = words and words[0] not in ("--version", "--help")
        command = [sys.executable, "-m", "app", *map(str, words)]
        if needs_config:
            command += ["--config", str(config_file)]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def completed(program):
    """Runs `python -m app` to its end: exit code, standard output, standard error. The limit is that of the test."""

    def run(*words):
        process = program(*words)
        out, err = process.communicate()
        return process.returncode, out, err

    return run
