"""Events reach every sink: however slow the outputs are, and also after a sink has failed for a while."""

import logging
import threading
import time
from pathlib import Path

import pytest
from made_results import ANN, frame, result, track
from waiting import PATIENT_S, until

from app.errors import OutputError
from app.events.log import EventLog
from app.events.pipe import EventPipe
from app.events.sinks import EventPublisher, SinkGoneError, SinkQueue
from app.events.stream import EventStream
from app.output.outputs import Outputs, OutputThread


class Broker:
    """A sink in memory. `up` is cleared while it is down; `reachable` is cleared to make it hang."""

    name = "broker"

    def __init__(self, error=None):
        self.events = []
        self.attempts = 0
        self.closed = 0
        self.up = threading.Event()
        self.up.set()
        self.reachable = threading.Event()
        self.reachable.set()
        self._error = error or OutputError("connection refused")

    def write(self, event):
        self.attempts += 1
        self.reachable.wait(PATIENT_S)
        if not self.up.is_set():
            raise self._error
        self.events.append(event)

    def close(self):
        self.closed += 1

    @property
    def sequence(self):
        return [event.sequence for event in self.events]


def events(count):
    """As many events: a face that comes and goes."""
    stream, made = EventStream(), []
    while len(made) < count:
        made += stream.handle(result(tracks=[track(1)] if len(made) % 2 == 0 else []))
    return made


