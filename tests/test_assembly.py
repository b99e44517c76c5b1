"""What a run has done before it opens its sources."""

import dataclasses
import io
import logging
import shutil
import socketserver
import threading
import time

import pytest
from shipped import CATALOG
from waiting import PATIENT_S, until

from app.assembly import open_gallery, run
from app.capture.uri import parse_source
from app.errors import CombinedError, GalleryError, ModelError, OutputError, SourceError
from app.output.outputs import Control
from app.output.progress import Progress
from app.settings import AttributeSettings
from app.watches import SourceWatch


@pytest.fixture
def visited(caplog):
    """The address of a recording on a server, and the log at the time of each request."""
    logs = []

    class Visit(socketserver.BaseRequestHandler):
        def handle(self):
            logs.append(caplog.text)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Visit) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/film.mp4", logs
        server.shutdown()
        thread.join()


def test_networks_are_chosen_and_warm_before_a_recording_is_opened(settings, visited, caplog):
    address, logs = visited
    caplog.set_level(logging.DEBUG, logger="app")
    settings = dataclasses.replace(settings, capture=dataclasses.replace(settings.capture, open_timeout_s=PATIENT_S))
    run(settings, [parse_source(address, "far")], threading.Event, Progress(io.StringIO()))
    until(lambda: logs)
    for message in (
        "retinaface_mnet025 runs on ONNX Runtime, fp32: as requested",
        "mobilefacenet runs on",
        "warmed up",
    ):
        assert message in logs[0]


def test_a_model_for_attributes_that_is_not_there_is_named_before_a_source_is_opened(settings, visited, tmp_path):
    address, logs = visited
    shutil.copytree(CATALOG.parent, tmp_path / "engines", ignore=shutil.ignore_patterns("minifasnet*", "*.engine"))
    models = dataclasses.replace(settings.models, catalog=tmp_path / "engines" / CATALOG.name)
    settings = dataclasses.replace(settings, models=models, attributes=AttributeSettings(antispoof="minifasnet_v2"))
    with pytest.raises(ModelError, match="engines pull minifasnet_v2"):
        run(settings, [parse_source(address, "far")], threading.Event, Progress(io.StringIO()))
    assert not logs


def test_everything_that_is_wrong_is_told_at_once_and_before_a_network_is_opened(settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="app")
    models = dataclasses.replace(settings.models, embedder="w600k_r50")
    gallery = dataclasses.replace(settings.gallery, folder=tmp_path / "galery")
    attributes = AttributeSettings(antispoof="minifasnet_v9")
    wrong = dataclasses.replace(settings, models=models, gallery=gallery, attributes=attributes)
    with pytest.raises(CombinedError) as refused:
        run(wrong, [parse_source(f"images:{tmp_path / 'pictuers'}")], threading.Event, Progress(io.StringIO()))
    message = str(refused.value)
    assert len(refused.value.errors) == 4
    assert all(name in message for name in ("w600k_r50", "minifasnet_v9", "galery", "pictuers"))
    assert "runs on" not in caplog.text


@pytest.mark.parametrize("address", ["images:nowhere", "nowhere.mp4", "camera:999"])
def test_a_source_that_is_not_there_is_told_before_a_network_is_opened(settings, address, caplog):
    caplog.set_level(logging.DEBUG, logger="app")
    with pytest.raises(SourceError, match=r"nowhere|video999"):
        run(settings, [parse_source(address)], threading.Event, Progress(io.StringIO()))
    assert "runs on" not in caplog.text


def test_commands_that_only_look_at_photos_also_check_first(settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="app")
    gone = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, folder=tmp_path / "gone"))
    with pytest.raises(GalleryError, match="no such folder"), open_gallery(gone):
        pass
    assert "runs on" not in caplog.text


def test_sources_that_are_lost_become_events():
    reported = []

    class Events:
        def handle_status(self, channels, now, clock_s):
            reported.extend((channel, now) for channel in channels)

    watch = SourceWatch(Events(), lambda: ["front"])
    before = time.time()
    assert watch.poll() is Control.RUN
    ((channel, now),) = reported
    assert channel == "front" and before <= now <= time.time()


@pytest.mark.parametrize(
    "name, source, warned",
    [
        ("out.mp4", "camera:0", True),
        ("out-{date}.mp4", "camera:0", True),
        ("out-{date}-{time}.mp4", "camera:0", False),
        ("out.mp4", "film.mp4", False),
    ],
)
def test_a_service_is_warned_of_a_video_that_it_could_not_write_again(
    settings, tmp_path, monkeypatch, caplog, name, source, warned
):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    wait, here = dataclasses.replace(settings.capture, wait=True), tmp_path / "film.mp4"
    here.write_bytes(b"not opened")
    # Ends the run when outputs are opened.
    (tmp_path / "folder.jsonl").mkdir()
    output = dataclasses.replace(settings.output, save=tmp_path / name, events=tmp_path / "folder.jsonl")
    address = str(here) if source == "film.mp4" else source
    with pytest.raises(OutputError):
        run(
            dataclasses.replace(settings, capture=wait, output=output),
            [parse_source(address)],
            threading.Event,
            Progress(io.StringIO()),
        )
    assert ("output.save" in caplog.text) == warned
