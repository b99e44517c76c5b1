"""The builder in a process of its own.

Building takes minutes and more memory than all the rest, can be killed for it, and hears no Ctrl-C. In a process of
its own it can be ended at any time, gives everything back, and a crash is an error that the program survives.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from typing import Any, Callable, Iterator, NamedTuple, Optional

import numpy as np

from app.errors import ModelError
from app.inference.build_job import BuildJob, Built

ELAPSED_EVERY_S = 1.0

Tell = Callable[[str], None]


class Step(NamedTuple):
    """What the builder is doing."""

    text: str


class Failed(NamedTuple):
    """Why it could not be done."""

    reason: str


class PictureWanted(NamedTuple):
    """The next picture to calibrate with is asked for."""


def run_builder(job: BuildJob, pictures: Optional[Iterator[np.ndarray]], tell: Tell) -> Built:
    """Builds in another process; `tell` hears about once a second what it is doing. Raises ModelError."""
    context = multiprocessing.get_context("spawn")
    line, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(job, other_end), daemon=True, name=f"building {job.name}")
    process.start()
    other_end.close()
    try:
        return _converse(line, process, pictures, tell)
    finally:
        process.kill()
        process.join()
        line.close()


def _converse(line: Any, process: Any, pictures: Optional[Iterator[np.ndarray]], tell: Tell) -> Built:
    step = ""
    while True:
        if not line.poll(ELAPSED_EVERY_S):
            tell(step)
            continue
        try:
            message = line.recv()
        except (EOFError, ConnectionError) as error:
            raise ModelError(_end_of(process)) from error
        if isinstance(message, Step):
            step = message.text
            tell(step)
        elif isinstance(message, PictureWanted):
            picture = next(pictures, None) if pictures is not None else None
            try:
                line.send(picture)
            except ConnectionError as error:
                raise ModelError(_end_of(process)) from error
        elif isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        elif isinstance(message, Failed):
            raise ModelError(message.reason)
        else:
            built: Built = message
            return built


def _end_of(process: Any) -> str:
    process.join()
    code = process.exitcode
    if code == -signal.SIGKILL:
        return (
            "the builder was killed, most likely for lack of memory: close other programs, add swap, or give a "
            "smaller --workspace"
        )
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"the builder ended {how}, which is a fault in TensorRT or in its installation"


def _serve(job: BuildJob, line: Any) -> None:
    """The builder's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sending = threading.Lock()

    def send(message: Any) -> None:
        with sending:
            line.send(message)

    def next_picture() -> Optional[np.ndarray]:
        send(PictureWanted())
        picture: Optional[np.ndarray] = line.recv()
        return picture

    _forward_log(job.log_level, send)
    from app.inference.tensorrt_builder import build_plan

    try:
        built = build_plan(job, next_picture, lambda text: send(Step(text)))
    except ModelError as error:
        send(Failed(str(error)))
    except Exception as error:  # the root of this process's only thread that builds
        logging.getLogger(__name__).error("building %s failed", job.name, exc_info=True)
        send(Failed(f"{type(error).__name__}: {error}"))
    else:
        send(built)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _forward_log(level: int, send: Callable[[Any], None]) -> None:
    class Forwarder(logging.Handler):
        """Only what is ours: other packages talk about how they may be used."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("app."):
                record.msg, record.args, record.exc_info = record.getMessage(), None, None
                send(record)

    root = logging.getLogger()
    root.handlers[:] = [Forwarder()]
    root.setLevel(level)
