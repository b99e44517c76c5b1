"""The life of channels, step by step: readers follow a script, and the clock is set by the test."""

import dataclasses
import linecache
import logging
import os
import signal
import sys
import threading
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_sources import frame_number
from waiting import PATIENT_S, until

from app.capture.capture import Channels
from app.capture.capture_thread import backoff_s
from app.capture.readers import RawFrame, StallError
from app.capture.turns import PATIENCE_S
from app.capture.uri import Source, SourceKind, name_sources
from app.errors import AccessDeniedError, SourceError
from app.settings import CaptureSettings
from app.types import ChannelState

FAST = CaptureSettings(
    retry_min_s=0.01, retry_max_s=0.05, queue_frames=3, open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S
)
TOO_LONG_S = 4 * PATIENT_S


class Silence:
    """So long nothing comes, by the clock of the test."""

    def __init__(self, seconds, clock):
        self.seconds = seconds
        self.clock = clock


class ScriptedReader:
    """A reader that does what its steps say: bring a frame, be silent, end (None), raise, call a function.

    An event is silence without end, which is over when the event is set.
    """

    fps = 25.0
    unreadable = 0

    def __init__(self, *steps, live=True, opening=()):
        """`opening` are steps before the source is open: silence, an event or an error."""
        self.live = live
        self.total_frames = None if live else len(steps)
        self.opening = list(opening)
        self.steps = list(steps)
        self.reads = 0
        self.waiting = 0
        """How often it was silent."""
        self.closed_by = None

    def wait(self, timeout_s):
        steps = self.opening or self.steps
        step = steps[0] if steps else None
        if isinstance(step, threading.Event):
            self.waiting += 1
            if not step.wait(0.01):
                return False
            steps.pop(0)
            return self.wait(timeout_s)
        if isinstance(step, Silence):
            if step.seconds <= 0:
                steps.pop(0)
                return self.wait(timeout_s)
            step.clock.advance(timeout_s)
            step.seconds -= timeout_s
            return False
        return True

    def finish_opening(self):
        for error in self.opening:
            raise error

    def read(self):
        self.reads += 1
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            elif isinstance(step, RawFrame):
                return step
            else:
                return None if step is None else frame(step)
        return None

    def close(self):
        self.closed_by = threading.current_thread()


class Opener:
    """Hands out the readers of each source in turn; an error in their place is raised."""

    def __init__(self, **readers):
        self.readers = {name: list(several) for name, several in readers.items()}
        self.opened = 0

    def __call__(self, source, settings):
        self.opened += 1
        reader = self.readers[source.name].pop(0)
        if isinstance(reader, Exception):
            raise reader
        return reader


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


def frame(value):
    return RawFrame(np.full((2, 2, 3), value, np.uint8))


FRAME_BYTES = frame(0).image.nbytes


def values(frames):
    return [int(taken.image[0, 0, 0]) for taken in frames]


def pauses(caplog):
    """The pauses before reconnections, from the log."""
    messages = [record.getMessage() for record in caplog.records]
    return [message.rpartition(" in ")[2] for message in messages if "reconnecting in" in message]


def cameras(*names):
    return [Source(name, SourceKind.CAMERA, "0") for name in names]


def recordings(*names):
    return [Source(name, SourceKind.VIDEO, f"{name}.mp4") for name in names]


def take_all(channels):
    taken = []
    while not channels.finished:
        got = channels.take(PATIENT_S)
        if got is not None:
            taken.append(got)
    return taken


@pytest.fixture(autouse=True)
def patient_close(monkeypatch):
    """After `close`, all threads that can end have ended."""
    monkeypatch.setattr("app.capture.capture.CLOSE_WITHIN_S", PATIENT_S)


@pytest.fixture
def gate():
    """Events that hold a reader; all of them open at the end, so that no thread outlives its test."""
    made = []

    def make():
        made.append(threading.Event())
        return made[-1]

    yield make
    for event in made:
        event.set()


@pytest.mark.parametrize("live", [False, True])
def test_frames_say_whether_their_source_is_live(live):
    opener = Opener(tape=[ScriptedReader(1, live=live)])
    with Channels(recordings("tape"), FAST, opener) as channels:
        assert channels.take(PATIENT_S).live is live


