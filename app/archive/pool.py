"""Processes of this machine that make parts. One that dies is replaced."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Iterator, List, NamedTuple, Optional, Sequence, Union

from app.archive.job import Job, Shard
from app.archive.parts import Part
from app.archive.rows import Row
from app.archive.shard import end_with, make_part, open_recognizer
from app.errors import AppError, FatalError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
REPORT_EVERY_S = 0.3
END_WITHIN_S = 20.0
MAX_DEATHS_AT_START = 3


class Counts(NamedTuple):
    """What was done."""

    rows: int = 0
    faces: int = 0
    errors: int = 0


@dataclass
class _Worker:
    process: BaseProcess
    line: Connection
    life: Connection
    """Says "stop"; the process ends when this end is closed, as it is when this process dies."""
    ready: bool = False
    shard: Optional[Shard] = None
    counts: Counts = Counts()
    """Of the shard at hand."""


class Made(NamedTuple):
    """How far the work is."""

    parts: Sequence[Part]
    """Those that were finished since the last time."""
    under_way: Counts
    """Of parts that are not finished yet."""


def work_locally(job: Job, shards: Iterator[Shard], workers: int, stop: threading.Event) -> Iterator[Made]:
    """Makes the parts of these shards, and says now and then how far that is.

    Ends early once `stop` is set: the shards at hand are left undone. Raises AppError if a part cannot be made.
    """
    pool: List[_Worker] = [_started(job, number) for number in range(workers)]
    again: List[Shard] = []
    deaths = 0
    try:
        while True:
            if stop.is_set():
                return
            for worker in pool:
                if worker.ready and worker.shard is None:
                    worker.shard = again.pop() if again else next(shards, None)
                    if worker.shard is not None:
                        with contextlib.suppress(OSError):  # it has died, which is noticed below
                            worker.line.send(worker.shard)
            if all(worker.ready and worker.shard is None for worker in pool):
                return
            wait([one for worker in pool for one in (worker.line, worker.process.sentinel)], LOOK_EVERY_S)
            parts: List[Part] = []
            for at, worker in enumerate(pool):
                died = worker.process.exitcode is not None
                with contextlib.suppress(EOFError, OSError):
                    while worker.line.poll():
                        parts += _heard(worker, worker.line.recv())
                if died:
                    deaths = deaths + 1 if not worker.ready else 0
                    if deaths >= MAX_DEATHS_AT_START:
                        raise FatalError(
                            f"a process of the batch died {deaths} times while it opened the networks (exit code "
                            f"{worker.process.exitcode}); there may be too little memory for {workers} of them: pass "
                            "--workers with fewer"
                        )
                    logger.warning("%s died (exit code %s) and is replaced", _what(worker), worker.process.exitcode)
                    if worker.shard is not None:
                        again.append(worker.shard)
                    worker.line.close()
                    worker.life.close()
                    pool[at] = _started(job, at)
            yield Made(parts, Counts(*map(sum, zip(*(worker.counts for worker in pool)))))
    finally:
        if stop.is_set() and any(worker.shard is not None for worker in pool):
            logger.warning("stopping after the pictures at hand; a second Ctrl-C stops at once")
        _end(pool)


def _what(worker: _Worker) -> str:
    return "a process of the batch" if worker.shard is None else f"the process that made part {worker.shard.number}"


def _heard(worker: _Worker, message: Union[Counts, Part, str, None]) -> List[Part]:
    """The part that the worker has finished, if that is what it says."""
    if isinstance(message, str):
        raise AppError(message)
    if isinstance(message, Part):
        worker.shard, worker.counts = None, Counts()
        return [message]
    if message is None:
        worker.ready = True
    else:
        worker.counts = message
    return []


def _started(job: Job, number: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    line, other_line = context.Pipe()
    other_life, life = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, other_line, other_life), name=f"batch {number}")
    process.start()
    other_line.close()
    other_life.close()
    return _Worker(process, line, life)


def _end(pool: List[_Worker]) -> None:
    for worker in pool:
        with contextlib.suppress(OSError):
            worker.life.send("stop")
        worker.line.close()
    give_up_at = time.monotonic() + END_WITHIN_S
    for worker in pool:
        worker.process.join(max(0.0, give_up_at - time.monotonic()))
        worker.life.close()
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()


def _work(job: Job, line: Connection, life: Connection) -> None:
    """One process of the pool."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stop = threading.Event()
    threading.Thread(target=_stop_with_parent, args=(life, stop), name="parent", daemon=True).start()
    code = 0
    try:
        _answer(job, line, stop)
    except (EOFError, BrokenPipeError):
        pass
    except AppError as error:
        with contextlib.suppress(OSError):
            line.send(str(error))
    except Exception:  # noqa: BLE001 - the root of the main thread of this process
        code = 1
        with contextlib.suppress(OSError):
            line.send(traceback.format_exc())
    # A thread in native code would abort the process.
    os._exit(code)


def _answer(job: Job, line: Connection, stop: threading.Event) -> None:
    """Says None when it is ready, `Counts` now and then, and each `Part`."""
    counts = Counts()
    reported_at = 0.0

    def report(row: Row) -> bool:
        nonlocal counts, reported_at
        counts = Counts(counts.rows + 1, counts.faces + len(row.faces), counts.errors + (row.error is not None))
        if time.monotonic() - reported_at > REPORT_EVERY_S:
            reported_at = time.monotonic()
            with contextlib.suppress(OSError):  # nobody listens while the pool ends
                line.send(counts)
        return not stop.is_set()

    with open_recognizer(job) as recognizer:
        line.send(None)
        while not stop.is_set():
            part = make_part(job, line.recv(), recognizer, report)
            if part is not None:
                line.send(part)
            counts = Counts()


def _stop_with_parent(life: Connection, stop: threading.Event) -> None:
    with contextlib.suppress(EOFError, OSError):
        life.recv()
        stop.set()
    end_with(life)
