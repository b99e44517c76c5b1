"""Work that goes from thread to thread, without the event loop in between."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Callable, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def completed(result: A) -> Future[A]:
    future: Future[A] = Future()
    future.set_result(result)
    return future


def after(first: Future[A], then: Callable[[A], Future[B]]) -> Future[B]:
    """What `then` asks for with the result of `first`, on the thread that has this result. `then` must not raise.

    If the whole is cancelled, what has not begun is left out.
    """
    whole: Future[B] = Future()

    def ask(done: Future[A]) -> None:
        if whole.cancelled() or _failed(done, whole):
            return
        second = then(done.result())
        second.add_done_callback(finish)
        whole.add_done_callback(lambda _: second.cancel() if whole.cancelled() else None)

    def finish(done: Future[B]) -> None:
        if not _failed(done, whole) and whole.set_running_or_notify_cancel():
            whole.set_result(done.result())

    whole.add_done_callback(lambda _: first.cancel() if whole.cancelled() else None)
    first.add_done_callback(ask)
    return whole


def _failed(part: Future[A], whole: Future[B]) -> bool:
    """Whether there is no result; then the whole has none, either."""
    if part.cancelled():
        whole.cancel()
        return True
    error = part.exception()
    if error is not None and whole.set_running_or_notify_cancel():
        whole.set_exception(error)
    return error is not None
