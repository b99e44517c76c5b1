"""Long and repeated outages of a real RTSP server, with the default settings and frames that show the time."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from app.capture.capture import Channels
from app.capture.capture_thread import JITTER
from app.capture.opening import PROBE_TIMEOUT_S
from app.capture.uri import Source, SourceKind
from app.channel_state import ChannelState
from app.settings import CaptureSettings
from app.tools.soak.stamp import age_s, now_ms, read_stamp
from app.tools.soak.usage import descendants

DEFAULTS = CaptureSettings()
BACK_WITHIN_S = DEFAULTS.retry_max_s * JITTER + DEFAULTS.open_timeout_s + PROBE_TIMEOUT_S
"""The longest pause between two attempts, and the time of an attempt."""


@pytest.fixture
def clock(rtsp_server):
    return rtsp_server("--clock", "h264")


@pytest.fixture
def channels(clock):
    since = now_ms()
    with Channels([Source("cam", SourceKind.RTSP, clock.url)], DEFAULTS) as opened:
        until(lambda: new_frame(opened, since))
        yield opened


def new_frame(channels, since):
    """Whether the next frame shows a time after this one."""
    frame = channels.take(0.2)
    number = None if frame is None else read_stamp(frame.image)
    return number is not None and age_s(since, number) < 3600


def frames_for(channels, seconds):
    """Takes frames for so long: what follows is a fault of this duration."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        channels.take(max(0.0, ends - time.monotonic()))


def held():
    """Open files, threads, and processes, dead ones too."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), len(descendants(os.getpid()))


@pytest.mark.slow
@pytest.mark.parametrize("down_s", [5, 60])
def test_a_camera_is_back_within_one_pause_after_an_outage(clock, channels, down_s):
    before = held()
    clock.kill()
    frames_for(channels, down_s)
    assert channels.status()[0].state is ChannelState.RECONNECTING
    clock.start()
    since, began = now_ms(), time.monotonic()
    until(lambda: new_frame(channels, since))
    assert time.monotonic() - began < BACK_WITHIN_S
    assert channels.status()[0].counters.reconnects == 1
    assert held() == before


@pytest.mark.slow
def test_thirty_outages_in_a_row_leave_nothing_behind(clock, channels):
    before = held()
    for _ in range(30):
        clock.kill()
        frames_for(channels, 0.3)
        clock.start()
        frames_for(channels, 1.0)
    since, began = now_ms(), time.monotonic()
    until(lambda: new_frame(channels, since))
    assert time.monotonic() - began < BACK_WITHIN_S
    assert channels.status()[0].counters.reconnects >= 1
    assert held() == before


@pytest.mark.slow
def test_a_frozen_server_costs_one_reader_and_is_back_soon_after_it_goes_on(clock, channels):
    before = held()
    clock.freeze()
    began = time.monotonic()
    until(lambda: channels.status()[0].state is ChannelState.RECONNECTING, lambda: channels.take(0.1))
    assert time.monotonic() - began >= DEFAULTS.read_timeout_s / 2
    clock.thaw()
    since, began = now_ms(), time.monotonic()
    until(lambda: new_frame(channels, since))
    assert time.monotonic() - began < BACK_WITHIN_S
    assert held() == before


@pytest.mark.slow
def test_frames_do_not_become_older_when_their_use_takes_longer_than_their_distance(channels):
    def ages_s(used_for_s, count):
        found = []
        while len(found) < count:
            frame = channels.take(1)
            number = None if frame is None else read_stamp(frame.image)
            if number is not None:
                found.append(age_s(number, now_ms()))
                # In place of networks that take so long.
                time.sleep(used_for_s)
        return found

    interval_s = 1 / 25
    at_once = np.median(ages_s(0, 100))
    dropped = channels.status()[0].counters.dropped
    late = np.percentile(ages_s(0.3, 40), 95)
    # What encoding, sending and decoding take is in both.
    assert late - at_once <= 2 * interval_s + 0.1
    assert channels.status()[0].counters.dropped - dropped >= 40 * 3
