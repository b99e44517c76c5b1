"""Outputs are independent, bounded, and fail one by one."""

import logging
import threading

import pytest
from made_results import frame, picture, result
from waiting import PATIENT_S

from app.errors import OutputError
from app.output.outputs import Control, Outputs, OutputThread


class Collector:
    """An output that keeps what it gets; `gate` blocks it, `fails_at` makes it raise."""

    name = "collector"

    def __init__(self, fails_at=None, error=None):
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.seen = []
        self.closed = 0
        self._fails_at = fails_at
        self._error = error

    def handle(self, handed):
        self.entered.set()
        self.gate.wait(PATIENT_S)
        if handed.frame.index == self._fails_at:
            raise self._error
        self.seen.append(handed.frame.index)

    def close(self):
        self.closed += 1


def recording(count):
    return [result(frame(i, position=i / 25)) for i in range(count)]


def live(count):
    return [result(frame(i)) for i in range(count)]


def errors(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_output_gets_every_frame_of_a_recording_in_order():
    collector = Collector()
    thread = OutputThread(collector, queue_frames=2)
    for handed in recording(200):
        thread.handle(handed)
    thread.close()
    assert collector.seen == list(range(200))
    assert (thread.handled, thread.skipped, thread.failed) == (200, 0, 0)
    assert collector.closed == 1


def test_a_full_queue_makes_a_recording_wait():
    collector = Collector()
    collector.gate.clear()
    thread = OutputThread(collector, queue_frames=2)
    producer = threading.Thread(target=lambda: [thread.handle(handed) for handed in recording(6)])
    producer.start()
    collector.entered.wait(PATIENT_S)
    producer.join(0.3)
    assert producer.is_alive()
    collector.gate.set()
    producer.join(PATIENT_S)
    thread.close()
    assert collector.seen == list(range(6))


@pytest.mark.parametrize(("megabytes", "waiting"), [(10, 3), (2.5, 2), (1, 1), (0.1, 1)])
def test_a_queue_is_limited_in_bytes_and_holds_a_frame_at_least(megabytes, waiting):
    collector = Collector()
    collector.gate.clear()
    image = picture(1000, 333)  # 1 MB
    thread = OutputThread(collector, queue_frames=3, queue_bytes=int(megabytes * 1e6))
    thread.handle(result(frame(0, image=image)))
    collector.entered.wait(PATIENT_S)
    for index in range(1, 9):
        thread.handle(result(frame(index, image=image)))
    assert thread.skipped == 8 - waiting
    collector.gate.set()
    thread.close()
    assert collector.seen == list(range(1 + waiting))


def test_a_recording_waits_for_room_in_a_queue_that_is_limited_in_bytes():
    collector = Collector()
    thread = OutputThread(collector, queue_bytes=1)
    for handed in recording(20):
        thread.handle(handed)
    thread.close()
    assert collector.seen == list(range(20))


def test_pictures_are_not_skipped():
    collector = Collector()
    thread = OutputThread(collector, queue_frames=1)
    for i in range(50):
        thread.handle(result(frame(i, continues=False)))
    thread.close()
    assert collector.seen == list(range(50))


def test_a_live_source_never_waits_and_skipped_frames_are_counted():
    collector = Collector()
    collector.gate.clear()
    thread = OutputThread(collector, queue_frames=2)
    frames = live(10)
    thread.handle(frames[0])
    collector.entered.wait(PATIENT_S)
    for handed in frames[1:]:
        thread.handle(handed)
    collector.gate.set()
    thread.close()
    assert collector.seen == [0, 1, 2]
    assert (thread.handled, thread.skipped, thread.failed) == (3, 7, 0)


@pytest.mark.parametrize("error", [OutputError("no space left"), OSError(28, "no space left"), ValueError("odd")])
def test_an_output_that_fails_is_dropped_with_one_error_and_the_run_continues(error, caplog):
    good, bad = Collector(), Collector(fails_at=3, error=error)
    bad.name = "video OUT.mp4"
    threads = [OutputThread(good, 2), OutputThread(bad, 2)]
    with Outputs(threads) as outputs:
        for handed in recording(50):
            outputs.handle(handed)
    assert good.seen == list(range(50))
    assert bad.seen == [0, 1, 2] and bad.closed == 1
    assert threads[1].handled == 3 and threads[1].failed == 47
    (only,) = errors(caplog)
    assert "video OUT.mp4" in only.getMessage() and str(error) in only.getMessage()
    assert bool(only.exc_info) == isinstance(error, ValueError), "only the unexpected comes with a traceback"


def test_a_supervised_output_goes_on_after_a_bug_and_reports_it():
    class Odd(Collector):
        def handle(self, handed):
            if handed.frame.index == 3:
                raise ValueError("odd")
            super().handle(handed)

    odd, deaths = Odd(), []
    thread = OutputThread(odd, 2, on_death=lambda *death: deaths.append(death))
    for handed in recording(6):
        thread.handle(handed)
    thread.close()
    assert odd.seen == [0, 1, 2, 4, 5] and odd.closed == 1
    assert deaths == [(odd.name, "ValueError('odd')")]
    assert (thread.handled, thread.failed) == (5, 1)
    (lost,) = thread.lost
    assert "1 frame" in lost


def test_an_output_that_cannot_be_closed_is_one_error(caplog):
    class Unclosable(Collector):
        def close(self):
            raise OutputError("disk gone")

    thread = OutputThread(Unclosable())
    thread.handle(result())
    thread.close()
    (only,) = errors(caplog)
    assert "disk gone" in only.getMessage()


def test_an_output_that_hangs_is_dropped(caplog):
    collector = Collector()
    collector.gate.clear()
    thread = OutputThread(collector, queue_frames=1, stuck_after_s=0.2)
    first, *others = recording(5)
    thread.handle(first)
    collector.entered.wait(PATIENT_S)
    for handed in others:
        thread.handle(handed)
    assert isinstance(thread.error, OutputError)
    assert thread.failed == 4
    thread.close()
    assert len(errors(caplog)) == 1
    collector.gate.set()


def test_a_thread_for_one_channel_ignores_the_others():
    collector = Collector()
    thread = OutputThread(collector, channel="yard")
    thread.handle(result(frame(1, source="front")))
    thread.handle(result(frame(2, source="yard")))
    thread.close()
    assert collector.seen == [2]


def test_an_output_without_a_thread_is_dropped_when_it_fails(caplog):
    good, bad = Collector(), Collector(fails_at=1, error=OutputError("gone"))
    with Outputs([bad]) as outputs:
        outputs.add(good)
        for handed in live(4):
            outputs.handle(handed)
    assert good.seen == [0, 1, 2, 3] and bad.seen == [0]
    assert bad.closed == good.closed == 1
    assert len(errors(caplog)) == 1


class Interactive(Collector):
    """An output that returns these controls one after the other, or raises them."""

    def __init__(self, *wanted):
        super().__init__()
        self.wanted = list(wanted)

    def poll(self):
        control = self.wanted.pop(0)
        if isinstance(control, Exception):
            raise control
        return control


def test_all_outputs_are_closed_even_after_a_bug_in_one_of_them():
    class Unclosable(Collector):
        def close(self):
            raise ValueError("a bug")

    others = [Collector(), Collector()]
    outputs = Outputs([others[0], Unclosable(), others[1]])
    with pytest.raises(ValueError, match="a bug"):
        outputs.close()
    assert [other.closed for other in others] == [1, 1]


def test_a_thread_passes_on_what_its_output_could_not_complete():
    class Partial(Collector):
        written = ()
        lost = ("2 pictures of 5 are missing",)

    with Outputs([OutputThread(Partial())]) as outputs:
        pass
    assert outputs.lost == ("2 pictures of 5 are missing",)


def test_stop_has_precedence_over_pause_and_pause_over_run():
    first = Interactive(Control.RUN, Control.PAUSE, Control.STOP, Control.RUN)
    second = Interactive(Control.RUN, Control.RUN, Control.PAUSE, Control.PAUSE)
    outputs = Outputs([Collector(), first, second])
    assert [outputs.poll() for _ in range(4)] == [Control.RUN, Control.PAUSE, Control.STOP, Control.PAUSE]


def test_without_interactive_outputs_the_run_continues():
    assert Outputs([Collector()]).poll() is Control.RUN


def test_an_output_whose_poll_fails_is_dropped_and_the_run_continues():
    broken = Interactive(OutputError("display gone"))
    outputs = Outputs([broken])
    assert [outputs.poll(), outputs.poll()] == [Control.RUN, Control.RUN]
    outputs.handle(result())
    outputs.close()
    assert broken.seen == [] and broken.closed == 1
    assert "display gone" in outputs.lost[0]
