"""What tests of more than one room share: the demo's people, a recording of them, and the built-in networks."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from real_sources import RtspServer, server_missing
from shipped import CATALOG, ROOT

from app.settings import ModelSettings, Settings

# A shell that starts the suite in the background leaves Ctrl-C ignored, here and in every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

MODELS = ModelSettings(catalog=CATALOG, backend="onnx")
"""A fixed backend: `auto` takes the one that is faster at the moment, and their numbers differ a little."""


@pytest.fixture(scope="session")
def portraits():
    """Collins, Hopper and the stranger."""
    from app.demo.portraits import load_portraits

    return load_portraits()


@pytest.fixture(scope="session")
def people_gallery(tmp_path_factory, portraits):
    """A folder with two photos each of Collins and Hopper. Not to be changed: copy it."""
    from app.demo.portraits import write_enrolment_photos

    folder = tmp_path_factory.mktemp("people") / "gallery"
    write_enrolment_photos(folder, portraits)
    return folder


@pytest.fixture(scope="session")
def people_film(tmp_path_factory, portraits):
    """40 frames, 1280 x 720, 25 a second: Collins, Hopper and the stranger side by side."""
    from app.demo.crowd import make_crowd

    path = tmp_path_factory.mktemp("film") / "people.mp4"
    make_crowd(path, portraits, faces=3, frames=40)
    return path


@pytest.fixture
def rtsp_server():
    """Makes servers; whatever is made is gone after the test."""
    if server_missing():
        pytest.skip(server_missing())
    made = []

    def make(*words):
        made.append(RtspServer(*words))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def settings(tmp_path):
    """The defaults, with the built-in networks wherever the tests run, and an empty gallery."""
    (tmp_path / "gallery").mkdir()
    defaults = Settings()
    return dataclasses.replace(
        defaults,
        models=MODELS,
        gallery=dataclasses.replace(defaults.gallery, folder=tmp_path / "gallery"),
        output=dataclasses.replace(defaults.output, window=False),
    )


@pytest.fixture(scope="session")
def networks():
    """The built-in detector and embedder."""
    from app.settings import DetectionSettings
    from app.vision.loading import load_detector, load_embedder

    detector, embedder = load_detector(MODELS, DetectionSettings()), load_embedder(MODELS)
    yield detector, embedder
    detector.close()
    embedder.close()


@pytest.fixture
def program(tmp_path):
    """Starts `python -m app` in an empty folder, as a user would from another one, without a display."""
    config = tmp_path / "test.yaml"
    config.write_text(f"models:\n  catalog: {CATALOG}\n  backend: {MODELS.backend}\n", encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment["PYTHONPATH"] = str(ROOT)
    started = []

    def start(*words):
        needs_config = words and words[0] not in ("--version", "--help")
        command = [sys.executable, "-m", "app", *map(str, words)]
        if needs_config:
            command += ["--config", str(config)]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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
    """Runs `python -m app` to its end: exit code, standard output, standard error."""

    def run(*words, timeout_s=600):
        process = program(*words)
        out, err = process.communicate(timeout=timeout_s)
        return process.returncode, out, err

    return run