@pytest.mark.parametrize(("queue_bytes", "ahead"), [(1, 1), (3 * FRAME_BYTES, 3), (1000 * FRAME_BYTES, 4)])
def test_frames_that_are_read_ahead_are_limited_in_bytes_and_one_always_fits(queue_bytes, ahead):
    taken, leads = [], []
    reader = ScriptedReader(live=False)
    reader.steps = [step for value in range(20) for step in (lambda: leads.append(reader.reads - len(taken)), value)]
    settings = dataclasses.replace(FAST, queue_frames=4)
    with Channels(recordings("tape"), settings, Opener(tape=[reader]), queue_bytes=queue_bytes) as channels:
        while len(taken) < 20:
            until(lambda: channels.status()[0].counters.read >= min(20, len(taken) + ahead + 1))
            taken.append(channels.take(PATIENT_S))
    assert values(taken) == list(range(20))
    assert ahead <= max(leads) <= ahead + 2


def test_a_recording_gives_every_frame_once_in_order_and_never_runs_far_ahead():
    taken, leads = [], []
    reader = ScriptedReader(*range(100), None, live=False)
    reader.steps = [step for value in range(100) for step in (lambda: leads.append(reader.reads - len(taken)), value)]
    with Channels(recordings("tape"), FAST, Opener(tape=[reader])) as channels:
        while not channels.finished:
            got = channels.take(PATIENT_S)
            if got is not None:
                taken.append(got)
        (status,) = channels.status()
    assert values(taken) == list(range(100))
    assert [one.index for one in taken] == list(range(100))
    assert {one.source for one in taken} == {"tape"}
    assert max(leads) <= FAST.queue_frames + 2
    assert (status.state, status.counters.read, status.counters.dropped) == (ChannelState.ENDED, 100, 0)
    assert reader.closed_by is not None


def test_a_live_source_gives_its_newest_frame_once_and_counts_the_others(gate):
    hold = gate()
    with Channels(cameras("cam"), FAST, Opener(cam=[ScriptedReader(*range(10), hold)])) as channels:
        until(lambda: channels.status()[0].counters.read == 10)
        taken = channels.take(0)
        assert (values([taken]), taken.index) == ([9], 9)
        assert channels.take(0) is None
        (status,) = channels.status()
        assert (status.counters.read, status.counters.dropped) == (10, 9)
        assert (status.live, status.fps, status.state) == (True, 25.0, ChannelState.RUNNING)
        assert not channels.finished


def test_a_limited_rate_leaves_out_frames_of_live_sources_evenly_and_counts_them(gate):
    hold, clock = gate(), Clock()
    limit = []  # of the first frame on: it is set when the channels exist
    steps = [lambda: limit.pop()(4), *(step for value in range(41) for step in (value, partial(clock.advance, 0.1)))]
    with Channels(cameras("cam"), FAST, Opener(cam=[ScriptedReader(hold, *steps, gate())]), clock) as channels:
        limit.append(channels.limit_rate)
        hold.set()
        until(lambda: channels.status()[0].counters.read == 41)
        counters = channels.status()[0].counters
        assert counters.skipped == 24, "of 10 frames/s for 4 s, 4 frames/s were taken"
        assert counters.dropped == 16, "what was left out was not dropped because the loop is busy"


def test_a_recording_is_never_limited():
    with Channels(recordings("film"), FAST, Opener(film=[ScriptedReader(*range(20), live=False)])) as channels:
        channels.limit_rate(0.1)
        assert values(take_all(channels)) == [*range(20)]
        assert channels.status()[0].counters.skipped == 0


def test_a_frame_carries_the_time_at_which_it_arrived(gate):
    hold = gate()
    opener = Opener(cam=[ScriptedReader(1, hold)])
    with Channels(cameras("cam"), FAST, opener, clock=lambda: 7.5, wall_clock=lambda: 1234.5) as channels:
        frame = channels.take(PATIENT_S)
    assert (frame.captured_at, frame.clock_s) == (1234.5, 7.5)


