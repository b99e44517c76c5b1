"""A real RTSP server, killed, frozen and started again; a real password."""

import dataclasses
import re

import cv2
import pytest
from waiting import PATIENT_S, until

from app.capture.capture import Channels
from app.capture.opening import open_reader
from app.capture.readers import StallError
from app.capture.uri import Source, SourceKind, parse_source
from app.errors import SourceError
from app.settings import CaptureSettings
from app.types import ChannelState

SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S, retry_min_s=0.05, retry_max_s=0.2)
IMPATIENT = dataclasses.replace(SETTINGS, read_timeout_s=2.0)
"""For a server that will be frozen. Elsewhere a busy machine must not be taken for one."""
USER, PASSWORD = "me@home", 'p@s:s/w#o?r d%é"!'


def camera(url):
    return [Source("cam", SourceKind.RTSP, url)]


def with_password(url, password=PASSWORD):
    return url.replace("://", f"://{USER}:{password}@")


def test_frames_that_are_not_taken_are_dropped(rtsp_server):
    with Channels(camera(rtsp_server().url), SETTINGS) as channels:
        taken = [channels.take(PATIENT_S), channels.take(PATIENT_S)]
        before = channels.status()[0].counters.dropped
        until(lambda: channels.status()[0].counters.dropped >= before + 10)
        taken.append(channels.take(PATIENT_S))
        (status,) = channels.status()
    assert taken[0].image.shape == (240, 320, 3)
    assert taken[0].index < taken[1].index < taken[2].index - 8
    assert taken[0].position is None
    assert (status.live, status.fps, status.total_frames) == (True, 25.0, None)


def test_a_killed_server_that_restarts_is_reconnected(rtsp_server):
    server = rtsp_server()
    with Channels(camera(server.url), SETTINGS) as channels:
        before = channels.take(PATIENT_S)
        server.kill()
        until(lambda: channels.status()[0].state is ChannelState.RECONNECTING)
        until(lambda: "refused" in (channels.status()[0].last_error or ""))
        while channels.take(0) is not None:
            pass
        server.start()
        after = channels.take(PATIENT_S)
        (status,) = channels.status()
    assert after.index > before.index
    assert (status.state, status.counters.reconnects, status.counters.stalls) == (ChannelState.RUNNING, 1, 0)


def test_a_frozen_server_is_noticed_and_reconnected(rtsp_server):
    server = rtsp_server()
    with Channels(camera(server.url), IMPATIENT) as channels:
        assert channels.take(PATIENT_S) is not None
        before = channels.status()[0].counters.stalls
        server.freeze()
        until(lambda: channels.status()[0].counters.stalls > before)
        until(lambda: channels.status()[0].state is ChannelState.RECONNECTING)
        while channels.take(0) is not None:
            pass
        server.thaw()
        assert channels.take(PATIENT_S) is not None
        (status,) = channels.status()
    assert status.counters.stalls >= 1 and status.counters.reconnects >= 1


@pytest.mark.skipif(not hasattr(cv2, "CAP_PROP_READ_TIMEOUT_MSEC"), reason="this OpenCV has no read time-out")
def test_a_reader_of_a_frozen_server_ends_by_itself_after_its_time_out(rtsp_server):
    server = rtsp_server()
    reader = open_reader(parse_source(server.url), IMPATIENT)
    server.freeze()
    with pytest.raises(StallError) as caught:
        while True:
            reader.read()
    reader.close()
    silent_s = float(re.search(r"no frame for ([\d.]+) s", str(caught.value)).group(1))
    assert silent_s < 20, "FFmpeg's own limit is 30 s"


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_password_with_special_characters_works_and_is_never_shown(rtsp_server, method, caplog, capfd):
    server = rtsp_server(method, USER, PASSWORD)
    caplog.set_level("DEBUG")
    with Channels(camera(with_password(server.url)), SETTINGS) as channels:
        assert channels.take(PATIENT_S) is not None
        server.kill()
        until(lambda: "refused" in (channels.status()[0].last_error or ""))
        shown = [caplog.text, str(channels.status()), *capfd.readouterr()]
    for text in shown:
        assert "p@s:s" not in text and "p%40s" not in text and "w#o?r" not in text


@pytest.mark.parametrize("reference", ["${CAMERA_PASSWORD}", "${file:{folder}/password.txt}"])
def test_a_password_from_the_environment_or_a_file(rtsp_server, reference, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("CAMERA_PASSWORD", PASSWORD)
    (tmp_path / "password.txt").write_text(PASSWORD + "\n", encoding="utf-8")
    server = rtsp_server("digest", USER, PASSWORD)
    caplog.set_level("DEBUG")
    with Channels(
        camera(with_password(server.url, reference.replace("{folder}", str(tmp_path)))), SETTINGS
    ) as channels:
        assert channels.take(PATIENT_S) is not None
        server.kill()
        until(lambda: "refused" in (channels.status()[0].last_error or ""))
        shown = [caplog.text, str(channels.status()), *capfd.readouterr()]
    assert not any("p@s:s" in text or "p%40s" in text or "w#o?r" in text for text in shown)


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_rejected_password_is_reported(rtsp_server, method):
    server = rtsp_server(method, USER, PASSWORD)
    for url, said in (
        (server.url, r"password \(401\)"),
        (with_password(server.url, "wrong"), r"the user or the password \(401\)"),
        (with_password(server.url).replace("/cam", "/garden"), r"no such path \(404\)"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            open_reader(parse_source(url), SETTINGS)
        assert "p@s:s" not in str(caught.value) and "wrong@" not in str(caught.value)
