"""Long and repeated outages of a real RTSP server, with the default settings and frames that show the time."""

import re
import time

import pytest
from handles import held, require_no_more_than
from waiting import until

from app.capture.capture import Channels
from app.capture.uri import Source, SourceKind
from app.channel_state import ChannelState
from app.settings import CaptureSettings
from app.tools.soak.stamp import age_s, now_ms, read_stamp

DEFAULTS = CaptureSettings()


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


def is_back(channels, caplog):
    """Waits for frames that are drawn from now on. When they come is the pause, and what an attempt takes here."""
    since = now_ms()
    until(lambda: new_frame(channels, since))
    pauses_s = [float(pause) for pause in re.findall(r"reconnecting in ([\d.]+) s", caplog.text)]
    assert pauses_s and max(pauses_s) <= DEFAULTS.retry_max_s
    assert channels.status()[0].counters.reconnects >= 1


@pytest.mark.slow
@pytest.mark.parametrize("down_s", [5, 60])
def test_a_camera_is_back_within_one_pause_after_an_outage(clock, channels, down_s, caplog):
    caplog.set_level("DEBUG", "app.capture")
    before = held()
    clock.kill()
    frames_for(channels, down_s)
    until(lambda: channels.status()[0].state is ChannelState.RECONNECTING)
    clock.start()
    is_back(channels, caplog)
    require_no_more_than(before)


@pytest.mark.slow
def test_thirty_outages_in_a_row_leave_nothing_behind(clock, channels, caplog):
    caplog.set_level("DEBUG", "app.capture")
    before = held()
    for _ in range(30):
        clock.kill()
        frames_for(channels, 0.3)
        clock.start()
        frames_for(channels, 1.0)
    is_back(channels, caplog)
    require_no_more_than(before)


@pytest.mark.slow
def test_a_frozen_server_costs_one_reader_and_is_back_soon_after_it_goes_on(clock, channels, caplog):
    caplog.set_level("DEBUG", "app.capture")
    before = held()
    clock.freeze()
    began = time.monotonic()
    until(lambda: channels.status()[0].state is ChannelState.RECONNECTING, lambda: channels.take(0.1))
    assert time.monotonic() - began >= DEFAULTS.read_timeout_s / 2
    clock.thaw()
    is_back(channels, caplog)
    require_no_more_than(before)


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

    used_for_s = 0.3
    at_once = min(ages_s(0, 100))
    dropped = channels.status()[0].counters.dropped
    # Before these, a queue would have become full.
    late = min(ages_s(used_for_s, 40)[10:])
    # What encoding, sending and decoding take is in both, at the best of moments: other programs run as well.
    # Each frame that waited in a queue would add 0.3 s to each age.
    assert late - at_once < 2 * used_for_s
    assert channels.status()[0].counters.dropped - dropped >= 40