def messages(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def visit(count=20, first=8, last=12):
    """Live frames of an empty room with a visitor in a few of them."""
    box, there = (10, 20, 30, 40), range(first, last + 1)
    return [
        result(frame(i), [box], [ANN], [track(1, ANN, box)], track_ids=[1]) if i in there else result(frame(i))
        for i in range(count)
    ]


class BlockedVideo:
    """A video writer that hangs in its first frame until `gate` opens."""

    name = "blocked video"

    def __init__(self, publisher=None):
        self.gate = threading.Event()
        self.entered = threading.Event()
        self._publisher = publisher

    def handle(self, handed):
        self.entered.set()
        self.gate.wait(PATIENT_S)
        if self._publisher is not None:
            self._publisher.handle(handed)

    def close(self):
        pass


def run_blocked(outputs, blocked):
    """Hands over a whole visit while the output is blocked, and ends the run."""
    first, *others = visit()
    outputs.handle(first)
    assert blocked.entered.wait(PATIENT_S)
    for handed in others:
        outputs.handle(handed)
    blocked.gate.set()
    outputs.close()


def test_a_visit_while_the_video_writer_is_blocked_is_logged_completely():
    broker, blocked = Broker(), BlockedVideo()
    thread = OutputThread(blocked, queue_frames=2)
    run_blocked(Outputs([EventPublisher([broker]), thread]), blocked)
    assert [event.kind.value for event in broker.events] == ["enter", "identified", "left"]
    assert [event.frame for event in broker.events] == [8, 8, 12]
    assert thread.skipped == 17, "the visit was among the frames that the video left out"


def test_behind_a_queue_that_skips_frames_the_same_visit_would_be_lost():
    """The proof that the test above can fail: this is how events were derived before."""
    broker = Broker()
    publisher = EventPublisher([broker])
    blocked = BlockedVideo(publisher)
    run_blocked(Outputs([OutputThread(blocked, queue_frames=2)]), blocked)
    publisher.close()
    assert broker.events == []


def test_a_sink_that_fails_and_comes_back_loses_nothing_and_says_so_once(caplog):
    caplog.set_level(logging.INFO)
    broker = Broker()
    queue = SinkQueue(broker, retry_first_s=0.001, retry_max_s=0.002)
    sent = events(30)
    for event in sent[:10]:
        queue.put(event)
    until(lambda: len(broker.events) == 10)
    broker.up.clear()
    for event in sent[10:20]:
        queue.put(event)
    until(lambda: broker.attempts > 13)
    assert "connection refused" in str(queue.error)
    broker.up.set()
    for event in sent[20:]:
        queue.put(event)
    queue.close()
    assert broker.sequence == list(range(1, 31))
    assert (queue.written, queue.lost, queue.problem, broker.closed) == (30, 0, None, 1)
    (failed,) = messages(caplog, logging.WARNING)
    recovered = messages(caplog, logging.INFO)[-1]
    assert "connection refused" in failed and "works again" in recovered


def test_pauses_between_attempts_grow_up_to_the_limit():
    broker = Broker()
    broker.up.clear()
    queue = SinkQueue(broker, retry_first_s=1.0, retry_max_s=4.0, flush_s=0.0)
    pauses = []
    queue._pause = lambda error, pause_s: pauses.append(pause_s) is None and len(pauses) < 5
    queue.put(events(1)[0])
    queue._thread.join(PATIENT_S)
    queue.close()
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_full_queue_counts_what_is_lost_and_keeps_what_it_has(caplog):
    broker = Broker()
    broker.reachable.clear()
    queue = SinkQueue(broker, capacity=5)
    for event in events(12):
        queue.put(event)
    assert queue.lost == 7
    broker.reachable.set()
    queue.close()
    assert broker.sequence == [1, 2, 3, 4, 5]
    assert (queue.written, queue.lost) == (5, 7)
    assert "7 events" in queue.problem
    assert len(messages(caplog, logging.ERROR)) == 1


def test_the_end_of_the_run_wakes_a_sink_that_waits_to_try_again():
    broker = Broker()
    broker.up.clear()
    queue = SinkQueue(broker, retry_first_s=PATIENT_S, flush_s=PATIENT_S)
    for event in events(3):
        queue.put(event)
    until(lambda: broker.attempts == 1 and queue.error)
    broker.up.set()
    queue.close()
    assert broker.sequence == [1, 2, 3] and queue.problem is None


def test_at_the_end_of_the_run_a_sink_is_tried_more_than_once():
    broker = Broker()
    broker.up.clear()
    queue = SinkQueue(broker, retry_first_s=0.01, retry_max_s=PATIENT_S, flush_s=PATIENT_S)
    queue.put(events(1)[0])
    # By now the pauses have become as long as the end of the run would wait.
    until(lambda: broker.attempts >= 6)
    queue.begin_close()
    attempts = broker.attempts
    until(lambda: broker.attempts >= attempts + 3)
    broker.up.set()
    queue.close()
    assert queue.written == 1 and queue.problem is None


@pytest.mark.parametrize("way", ["fails", "hangs"])
def test_the_end_of_the_run_waits_for_a_bounded_time(way):
    broker = Broker()
    (broker.up if way == "fails" else broker.reachable).clear()
    queue = SinkQueue(broker, retry_first_s=0.01, flush_s=0.05)
    for event in events(4):
        queue.put(event)
    started = time.monotonic()
    queue.close()
    assert time.monotonic() - started < PATIENT_S / 2
    assert (queue.written, queue.lost) == (0, 4)
    assert "4 events" in queue.problem
    broker.reachable.set()


def test_a_sink_with_a_bug_is_not_tried_again(caplog):
    broker = Broker(error=ValueError("odd"))
    broker.up.clear()
    queue = SinkQueue(broker)
    sent = events(3)
    queue.put(sent[0])
    until(lambda: queue.error)
    for event in sent[1:]:
        queue.put(event)
    queue.close()
    assert (broker.attempts, broker.closed, queue.lost) == (1, 1, 3)
    (only,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "odd" in only.getMessage() and only.exc_info


def test_a_supervised_sink_with_a_bug_gets_the_event_again(caplog):
    broker, deaths = Broker(error=ValueError("odd")), []
    broker.up.clear()

    def died(worker, reason):
        deaths.append((worker, reason))
        if len(deaths) == 3:
            broker.up.set()

    queue = SinkQueue(broker, retry_first_s=0.01, flush_s=PATIENT_S, on_death=died)
    for event in events(3):
        queue.put(event)
    until(lambda: queue.written == 3)
    queue.close()
    assert deaths == [(broker.name, "ValueError('odd')")] * 3
    assert (queue.lost, queue.problem, broker.closed) == (0, None, 1)


def test_a_sink_that_is_gone_is_not_tried_again(caplog):
    broker = Broker(error=SinkGoneError("nobody reads"))
    broker.up.clear()
    queue = SinkQueue(broker)
    for event in events(3):
        queue.put(event)
    queue.close()
    assert (broker.attempts, broker.closed, queue.written, queue.lost) == (1, 1, 0, 3)
    (only,) = caplog.records
    assert "nobody reads" in only.getMessage() and not only.exc_info


def test_a_sink_that_cannot_be_closed_is_a_problem():
    class Unclosable(Broker):
        def close(self):
            raise OutputError("disk gone")

    queue = SinkQueue(Unclosable())
    queue.put(events(1)[0])
    queue.close()
    assert queue.written == 1 and "disk gone" in queue.problem


def test_one_sink_that_fails_does_not_keep_events_from_another():
    good, bad = Broker(), Broker()
    bad.up.clear()
    publisher = EventPublisher([bad, good], flush_s=0.01)
    for handed in visit():
        publisher.handle(handed)
    until(lambda: len(good.events) == 3)
    publisher.close()
    assert [event.kind.value for event in good.events] == ["enter", "identified", "left"]
    assert len(publisher.lost) == 1 and "broker" in publisher.lost[0]


def test_a_complete_log_is_a_written_file_and_an_empty_one_is_not(tmp_path):
    full, empty = tmp_path / "full.jsonl", tmp_path / "empty.jsonl"
    for path, handed in ((full, visit()), (empty, visit(count=3))):
        with Outputs([EventPublisher([EventLog(path), Broker()])]) as outputs:
            for each in handed:
                outputs.handle(each)
        assert outputs.lost == ()
        assert outputs.written == ((path,) if path is full else ())


class BusyDisk(Broker):
    """A sink that has something to do one second after each event."""

    def __init__(self):
        super().__init__()
        self.due = False
        self.idled = threading.Event()

    def write(self, event):
        super().write(event)
        self.due = True

    def idle(self):
        if not self.due:
            return None
        if self.idled.is_set():
            self.due = False
            return None
        self.idled.set()
        return 0.001


def test_a_sink_without_events_gets_its_turn_when_it_asked_for_it():
    disk = BusyDisk()
    queue = SinkQueue(disk)
    queue.put(events(1)[0])
    until(lambda: disk.idled.is_set() and not disk.due)
    queue.close()
    assert (queue.written, queue.problem) == (1, None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_makes_the_log_incomplete_and_does_not_end_the_run():
    publisher = EventPublisher([EventPipe(Path("/dev/full"))], flush_s=0.05)
    with Outputs([publisher]) as outputs:
        for handed in visit():
            outputs.handle(handed)
        until(lambda: not publisher.sinks()[0].is_working)
    (lost,) = outputs.lost
    assert "/dev/full" in lost and "3 events" in lost and "No space left on device" in lost
    assert outputs.written == ()
