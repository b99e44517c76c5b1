"""The large stream of a camera is open while something happens: two real RTSP servers."""

import dataclasses
import time

import cv2
import numpy as np
import pytest
from waiting import PATIENT_S, until

from app.capture import main_stream
from app.capture.capture import Channels
from app.capture.main_stream import MAX_APART_S, small_source
from app.capture.reader_process import start_reader
from app.capture.uri import parse_source
from app.errors import SettingsError
from app.settings import CaptureSettings
from app.types import ChannelState

SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S, retry_min_s=0.05, retry_max_s=0.2)


@pytest.fixture
def picture(tmp_path):
    def write(width, height):
        path = tmp_path / f"{width}.jpg"
        cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
        return "--picture", str(path)

    return write


@pytest.fixture
def streams(rtsp_server, picture):
    """The addresses of a large stream and of a small one."""
    return rtsp_server(*picture(1280, 720)).url, rtsp_server(*picture(320, 180)).url


def both(large, small):
    return parse_source(large, "door"), dataclasses.replace(SETTINGS, substream=small)


def newest(channels):
    frame = channels.take(PATIENT_S)
    assert frame is not None
    return frame


def main_frames(channels):
    """Of the newest frame; waits until there are some."""
    found = []

    def some():
        found[:] = [(frame, channels.main_frames(frame)) for frame in [newest(channels)]]
        return found[0][1]

    until(some)
    return found[0]


def test_the_large_stream_is_opened_when_something_happens_and_closed_after_a_while(streams, monkeypatch):
    opened = []
    source, settings = both(*streams)

    def open_reader(source, settings):
        opened.append(source)
        return start_reader(source, settings)

    with Channels([source], settings, open_reader) as channels:
        assert newest(channels).image.shape == (180, 320, 3)
        assert [one.address for one in opened] == [streams[1]]
        channels.set_need("door", True)
        frame, large = main_frames(channels)
        assert [one.address for one in opened] == [streams[1], streams[0]]
        assert {one.image.shape for one in large} == {(720, 1280, 3)}
        apart = [abs(one.clock_s - frame.clock_s) for one in large]
        assert apart == sorted(apart) and apart[-1] <= MAX_APART_S
        monkeypatch.setattr(main_stream, "KEPT_OPEN_S", 0.0)
        channels.set_need("door", False)
        until(lambda: newest(channels) and not channels.main_is_open("door"))
        monkeypatch.undo()
        main_frames(channels)
        assert len(opened) == 3
        (status,) = channels.status()
    assert (status.name, status.state) == ("door", ChannelState.RUNNING)


def test_while_the_large_stream_is_opened_there_are_no_frames_yet(streams):
    source, settings = both(*streams)
    with Channels([source], settings) as channels:
        assert channels.main_frames(newest(channels)) == ()


def test_a_large_stream_that_is_not_there_does_not_stop_the_small_one(rtsp_server, picture, caplog):
    small, large = rtsp_server(*picture(320, 180)), rtsp_server(*picture(1280, 720))
    large.kill()
    source, settings = both(large.url, small.url)
    with Channels([source], settings) as channels:
        until(lambda: channels.main_frames(newest(channels)) is None)
        assert "door (main stream)" in caplog.text
        large.start()
        main_frames(channels)


def test_a_channel_with_one_stream_has_no_main_frames(rtsp_server):
    with Channels([parse_source(rtsp_server().url, "door")], SETTINGS) as channels:
        channels.set_need("door", True)
        assert channels.main_frames(newest(channels)) is None


def test_a_channel_that_is_stopped_while_a_frame_of_it_is_processed_opens_nothing_again(streams):
    source, settings = both(*streams)
    with Channels([source], settings) as channels:
        frame, _ = main_frames(channels)
        channels.stop("door")
        channels.set_need("door", True)
        assert channels.main_frames(frame) is None
        assert not channels.main_is_open("door")


@pytest.mark.parametrize(("large", "small"), [("clip.mp4", "rtsp://host/2"), ("rtsp://host/1", "camera:0")])
def test_both_streams_have_to_be_live_ones_of_the_network(large, small):
    source, settings = both(large, small)
    with pytest.raises(SettingsError, match=r"channels\.door\.capture\.substream"):
        small_source(source, settings)


def test_the_large_stream_gives_no_more_frames_than_are_needed(streams):
    source, settings = both(*streams)
    with Channels([source], settings) as channels:
        main_frames(channels)
        began, seen = time.monotonic(), set()
        while time.monotonic() - began < 2:
            seen.update(one.index for one in channels.main_frames(newest(channels)) or ())
        took_s = time.monotonic() - began
    assert len(seen) <= main_stream.MAX_FPS * took_s + main_stream.KEPT_FRAMES + 2