def test_frames_are_taken_from_each_channel_in_turn():
    opener = Opener(a=[ScriptedReader(*range(9), live=False)], b=[ScriptedReader(*range(9), live=False)])
    with Channels(recordings("a", "b"), FAST, opener) as channels:
        until(lambda: all(status.counters.read > FAST.queue_frames for status in channels.status()))
        first, second, *more = (channels.take(0).source for _ in range(4))
        assert {first, second} == {"a", "b"} and more == [first, second]
        assert len(take_all(channels)) == 14


def test_frames_come_first_from_where_something_happens_until_the_patience_of_the_others_is_over():
    clock = Clock()
    opener = Opener(**{name: [ScriptedReader(*range(50), live=False)] for name in ("a", "b", "c")})
    with Channels(recordings("a", "b", "c"), FAST, opener, clock) as channels:
        until(lambda: all(status.counters.read > FAST.queue_frames for status in channels.status()))
        channels.set_need("b", True)
        assert [channels.take(0).source for _ in range(3)] == ["b", "b", "b"]
        until(lambda: channels.status()[1].counters.read > 3 + FAST.queue_frames)
        clock.advance(PATIENCE_S)
        assert [channels.take(0).source for _ in range(4)] == ["a", "c", "b", "b"]
        channels.set_need("b", False)
        assert {channels.take(0).source for _ in range(2)} == {"a", "c"}


def test_a_channel_is_opened_with_its_own_settings():
    opened = {}

    def open_reader(source, settings):
        opened[source.name] = settings.rtsp_transport
        return ScriptedReader(1, live=False)

    own = {"b": dataclasses.replace(FAST, rtsp_transport="udp")}
    with Channels(recordings("a", "b"), FAST, open_reader, own=own) as channels:
        take_all(channels)
    assert opened == {"a": "tcp", "b": "udp"}


def test_take_returns_when_a_frame_arrives_on_any_channel(gate):
    hold, end = gate(), gate()
    opener = Opener(a=[ScriptedReader(end)], b=[ScriptedReader(hold, 7, end)])
    taken = []
    with Channels(cameras("a", "b"), FAST, opener) as channels:
        waiting = threading.Thread(target=lambda: taken.append(channels.take(PATIENT_S)))
        waiting.start()
        hold.set()
        waiting.join(PATIENT_S)
        assert values(taken) == [7]


def test_take_returns_when_all_channels_are_over(gate):
    hold = gate()
    with Channels(recordings("a"), FAST, Opener(a=[ScriptedReader(1, hold, live=False)])) as channels:
        assert values([channels.take(PATIENT_S)]) == [1]
        hold.set()
        assert channels.take(PATIENT_S) is None
        assert channels.finished


def test_nothing_is_finished_before_the_last_frame_was_taken():
    with Channels(recordings("a"), FAST, Opener(a=[ScriptedReader(1, 2, live=False)])) as channels:
        until(lambda: channels.status()[0].state is ChannelState.ENDED)
        assert not channels.finished
        assert values([channels.take(0), channels.take(0)]) == [1, 2]
        assert channels.finished and channels.take(PATIENT_S) is None


def test_a_source_that_cannot_be_opened_fails_and_the_others_go_on(caplog):
    opener = Opener(
        bad=[SourceError("bad: not there")], cam=[SourceError("cam: off")] * 1000, tape=[ScriptedReader(1, live=False)]
    )
    with Channels([*recordings("bad", "tape"), *cameras("cam")], FAST, opener) as channels:
        assert values(take_all(channels)) == [1]
        assert [(one.name, one.state, one.last_error) for one in channels.status()] == [
            ("bad", ChannelState.FAILED, "bad: not there"),
            ("tape", ChannelState.ENDED, None),
            ("cam", ChannelState.FAILED, "cam: off"),
        ]
    assert "bad: not there" in caplog.text


def test_a_camera_that_is_off_at_the_start_is_reported_once_and_used_when_it_appears(gate, caplog):
    caplog.set_level(logging.INFO, "app.capture")
    hold, watching = gate(), gate()
    opener = Opener(cam=[*[SourceError("cam: off")] * 3, ScriptedReader(7, hold)], other=[ScriptedReader(1, watching)])
    with Channels(cameras("cam", "other"), FAST, opener) as channels:
        frames = {}
        while "cam" not in frames:
            frame = channels.take(PATIENT_S)
            assert frame is not None
            frames[frame.source] = frame
        assert values([frames["cam"]]) == [7]
        assert channels.status()[0].state is ChannelState.RUNNING
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["cam: off"]
    assert caplog.text.count("cam: retrying") == 1


