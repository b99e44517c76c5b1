"""Work that goes from thread to thread: results, failures and cancellations reach both ends."""

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest
from waiting import PATIENT_S

from app.service.futures import after, completed


def test_the_second_step_begins_on_the_thread_that_did_the_first():
    with ThreadPoolExecutor(1) as pool:
        may_end, threads = threading.Event(), []

        def first():
            may_end.wait(PATIENT_S)
            return threading.get_ident()

        whole = after(pool.submit(first), lambda ident: completed((ident, threads.append(threading.get_ident()))))
        may_end.set()
        ident, _ = whole.result(PATIENT_S)
    assert threads == [ident] and ident != threading.get_ident()


@pytest.mark.parametrize("fails", ["first", "second"])
def test_a_failure_of_either_step_is_that_of_the_whole(fails):
    first, second = Future(), Future()
    whole = after(first, lambda _: second)
    if fails == "first":
        first.set_exception(ZeroDivisionError())
    else:
        first.set_result(1)
        second.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        whole.result(0)


def test_cancelling_the_whole_leaves_out_what_has_not_begun():
    first, second, asked = Future(), Future(), []
    whole = after(first, lambda _: asked.append(1) or second)
    assert whole.cancel() and first.cancelled() and not asked

    first = Future()
    whole = after(first, lambda _: second)
    first.set_result(1)
    assert whole.cancel() and second.cancelled()


def test_a_first_step_that_has_begun_is_not_followed_by_a_second_one_after_a_cancellation():
    first, asked = Future(), []
    first.set_running_or_notify_cancel()
    whole = after(first, lambda _: asked.append(1) or completed(2))
    whole.cancel()
    first.set_result(1)
    assert not asked


def test_a_step_that_was_cancelled_elsewhere_cancels_the_whole():
    first = Future()
    whole = after(first, completed)
    first.cancel()
    with pytest.raises(CancelledError):
        whole.result(0)
