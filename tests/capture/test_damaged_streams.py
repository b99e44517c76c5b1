"""A real RTSP server whose frames show the time, behind a network that loses and changes parts of its stream."""

import dataclasses
import os
import subprocess
import sys

import cv2
import pytest
from rtsp_proxy import BadNetwork, bit_errors, broken_framing, loss, unchanged
from shipped import ROOT
from waiting import PATIENT_S, until

from app.capture.capture import Channels
from app.capture.reader_child import DAMAGED_WITHIN_S
from app.capture.uri import Source, SourceKind, parse_source
from app.channel_state import ChannelState
from app.settings import CaptureSettings
from app.tools.soak.stamp import age_s, read_stamp

SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S, retry_min_s=0.05, retry_max_s=0.2)
IN_A_ROW = 25
"""Two key frames are among them."""


@pytest.fixture
def clock(rtsp_server):
    """Starts a server whose frames show the time."""
    return lambda codec="h264": rtsp_server("--clock", codec)


@pytest.fixture
def network(clock):
    """A bad network in front of it, which is good at first."""
    networks = []

    def make(codec="h264"):
        networks.append(BadNetwork(clock(codec).port))
        return networks[-1]

    yield make
    for one in networks:
        one.close()


def channels_of(url, settings=SETTINGS):
    return Channels([Source("cam", SourceKind.RTSP, url)], settings)


def stamp_of(channels):
    frame = channels.take(PATIENT_S)
    assert frame is not None
    return read_stamp(frame.image)


def whole_again(channels):
    """Takes frames until so many in a row are whole and each is newer than the one before."""
    row = []

    def take():
        number = stamp_of(channels)
        if number is None or (row and age_s(row[-1], number) > 60):
            row.clear()
        if number is not None:
            row.append(number)

    until(lambda: len(row) >= IN_A_ROW, take)
    return row


@pytest.mark.parametrize("codec", ["h264", pytest.param("h265", marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", [bit_errors(0.2), loss(0.1)], ids=["wrong bytes", "lost packets"])
def test_damaged_frames_are_counted_and_whole_ones_follow(network, damage, codec, caplog):
    bad = network(codec)
    with channels_of(bad.url) as channels:
        whole_again(channels)
        assert channels.status()[0].counters.damaged == 0
        bad.damage = damage
        until(lambda: channels.status()[0].counters.damaged >= 5, lambda: stamp_of(channels))
        bad.damage = unchanged
        whole_again(channels)
        (status,) = channels.status()
    assert bad.damaged >= 1  # one damaged packet can spoil many frames
    assert (status.state, status.counters.reconnects) == (ChannelState.RUNNING, 0)
    assert 1 <= len([record for record in caplog.records if "damaged" in record.message]) < 5, "not one for each frame"


@pytest.mark.slow
def test_damaged_motion_jpeg_does_not_show_an_old_picture_again(http_camera):
    with Channels([parse_source(http_camera.address, "cam")], SETTINGS) as channels:
        whole_again(channels)
        http_camera.say("garbage on")
        stamps = []
        until(lambda: channels.status()[0].counters.damaged >= 5, lambda: stamps.append(stamp_of(channels)))
        http_camera.say("garbage off")
        whole_again(channels)
    seen = [stamp for stamp in stamps if stamp is not None]
    assert len(seen) == len(set(seen))


@pytest.mark.slow
def test_a_stream_of_which_all_pictures_are_damaged_is_said_to_be_damaged(http_camera):
    settings = dataclasses.replace(SETTINGS, read_timeout_s=1.0)
    with Channels([parse_source(http_camera.address, "cam")], settings) as channels:
        whole_again(channels)
        http_camera.say("garbage only")
        until(lambda: "damaged" in (channels.status()[0].last_error or ""), lambda: channels.take(0.1))
        http_camera.say("garbage off")
        whole_again(channels)
        until(lambda: channels.status()[0].state is ChannelState.RUNNING, lambda: channels.take(0.1))


@pytest.mark.slow
def test_a_camera_that_freezes_after_a_damaged_picture_is_said_to_be_silent(http_camera, caplog):
    settings = dataclasses.replace(SETTINGS, read_timeout_s=2 * DAMAGED_WITHIN_S)
    with Channels([parse_source(http_camera.address, "cam")], settings) as channels:
        whole_again(channels)
        http_camera.say("garbage only")
        until(lambda: "damaged" in caplog.text, lambda: channels.take(0.1))
        http_camera.freeze()
        until(lambda: "no frame" in (channels.status()[0].last_error or ""), lambda: channels.take(0.1))


@pytest.mark.slow
def test_a_stream_whose_framing_breaks_is_reopened(network, caplog):
    bad = network()
    with channels_of(bad.url) as channels:
        whole_again(channels)
        bad.damage = broken_framing(0.05)
        until(lambda: channels.status()[0].counters.reconnects >= 3, lambda: channels.take(0.1))
        bad.damage = unchanged
        whole_again(channels)
        (status,) = channels.status()
    assert status.state is ChannelState.RUNNING
    assert len(caplog.records) <= 3 * (status.counters.reconnects + 1)


@pytest.mark.slow
@pytest.mark.skipif(
    tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 14),
    reason="this OpenCV scrambles it; see docs/reliability.md",
)
def test_a_new_size_in_mid_stream_gives_whole_frames(clock):
    server = clock()
    with channels_of(server.url) as channels:
        before = whole_again(channels)
        for size in ((640, 480), (320, 240), (480, 240)):
            server.resize(*size)
            after = whole_again(channels)
        (status,) = channels.status()
    assert age_s(before[-1], after[0]) > 0
    assert (status.counters.reconnects, status.counters.damaged) == (0, 0)


def test_a_server_that_comes_back_with_another_codec_is_read(clock):
    server = clock("h264")
    with channels_of(server.url) as channels:
        whole_again(channels)
        server.kill()
        server.words = ("--clock", "h265")
        server.start()
        until(lambda: channels.status()[0].counters.reconnects >= 1, lambda: channels.take(0.1))
        whole_again(channels)


@pytest.mark.parametrize("kind", ["rtsp", "http"])
def test_a_camera_that_appears_later_is_picked_up(kind, request):
    camera = request.getfixturevalue("clock")() if kind == "rtsp" else request.getfixturevalue("http_camera")
    camera.kill()
    source = Source("cam", SourceKind.RTSP, camera.url) if kind == "rtsp" else parse_source(camera.address, "cam")
    with Channels([source], dataclasses.replace(SETTINGS, wait=True)) as channels:
        until(lambda: "refused" in (channels.status()[0].last_error or ""))
        assert channels.status()[0].state is ChannelState.OPENING
        assert not channels.finished
        camera.start()
        whole_again(channels)
        assert channels.status()[0].state is ChannelState.RUNNING


def test_complaints_that_no_one_can_read_are_noticed_all_the_same():
    code = """
import os
from app.capture.decoder_errors import DecoderErrors

errors = DecoderErrors()
os.write(2, b"wrong bytes")
os._exit(10 if errors.came() else 11)
"""
    reads, writes = os.pipe()
    os.close(reads)
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_FFMPEG_LOGLEVEL"}
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=writes, check=False)
    os.close(writes)
    assert process.returncode == 10
