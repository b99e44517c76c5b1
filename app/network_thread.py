"""The one thread that may use the networks, and the jobs that other threads give it.

A TensorRT context works on a single thread. In a run with cameras that thread is the camera loop, which calls
`run_pending` between two frames; without cameras, `start` makes a thread that does nothing else.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, TypeVar

T = TypeVar("T")

FAIR_SHARE = 4
"""A job that waits gets its turn after no more than this many jobs of each higher priority."""


class Priority(enum.IntEnum):
    """Which of the waiting jobs comes first."""

    FRAME = 0
    """A video frame: it is outdated when it is late."""
    REQUEST = 1
    """A person or a program waits for the answer."""
    ENROLMENT = 2
    """Photos of the gallery, whose result no one waits for."""


class ShutDownError(Exception):
    """The networks are closed; the job was not done."""


class NetworkThread:
    """Runs jobs one at a time on the thread that made this object, or on one of its own after `start`.

    Example:
        >>> networks = NetworkThread()
        >>> networks.start()
        >>> networks.call(lambda: 6 * 7)
        42
        >>> networks.close()
    """

    def __init__(self, frames_before_job: int = 1) -> None:
        """`frames_before_job`: how many video frames of the loop that owns the networks go before a job that waits."""
        self._frames_before_job = frames_before_job
        self._frames = 0
        """Those since the last job."""
        self._owner = threading.get_ident()
        self._waiting: Dict[Priority, Deque[Tuple[Callable[[], Any], Future[Any]]]] = {p: deque() for p in Priority}
        self._passed_over: Dict[Priority, int] = dict.fromkeys(Priority, 0)
        self._changed = threading.Condition()
        self._closed = False
        self._thread: Optional[threading.Thread] = None
        self._last: Optional[Callable[[], None]] = None
        self._listeners: List[Callable[[], None]] = []

    def start(self) -> None:
        """Gives the networks a thread of their own. They must be opened there, too: `call` what opens them."""
        started = threading.Event()

        def work() -> None:
            self._owner = threading.get_ident()
            started.set()
            try:
                while not self._closed:
                    self.run_pending()
                    with self._changed:
                        self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            finally:
                # If a job ends this thread (SystemExit), no caller must wait for answers that never come.
                self.close()
                if self._last is not None:
                    self._last()

        self._thread = threading.Thread(target=work, name="networks", daemon=True)
        self._thread.start()
        started.wait()

    def on_submit(self, listener: Callable[[], None]) -> None:
        """Calls `listener` whenever a job arrives, on the thread that submits it: it may wake a loop that sleeps."""
        self._listeners.append(listener)

    def submit(self, job: Callable[[], T], priority: Priority = Priority.REQUEST) -> Future[T]:
        """Queues a job. Its future raises what the job raises, or ShutDownError."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(ShutDownError())
                return future
            self._waiting[priority].append((job, future))
            self._changed.notify_all()
        for listener in self._listeners:
            listener()
        return future

    def call(self, job: Callable[[], T], priority: Priority = Priority.REQUEST) -> T:
        """Does a job and returns its result: at once on the owning thread, in turn from any other."""
        if threading.get_ident() == self._owner:
            return job()
        return self.submit(job, priority).result()

    def run_pending(self, after_frame: bool = False) -> bool:
        """Does one waiting job, if there is one; returns whether more are waiting. For the owner only.

        `after_frame`: a frame was processed, and perhaps the next one waits already; it may go first.
        """
        if threading.get_ident() != self._owner:
            raise RuntimeError("NetworkThread.run_pending: only the thread that owns the networks may run their jobs")
        self._frames = self._frames + 1 if after_frame else self._frames_before_job
        taken = self._take() if self._frames >= self._frames_before_job else None
        if taken is not None:
            self._frames = 0
            _run(*taken)
        with self._changed:
            return any(self._waiting.values())

    def close(self, last: Optional[Callable[[], None]] = None) -> None:
        """Refuses everything that waits or is still to come, and ends the thread if there is one.

        `last` is what that thread does before it ends: it releases the networks, which belong to it.
        """
        with self._changed:
            self._last = last or self._last
            self._closed = True
            refused = [future for queue in self._waiting.values() for _, future in queue]
            for queue in self._waiting.values():
                queue.clear()
            self._changed.notify_all()
        for future in refused:
            if future.set_running_or_notify_cancel():
                future.set_exception(ShutDownError())
        if self._thread is not None and threading.get_ident() != self._owner:
            self._thread.join()

    def _take(self) -> Optional[Tuple[Callable[[], Any], Future[Any]]]:
        """The next job: of the highest priority, unless a lower one was passed over too often."""
        with self._changed:
            waiting = [priority for priority in Priority if self._waiting[priority]]
            if not waiting:
                return None
            overdue = [priority for priority in waiting if self._passed_over[priority] >= FAIR_SHARE]
            chosen = overdue[-1] if overdue else waiting[0]
            for priority in waiting:
                self._passed_over[priority] = 0 if priority is chosen else self._passed_over[priority] + 1
            return self._waiting[chosen].popleft()


def _run(job: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except Exception as error:  # noqa: BLE001 - the root of a thread: the submitter gets the error
        future.set_exception(error)
    except BaseException:
        future.set_exception(ShutDownError())
        raise
