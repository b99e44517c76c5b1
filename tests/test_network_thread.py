"""Jobs for the networks: one thread does them, by priority, and no priority starves."""

import sys
import threading

import pytest
from waiting import PATIENT_S, until

from app.network_thread import FAIR_SHARE, NetworkThread, Priority, ShutDownError


@pytest.fixture
def networks():
    networks = NetworkThread()
    yield networks
    networks.close()


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_owner_does_its_own_jobs_at_once(networks):
    assert networks.call(threading.get_ident) == threading.get_ident()


def test_jobs_of_other_threads_run_on_the_owning_thread(networks):
    answers = []
    asker = in_background(lambda: answers.append(networks.call(threading.get_ident)))
    until(lambda: networks.run_pending() or answers)
    asker.join(PATIENT_S)
    assert answers == [threading.get_ident()]


def test_started_without_a_loop_all_jobs_run_on_one_thread_of_its_own(networks):
    networks.start()
    users = {networks.call(threading.get_ident, priority) for priority in Priority for _ in range(3)}
    assert len(users) == 1 and threading.get_ident() not in users


def test_higher_priorities_come_first_and_equal_ones_in_order(networks):
    done = []
    for name, priority in [("photo", Priority.ENROLMENT), ("first", Priority.REQUEST), ("frame", Priority.FRAME)]:
        networks.submit(lambda name=name: done.append(name), priority)
    networks.submit(lambda: done.append("second"), Priority.REQUEST)
    while networks.run_pending():
        pass
    assert done == ["frame", "first", "second", "photo"]


@pytest.mark.parametrize("busy", [Priority.FRAME, Priority.REQUEST])
def test_a_job_of_low_priority_gets_its_share_however_busy_the_others_are(networks, busy):
    done = []
    networks.submit(lambda: done.append("photo"), Priority.ENROLMENT)
    for _ in range(FAIR_SHARE + 1):
        networks.submit(lambda: done.append("busy"), busy)
        networks.run_pending()
    assert done.index("photo") == FAIR_SHARE


def test_so_many_frames_go_before_a_job_but_only_as_long_as_frames_come():
    networks = NetworkThread(frames_before_job=3)
    done = []
    for name in "abc":
        networks.submit(lambda name=name: done.append(name))
    after_each = []
    for after_frame in [True, True, True, True, True, True, False]:
        networks.run_pending(after_frame)
        after_each.append("".join(done))
    assert after_each == ["", "", "a", "a", "a", "ab", "abc"]


def test_one_job_is_done_at_a_time_and_it_is_said_whether_more_wait(networks):
    futures = [networks.submit(lambda: None) for _ in range(2)]
    assert networks.run_pending() and [future.done() for future in futures] == [True, False]
    assert not networks.run_pending() and futures[1].done()
    assert not networks.run_pending()


def test_what_a_job_raises_reaches_the_thread_that_asked(networks):
    networks.start()
    with pytest.raises(ZeroDivisionError):
        networks.call(lambda: 1 / 0)
    assert networks.call(lambda: "still there") == "still there"


def test_after_the_end_waiting_and_later_jobs_are_refused(networks):
    waiting = networks.submit(lambda: "never")
    networks.close()
    for future in (waiting, networks.submit(lambda: "never")):
        with pytest.raises(ShutDownError):
            future.result(PATIENT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_jobs_are_refused_once_a_job_has_ended_the_thread(networks):
    networks.start()
    for job in (sys.exit, threading.get_ident):
        with pytest.raises(ShutDownError):
            networks.submit(job).result(PATIENT_S)


def test_a_sleeping_loop_hears_of_a_new_job(networks):
    heard = []
    networks.on_submit(lambda: heard.append(True))
    networks.submit(lambda: None)
    assert heard == [True]


def test_a_cancelled_job_is_not_done(networks):
    done = []
    networks.submit(lambda: done.append(1)).cancel()
    networks.run_pending()
    assert not done


def test_another_thread_must_not_run_the_jobs(networks):
    networks.start()
    with pytest.raises(RuntimeError, match="owns"):
        networks.run_pending()


def test_jobs_that_were_cancelled_do_not_keep_the_others_waiting_at_the_end(networks):
    cancelled, waiting = networks.submit(lambda: 1), networks.submit(lambda: 2)
    cancelled.cancel()
    networks.close()
    with pytest.raises(ShutDownError):
        waiting.result(timeout=0)