def test_a_run_waits_for_its_only_camera_if_it_should(gate, caplog):
    is_on = gate()
    camera = ScriptedReader(7, gate(), opening=[is_on])
    opener = Opener(cam=[*[SourceError("cam: off")] * 3, camera])
    with Channels(cameras("cam"), dataclasses.replace(FAST, wait=True), opener) as channels:
        until(lambda: camera.waiting)
        (status,) = channels.status()
        assert (status.state, status.last_error) == (ChannelState.OPENING, "cam: off")
        assert not channels.finished
        is_on.set()
        assert values([channels.take(PATIENT_S)]) == [7]
    assert [record.levelname for record in caplog.records if "cam: off" in record.getMessage()] == ["WARNING"]


def test_a_channel_says_how_often_it_was_tried_and_when_it_is_tried_next():
    slow = dataclasses.replace(FAST, wait=True, retry_min_s=TOO_LONG_S, retry_max_s=TOO_LONG_S)
    with Channels(cameras("cam"), slow, Opener(cam=[SourceError("cam: off")])) as channels:
        until(lambda: channels.status()[0].next_try_s is not None)
        (status,) = channels.status()
        assert status.failed_tries == 1
        assert 0 < status.next_try_s <= 1.2 * TOO_LONG_S


def test_a_run_is_finished_when_every_source_has_failed_even_while_cameras_are_retried(caplog):
    caplog.set_level(logging.INFO, "app.capture")
    with Channels(cameras("cam"), FAST, Opener(cam=[SourceError("cam: off")] * 1000)) as channels:
        assert take_all(channels) == []
        assert channels.finished
    assert "tried again" not in caplog.text


def test_a_recording_without_frames_has_failed():
    with Channels(recordings("a"), FAST, Opener(a=[ScriptedReader(live=False)])) as channels:
        assert take_all(channels) == []
        assert channels.status()[0].state is ChannelState.FAILED
        assert "decoded" in channels.status()[0].last_error


