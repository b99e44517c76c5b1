"""Runs the builder in a process of its own.

Building takes minutes and a lot of memory, may be killed by the system and ignores Ctrl-C. In its own process it can be
stopped at any time, releases all memory, and a crash is an error that the program survives.
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
from app.inference.tensorrt_builder import BuildJob, BuildResult, build_plan
from app.types import MessageCallback

REPORT_EVERY_S = 1.0


class Step(NamedTuple):
    """What the builder is doing."""

    text: str


class Failed(NamedTuple):
    """Why it failed."""

    reason: str


class PictureWanted(NamedTuple):
    """The builder needs the next calibration picture."""


def run_builder(job: BuildJob, pictures: Optional[Iterator[np.ndarray]], report: MessageCallback) -> BuildResult:
    """Builds in another process; calls `report` about once a second with the current step. Raises ModelError."""
    context = multiprocessing.get_context("spawn")
    line, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(job, other_end), daemon=True, name=f"building {job.spec.name}")
    process.start()
    other_end.close()
    try:
        return _converse(line, process, pictures, report)
    finally:
        process.kill()
        process.join()
        line.close()


def _converse(
    line: Any, process: Any, pictures: Optional[Iterator[np.ndarray]], report: MessageCallback
) -> BuildResult:
    step = ""
    while True:
        if not line.poll(REPORT_EVERY_S):
            report(step)
            continue
        try:
            message = line.recv()
        except (EOFError, ConnectionError) as error:
            raise ModelError(_crash_text(process)) from error
        if isinstance(message, Step):
            step = message.text
            report(step)
        elif isinstance(message, PictureWanted):
            picture = next(pictures, None) if pictures is not None else None
            try:
                line.send(picture)
            except ConnectionError as error:
                raise ModelError(_crash_text(process)) from error
        elif isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        elif isinstance(message, Failed):
            raise ModelError(message.reason)
        else:
            built: BuildResult = message
            return built


def _crash_text(process: Any) -> str:
    process.join()
    code = process.exitcode
    if code == -signal.SIGKILL:
        return (
            "the builder was killed, probably because memory ran out: close other programs, add swap, or use a "
            "smaller --workspace"
        )
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return f"the builder crashed ({how}): an error in TensorRT or in its installation"


def _serve(job: BuildJob, line: Any) -> None:
    """Runs in the builder's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    sending = threading.Lock()

    def send(message: Any) -> None:
        with sending:
            line.send(message)

    def next_picture() -> Optional[np.ndarray]:
        send(PictureWanted())
        picture: Optional[np.ndarray] = line.recv()
        return picture

    _forward_log(job.log_level, send)
    try:
        built = build_plan(job, next_picture, lambda text: send(Step(text)))
    except ModelError as error:
        send(Failed(str(error)))
    except Exception as error:  # the root of this process's only thread that builds
        logging.getLogger(__name__).error("building %s failed", job.spec.name, exc_info=True)
        send(Failed(f"{type(error).__name__}: {error}"))
    else:
        send(built)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _forward_log(level: int, send: Callable[[Any], None]) -> None:
    class Forwarder(logging.Handler):
        """Forwards the records of this program only."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("app."):
                record.msg, record.args, record.exc_info = record.getMessage(), None, None
                send(record)

    root = logging.getLogger()
    root.handlers[:] = [Forwarder()]
    root.setLevel(level)
