"""Makes one part: the same in a pool of processes and on a cluster, once or several times."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Callable, Generator, Iterator, List, Optional, Union

from app.archive.job import Job, Shard, networks_of
from app.archive.parts import Part, described, write_part
from app.archive.rows import Row, rows_of, shown
from app.errors import AppError, OutputError, SourceError
from app.recognizer import Recognizer

MAX_ATTEMPTS = 2
"""A shard whose process died this often is made carefully."""
ITEM_LIMIT_S = 120.0
"""A picture that takes longer ends the process, as a crash would."""

ItemCallback = Callable[[Row], bool]
"""Called with each row that is done; False: stop here."""


def open_recognizer(job: Job) -> Recognizer:
    """The networks of this job. Raises AppError where this machine would run them in another way."""
    recognizer = Recognizer.from_settings(job.settings)
    try:
        _require_networks(job, recognizer)
    except AppError:
        recognizer.close()
        raise
    return recognizer


def make_part(job: Job, shard: Shard, recognizer: Recognizer, on_item: ItemCallback) -> Optional[Part]:
    """Makes the part unless it exists; None if `on_item` stopped it.

    Before the work begins, the attempt is counted in a file, so that a picture that ends the process, here or on any
    machine, is noticed: after two attempts the pictures are read by a process that may die.
    """
    path = job.part(shard.number)
    if path.exists():
        return described(path, job.name)
    if not job.root.is_dir():
        raise SourceError(f"{job.root}: this folder of the archive is not there; mount it, and go on")
    attempts = attempts_file(job.out, shard.number)
    before = attempts_of(job.out, shard.number)
    try:
        attempts.parent.mkdir(exist_ok=True)
        with attempts.open("ab") as file:
            file.write(b".")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if path.exists():  # another run made it, and cleaned up
            return described(path, job.name)
        raise OutputError(f"{attempts} cannot be written: {error.strerror}") from error
    rows: List[Row] = []
    made = _rows_carefully(job, shard) if before >= MAX_ATTEMPTS else _rows_with_limit(job, shard, recognizer)
    try:
        with contextlib.closing(made):
            for row in made:
                rows.append(row)
                if not on_item(row):
                    _forget(attempts)
                    return None
        _require_networks(job, recognizer)
        part = write_part(job, shard.number, rows, recognizer.embedder.dimensions)
    except (AppError, KeyboardInterrupt):
        _forget(attempts)
        raise
    _forget(attempts)
    return part


def attempts_file(out: Path, number: int) -> Path:
    return out / "attempts" / f"{number:06d}"


def attempts_of(out: Path, number: int) -> int:
    """How often a shard was begun and not finished."""
    try:
        return attempts_file(out, number).stat().st_size
    except OSError:
        return 0


def _forget(attempts: Path) -> None:
    with contextlib.suppress(OSError):
        attempts.unlink()


def _require_networks(job: Job, recognizer: Recognizer) -> None:
    here, wanted = networks_of(recognizer), job.facts["networks"]
    if here != wanted:
        raise AppError(
            f"this machine runs the networks on {here}, but the job was begun with {wanted}; choose one with --backend "
            "and --precision"
        )


def _rows_with_limit(job: Job, shard: Shard, recognizer: Recognizer) -> Generator[Row, None, None]:
    rows = rows_of(job, shard, recognizer)
    try:
        while True:
            faulthandler.dump_traceback_later(ITEM_LIMIT_S, exit=True)
            row = next(rows, None)
            if row is None:
                return
            yield row
    finally:
        faulthandler.cancel_dump_traceback_later()


def _rows_carefully(job: Job, shard: Shard) -> Generator[Row, None, None]:
    """One picture after the other in a process that may die. The picture that it died at gets a process of its own;
    if that dies too, the row says so."""
    reader = _Reader(job)
    try:
        for item in _items(shard):
            rows = reader.read(item)
            if isinstance(rows, str):
                rows = reader.read(item)
            died = isinstance(rows, str)
            if isinstance(rows, str):
                position = item.first * job.every_s if item.video else None
                file = item.video or item.pictures[0]
                rows = [Row(shown(file), position, error=f"ended the process that read it, twice ({rows})")]
            yield from rows
            if shard.video and rows and rows[-1].error is not None and rows[-1].width is None and not died:
                return  # the video has no frames from here on, which is said once
    finally:
        reader.close()


def _items(shard: Shard) -> Iterator[Shard]:
    if shard.video:
        for index in range(shard.first, shard.first + shard.count):
            yield replace(shard, first=index, count=1)
    else:
        for file in shard.pictures:
            yield replace(shard, pictures=(file,))


def end_with(life: Connection) -> None:
    """Ends this process when the other end is closed, as it is when the process there dies."""
    with contextlib.suppress(EOFError, OSError):
        life.recv()
    os._exit(0)


class _Reader:
    """A process that reads pictures one at a time, and is replaced when it dies."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: Optional[BaseProcess] = None
        self._line: Optional[Connection] = None
        self._life: Optional[Connection] = None
        """The process ends with this one, even while it reads a picture."""

    def read(self, item: Shard) -> Union[List[Row], str]:
        """The rows of the item, or how the process ended."""
        if self._process is None or self._line is None:
            context = multiprocessing.get_context("spawn")
            self._line, other_end = context.Pipe()
            other_life, self._life = context.Pipe(duplex=False)
            process = context.Process(target=_read_items, args=(self._job, other_end, other_life), name="reader")
            process.start()
            self._process = process
            other_end.close()
            other_life.close()
        with contextlib.suppress(EOFError, OSError):
            self._line.send(item)
            wait([self._line, self._process.sentinel])
            answer = self._line.recv()
            if isinstance(answer, str):
                raise AppError(answer)
            return list(answer)
        self._process.join()
        code = self._process.exitcode or 0
        self.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        if self._process is not None and self._line is not None and self._life is not None:
            self._line.close()
            self._life.close()
            self._process.kill()
            self._process.join()
        self._process = self._line = self._life = None


def _read_items(job: Job, line: Connection, life: Connection) -> None:
    """Until the other end is closed."""
    threading.Thread(target=end_with, args=(life,), name="parent", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        try:
            with open_recognizer(job) as recognizer:
                while True:
                    line.send(list(_rows_with_limit(job, line.recv(), recognizer)))
        except AppError as error:
            line.send(str(error))