def test_a_lost_live_source_is_reopened_until_it_comes_back(gate, caplog):
    caplog.set_level(logging.DEBUG, logger="app")
    hold = gate()
    again = ScriptedReader(3, hold)
    opener = Opener(cam=[ScriptedReader(1, None), *[SourceError("cam (x): refused")] * 3, again])
    with Channels(cameras("cam"), FAST, opener) as channels:
        until(lambda: channels.status()[0].counters.reconnects == 1)
        until(lambda: again.waiting > 0)
        taken = channels.take(PATIENT_S)
        (status,) = channels.status()
    assert (values([taken]), taken.index) == ([3], 1)
    assert (status.state, status.counters.stalls, opener.opened) == (ChannelState.RUNNING, 0, 5)
    assert status.last_error == "cam (x): refused"
    assert pauses(caplog) == ["0.01 s", "0.02 s", "0.04 s", "0.05 s"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2, "that the connection was lost, and once that it is refused"
    assert "connection lost" in warnings[0] and "refused" in warnings[1]


def test_a_stopped_camera_is_closed_and_opened_again_on_request_and_the_run_waits(gate):
    first, second = ScriptedReader(1, gate()), ScriptedReader(2, gate())
    opener = Opener(cam=[first, SourceError("cam (x): refused"), second])
    with Channels(cameras("cam"), FAST, opener) as channels:
        until(lambda: first.waiting > 0)
        assert channels.stop("cam").state is ChannelState.STOPPED
        until(lambda: first.closed_by is not None)
        assert (channels.finished, channels.take(0.01)) == (False, None)
        channels.start("cam")
        until(lambda: second.waiting > 0)
        taken = channels.take(PATIENT_S)
        (status,) = channels.status()
    assert (values([taken]), taken.index, status.state) == ([2], 1, ChannelState.RUNNING)


def test_pauses_start_at_the_minimum_again_after_a_long_connection(gate, caplog):
    hold, clock = gate(), Clock()
    lived = ScriptedReader(2, lambda: clock.advance(11), 3, None)
    opener = Opener(cam=[ScriptedReader(1, None), SourceError("off"), lived, ScriptedReader(hold)])
    with Channels(cameras("cam"), FAST, opener, clock) as channels:
        until(lambda: opener.opened == 4)
        assert channels.status()[0].counters.read == 3
    assert pauses(caplog)[:3] == ["0.01 s", "0.02 s", "0.01 s"]


def test_a_camera_that_rejects_the_password_is_not_asked_again_soon(caplog):
    denied = AccessDeniedError("cam: rejects the password")
    opener = Opener(cam=[ScriptedReader(1, None), denied])
    with Channels(cameras("cam"), FAST, opener) as channels:
        until(lambda: len(pauses(caplog)) == 2)
        assert channels.status()[0].state is ChannelState.RECONNECTING
    assert pauses(caplog) == ["0.01 s", "60 s"]
    assert opener.opened == 2


def test_a_reader_that_reports_a_stall_is_reopened(gate):
    hold = gate()
    first = ScriptedReader(1, StallError("no frame for 4.2 s"))
    with Channels(cameras("cam"), FAST, Opener(cam=[first, ScriptedReader(2, hold)])) as channels:
        until(lambda: channels.status()[0].counters.reconnects == 1)
        (status,) = channels.status()
    assert status.counters.stalls == 1
    assert "4.2 s" in status.last_error
    assert first.closed_by is not None


def test_a_source_that_stays_silent_is_reopened(gate):
    hold, clock = gate(), Clock()
    silent, fresh = ScriptedReader(1, Silence(TOO_LONG_S, clock), 99), ScriptedReader(2, hold)
    with Channels(cameras("cam"), FAST, Opener(cam=[silent, fresh]), clock) as channels:
        until(lambda: channels.status()[0].counters.reconnects == 1)
        assert values([channels.take(PATIENT_S)]) == [2]
        (status,) = channels.status()
    assert (status.state, status.counters.stalls) == (ChannelState.RUNNING, 1)
    assert f"no frame for {PATIENT_S:.0f}." in status.last_error
    assert silent.closed_by is not None and silent.reads == 1


def test_a_frame_rate_limit_is_no_silence(gate):
    hold, clock = gate(), Clock()
    slow = dataclasses.replace(FAST, max_fps=0.1)
    quiet = Silence(FAST.read_timeout_s + 9.5, clock)
    with Channels(cameras("cam"), slow, Opener(cam=[ScriptedReader(1, quiet, 2, hold)]), clock) as channels:
        until(lambda: channels.status()[0].counters.read == 2)
        assert channels.status()[0].counters.reconnects == 0


def test_frames_that_the_reader_left_out_are_counted_apart_from_those_that_were_replaced(gate):
    hold = gate()
    first, second = (dataclasses.replace(frame(1), beyond_max_fps=4, replaced=number) for number in (0, 2))
    with Channels(cameras("cam"), FAST, Opener(cam=[ScriptedReader(first, second, hold)])) as channels:
        until(lambda: channels.status()[0].counters.read == 4)
        counters = channels.status()[0].counters
        taken = channels.take(PATIENT_S)
    assert (counters.dropped, counters.beyond_max_fps, taken.index) == (3, 8, 3)


def test_a_stall_that_passes_by_itself_is_counted_and_nothing_is_reopened(gate):
    begin, clock = gate(), Clock()
    stalled = []
    quiet = Silence(FAST.read_timeout_s * 0.6, clock)
    reader = ScriptedReader(begin, 1, quiet, lambda: stalled.append(channels.status()[0].state), 2, gate())
    with Channels(cameras("cam"), FAST, Opener(cam=[reader]), clock) as channels:
        begin.set()
        until(lambda: channels.status()[0].counters.read == 2)
        (status,) = channels.status()
    assert stalled == [ChannelState.STALLED]
    assert (status.state, status.counters.stalls) == (ChannelState.RUNNING, 1)
    assert status.counters.reconnects == 0


def test_a_source_that_never_opens_has_failed():
    clock = Clock()
    reader = ScriptedReader(1, opening=[Silence(TOO_LONG_S, clock)])
    opener = Opener(cam=[reader, *[SourceError("off")] * 1000])
    with Channels(cameras("cam"), FAST, opener, clock) as channels:
        assert take_all(channels) == []
        assert "no answer within" in channels.status()[0].last_error
        assert channels.status()[0].state is ChannelState.FAILED
    assert reader.reads == 0
    assert reader.closed_by is not None


def test_a_channel_that_waits_for_its_source_can_be_closed(gate):
    hang = gate()
    readers = [ScriptedReader(1, hang), ScriptedReader(opening=[hang])]
    with Channels(cameras("a", "b"), FAST, Opener(a=readers[:1], b=readers[1:])):
        until(lambda: all(reader.waiting for reader in readers))
    until(lambda: all(reader.closed_by is not None for reader in readers))


def test_a_bug_ends_only_its_channel_and_shows_no_password(caplog):
    opener = Opener(
        a=[ScriptedReader(ValueError("at rtsp://u:s3cret@h/x"), live=False)], b=[ScriptedReader(1, live=False)]
    )
    with Channels(recordings("a", "b"), FAST, opener) as channels:
        assert values(take_all(channels)) == [1]
        (status, _) = channels.status()
    assert status.state is ChannelState.FAILED
    assert "ValueError" in status.last_error and "ValueError" in caplog.text
    assert "s3cret" not in status.last_error and "s3cret" not in caplog.text


def test_closing_ends_threads_that_wait_for_space_in_the_queue():
    reader = ScriptedReader(*range(50), live=False)
    channels = Channels(recordings("a"), FAST, Opener(a=[reader]))
    until(lambda: reader.reads == FAST.queue_frames + 1)
    channels.close()
    assert reader.closed_by is not None and not reader.closed_by.is_alive()
    assert channels.finished and channels.take(PATIENT_S) is None
    channels.close()


def test_ctrl_c_interrupts_the_wait_for_a_frame(gate):
    hold, main_thread = gate(), threading.main_thread().ident

    def waits():
        frame = sys._current_frames()[main_thread]
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return frame.f_back.f_code is Channels.take.__code__ and "waiter.acquire(True" in line

    def interrupt():
        until(waits)
        os.kill(os.getpid(), signal.SIGINT)

    with Channels(cameras("cam"), FAST, Opener(cam=[ScriptedReader(hold)])) as channels:
        interrupter = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):
            interrupter.start()
            channels.take(PATIENT_S)
        interrupter.join()


