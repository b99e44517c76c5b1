"""The progress line."""

import dataclasses
import io
import logging
import os
import pty

from made_results import ANN, frame, result

from app.output.outputs import Control
from app.output.progress import (
    ChannelProgress,
    Progress,
    ProgressAwareHandler,
    RateMeter,
    RunProgress,
    live_line,
    recording_line,
    shortened,
)
from app.types import ChannelCounters, ChannelState, ChannelStatus


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_recording_shows_how_much_is_done_and_the_time_left():
    assert recording_line(320, 900, 84.06, 641) == "frame 320 of 900 (35 %) | 84.1 fps | 7 s left | 641 faces"
    assert recording_line(950, 900, 50.0, 1) == "frame 950 of 900 (100 %) | 50.0 fps | 0 s left | 1 face"
    assert recording_line(7, None, 50.0, 0) == "frame 7 | 50.0 fps | 0 faces"
    assert recording_line(0, 900, None, 0) == "frame 0 of 900 (0 %) | 0 faces"


def test_live_channels_show_their_state_or_their_numbers():
    running = ChannelProgress(done=9, faces_now=2, fps=24.83, latency_s=0.0431)
    channels = {"front": running, "yard": ChannelProgress(state="reconnecting"), "gate": ChannelProgress()}
    assert live_line(channels) == "front 24.8 fps 43 ms 2 faces | yard reconnecting | gate waiting for a frame"


def test_a_line_fits_the_terminal_also_with_wide_letters():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abc..."
    assert shortened("张伟张伟", 6) == "..."


def channel(name="front", total=None, state=ChannelState.RUNNING):
    return ChannelStatus(name, "address", state, ChannelCounters(), total is None, None, total, None)


def progress_of(stream, clock, *channels):
    return RunProgress(Progress(stream, clock=clock), lambda: channels)


def test_a_terminal_gets_one_line_that_is_written_over_and_cleared_at_the_end():
    stream, clock = Terminal(), Clock()
    progress = progress_of(stream, clock, channel(total=100))
    for i in range(10):
        clock.now += 0.1
        progress.handle(result(frame(i, position=i / 25), [(1, 1, 9, 9)], [ANN]))
        assert progress.poll() is Control.RUN
    drawn = stream.getvalue()
    assert "\n" not in drawn and drawn.startswith("\r")
    assert 3 <= drawn.count("\r") <= 6, "not more often than needed"
    assert "of 100 (" in drawn and "10.0 fps" in drawn
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_terminal_that_was_closed_stops_neither_the_line_nor_the_log():
    ours, terminals = pty.openpty()
    with os.fdopen(terminals, "w") as stream:
        clock = Clock()
        progress = Progress(stream, clock=clock)
        clock.now += 1
        progress.status("frame 1")
        os.close(ours)
        ProgressAwareHandler(stream, progress).emit(logging.LogRecord("app", logging.INFO, "", 1, "lost", (), None))
        clock.now += 1
        progress.status("frame 2")
        progress.clear()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_elsewhere_a_log_line_comes_now_and_then(caplog):
    caplog.set_level(logging.INFO)
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock, channel())
    for i in range(450):
        clock.now += 0.1
        progress.handle(result(frame(i)) if i < 250 else result(frame(i), [(1, 1, 9, 9)], [ANN]))
        progress.poll()
    progress.close()
    assert stream.getvalue() == ""
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["front 10.0 fps 10 ms 0 faces", "front 10.0 fps 10 ms 1 face"], "the same line comes once"


def test_the_log_becomes_quiet_while_nothing_changes(caplog):
    caplog.set_level(logging.INFO)
    clock, channels = Clock(), [channel()]
    progress = RunProgress(Progress(io.StringIO(), clock=clock), lambda: channels)

    def run(seconds, level=0):
        """The times of the lines in the log, with another number of faces in each."""
        times, began = [], clock.now
        for _ in range(seconds):
            clock.now += 1
            faces = [(1, 1, 9, 9)] * (int(clock.now) % 7)
            progress.handle(dataclasses.replace(result(frame(), faces, [ANN] * len(faces)), degrade_level=level))
            caplog.clear()
            progress.poll()
            times += [int(clock.now - began)] * len(caplog.records)
        return times

    assert run(1000) == [10, 30, 70, 150, 310, 630]
    assert len(run(24 * 3600)) <= 26, "about one per hour"
    channels[:] = [channel(state=ChannelState.RECONNECTING)]
    assert run(80) == [10], "it does not wait for the next hour, and is said once"
    channels[:] = [channel()]
    assert run(80) == [10, 30, 70]
    assert run(80, level=2) == [10, 30, 70]


