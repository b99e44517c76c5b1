"""Watches the loop from a separate thread: feeds systemd's watchdog while it lives, and ends a program that hangs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from functools import partial
from types import TracebackType
from typing import Callable, Dict, Optional, Type

from app.errors import ExitCode
from app.supervision.supervisor import Supervisor
from app.supervision.systemd import notify, watchdog_s

logger = logging.getLogger(__name__)

MAX_TICK_S = 1.0
STATUS_EVERY_S = 10.0
SALVAGE_S = 10.0
"""How long the outputs of a run that hangs have to complete their files."""
EARLIER = 0.8
"""Of systemd's limit: this program ends itself before, so that it can say where it hangs."""


class Watchdog:
    """A context manager for the time in which the loop runs."""

    def __init__(
        self,
        supervisor: Supervisor,
        stuck_after_s: float,
        status: Callable[[], str],
        salvage: Callable[[], None],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        """`stuck_after_s`: 0 = never. `status` says in a line how the run is; `salvage` completes what can be completed
        while the loop hangs, and may hang itself."""
        self._supervisor = supervisor
        self._status = status
        self._salvage = salvage
        self._leave = leave
        environment = dict(os.environ)
        self._notify = partial(notify, environment=environment)
        systemd_s = watchdog_s(environment)
        limits = [limit for limit in (stuck_after_s, (systemd_s or 0.0) * EARLIER) if limit > 0]
        self._stuck_after_s = min(limits) if stuck_after_s > 0 and limits else None
        self._feed_every_s = None if systemd_s is None else systemd_s / 2
        shortest = min([MAX_TICK_S * 4, *limits, *([self._feed_every_s] if self._feed_every_s else [])])
        self._tick_s = shortest / 4
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._notify(f"READY=1\nSTATUS={self._status()}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._over.set()
        self._thread.join()
        self._notify("STOPPING=1\nSTATUS=" + ("completing files" if error is None else f"ending: {_line(error)}"))

    def _watch(self) -> None:
        now = time.monotonic()
        turns, silent_s, fed_at, told_at = self._supervisor.turns, 0.0, now, now
        while not self._over.wait(self._tick_s):
            before, now = now, time.monotonic()
            if self._supervisor.turns != turns:
                turns, silent_s = self._supervisor.turns, 0.0
            else:
                # Time in which this thread did not run either is not the loop's: the whole program was stopped.
                silent_s += min(now - before, 2 * self._tick_s)
            if self._stuck_after_s is not None and silent_s >= self._stuck_after_s:
                self._end(silent_s)
                return
            if self._feed_every_s is not None and now - fed_at >= self._feed_every_s - self._tick_s:
                if silent_s < self._feed_every_s:
                    self._notify("WATCHDOG=1")
                fed_at = now
            if now - told_at >= STATUS_EVERY_S:
                self._notify(f"STATUS={self._status()}")
                told_at = now

    def _end(self, silent_s: float) -> None:
        self._notify(f"STATUS=the loop has been stuck for {silent_s:.0f} s")
        logger.critical(
            "the loop has been stuck for %.0f s: the program ends with exit code %d. What its threads do:\n%s",
            silent_s,
            ExitCode.FAILED,
            stacks(),
        )
        # Another thread, because an output may hang as well.
        salvaging = threading.Thread(target=self._salvage, name="salvage", daemon=True)
        salvaging.start()
        salvaging.join(SALVAGE_S)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a terminal that was closed
                stream.flush()
        self._leave(ExitCode.FAILED)


def stacks() -> str:
    """What every thread does, the main thread first."""
    names: Dict[int, str] = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != threading.main_thread().ident)
    return "\n".join(
        f"thread {names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}" for number, frame in frames
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