@given(st.integers(0, 10_000), st.floats(0.01, 60), st.floats(0.01, 3600))
def test_pauses_double_up_to_the_maximum(attempt, first, maximum):
    pause = backoff_s(attempt, first, maximum)
    assert 0 < pause <= maximum
    assert pause <= backoff_s(attempt + 1, first, maximum) <= 2 * pause


def test_pauses_by_default():
    settings = CaptureSettings()
    pauses = [backoff_s(attempt, settings.retry_min_s, settings.retry_max_s) for attempt in range(7)]
    assert pauses == [1, 2, 4, 8, 10, 10, 10]


def test_real_recordings_and_pictures_side_by_side(recording, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((5, 6, 3), number, np.uint8))
    (folder / "bad.jpg").write_bytes(b"no picture")
    tape, other = recording("tape.mp4", frames=30), recording("other.avi", frames=10, codec="MJPG")
    sources = name_sources(
        [(None, str(tape)), (None, str(other)), (None, str(folder)), (None, str(tmp_path / "gone.mp4"))]
    )
    with Channels(sources, CaptureSettings()) as channels:
        taken = take_all(channels)
        status = {one.name: one for one in channels.status()}
    frames = {name: [one for one in taken if one.source == name] for name in status}
    assert [frame_number(one.image) for one in frames["tape"]] == [number % 20 for number in range(30)]
    assert [frame_number(one.image) for one in frames["other"]] == list(range(10))
    assert values(frames["photos"]) == [0, 1, 2]
    assert all(not one.continues for one in frames["photos"])
    assert status["photos"].counters.unreadable == 1
    assert (status["tape"].fps, status["tape"].total_frames) == (25.0, 30)
    assert status["gone"].state is ChannelState.FAILED and "no such file" in status["gone"].last_error