def test_a_silent_source_is_shown_with_its_state():
    stream, clock = Terminal(), Clock()
    progress = progress_of(stream, clock, channel(state=ChannelState.RECONNECTING))
    clock.now += 1
    progress.poll()
    assert "front reconnecting" in stream.getvalue()


def test_a_camera_without_a_frame_yet_is_not_said_to_be_opening():
    progress = RunProgress(Progress(Terminal()), lambda: [channel(state=ChannelState.OPENING)])
    assert progress.line() == "front waiting for a frame"


def test_a_camera_that_is_off_is_shown_with_the_reason_and_the_next_try():
    error = "front (address) cannot be opened. Connection refused by 10.0.0.9:554. Is the camera on?"
    off = dataclasses.replace(
        channel(state=ChannelState.OPENING), last_error=error, failed_tries=4, next_try_s=7.2, live=True
    )
    channels = [off]
    progress = RunProgress(Progress(Terminal()), lambda: channels)
    reason = "Connection refused by 10.0.0.9:554. Is the camera on?"
    assert progress.line() == f"front not available, try 5 in 8 s: {reason}"
    channels[0] = dataclasses.replace(off, next_try_s=None)
    assert progress.line() == f"front not available, try 5 now: {reason}"
    channels[0] = dataclasses.replace(
        off, state=ChannelState.RECONNECTING, last_error="front (address): connection lost", failed_tries=1
    )
    assert progress.line() == "front reconnecting, try 2 in 8 s: connection lost"
    channels.append(channel("yard"))
    assert progress.line() == "front reconnecting, try 2 in 8 s | yard waiting for a frame"


def test_waiting_for_a_camera_does_not_fill_the_log(caplog):
    """The countdown changes all the time; the state does not."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    off = dataclasses.replace(
        channel(state=ChannelState.OPENING), last_error="front: off", failed_tries=1, next_try_s=5.0
    )
    channels = [off]
    progress = RunProgress(Progress(io.StringIO(), clock=clock), lambda: channels)
    for second in range(3600):
        clock.now += 1
        channels[0] = dataclasses.replace(off, failed_tries=1 + second // 5, next_try_s=5.0 - second % 5)
        progress.poll()
    lines = [record.getMessage() for record in caplog.records]
    assert 5 <= len(lines) <= 12
    assert all("off" in line for line in lines)


def test_the_line_says_what_is_left_out_on_a_slow_machine():
    progress = progress_of(Terminal(), Clock(), channel())
    progress.handle(dataclasses.replace(result(), degrade_level=1))
    assert progress.line().endswith("| degraded: fewer embeddings (1 of 4)")
    progress.handle(result(frame(1)))
    assert "degraded" not in progress.line()


def test_a_live_source_among_recordings_makes_the_line_a_live_one():
    clock = Clock()
    progress = progress_of(Terminal(), clock, channel("tape", total=100), channel("door"))
    progress.handle(result(frame(0, source="tape", position=0.0)))
    assert "tape" in progress.line() and "door" in progress.line()


def test_log_messages_do_not_run_into_the_line():
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock=clock)
    clock.now += 1
    progress.status("front starting")
    handler = ProgressAwareHandler(stream, progress)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None))
    assert stream.getvalue().endswith("\r\x1b[Khello\n")


def test_the_rate_is_that_of_the_last_moments():
    meter = RateMeter(window_s=1.0)
    assert meter.tick(0.0) is None
    rates = [meter.tick(i / 10) for i in range(1, 30)]
    assert all(abs(rate - 10) < 1e-6 for rate in rates)
    assert meter.tick(-5.0) is None, "a clock that was put back starts again"
    assert meter.rate(100.0) is None


def test_a_counter_shows_how_much_is_done_and_the_time_left():
    stream, clock = Terminal(), Clock()
    count = Progress(stream, clock=clock).counter("measuring")
    for done, now in ((0, 1001.0), (1, 1010.0), (4, 1040.0), (5, 1050.0)):
        clock.now = now
        count(done, 5)
    shown = [line for line in stream.getvalue().split("\r\x1b[K") if line]
    assert shown == ["measuring: 0 of 5", "measuring: 1 of 5 | 40 s left", "measuring: 4 of 5 | 10 s left"]
