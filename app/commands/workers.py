"""Several processes that answer on the same ports: a parent that starts and replaces them, and what each one does."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Dict, List, Optional

from app.commands import run
from app.commands.logs import configure_logging
from app.commands.serve import LOOK_EVERY_S, answer
from app.credentials import refuse_telemetry
from app.errors import AppError, ExitCode, FatalError, SettingsError
from app.settings import Settings
from app.supervision.supervisor import WINDOW_S, Supervisor
from app.supervision.watchdog import Watchdog

logger = logging.getLogger(__name__)

RELOAD_EVERY_S = 0.5
"""How soon a worker notices what was changed through another one."""
MAX_BACK_OFF_S = 8.0
END_WITHIN_S = 20.0
"""A worker that needs longer to answer what has begun is killed."""


@dataclass
class Worker:
    process: BaseProcess
    line: Connection
    """Ends with this process, and the worker ends with it."""
    started_at: float
    answers: bool = False
    error: str = ""


def serve_with_workers(settings: Settings) -> None:
    """Until it is stopped. Raises SettingsError if a worker refuses, FatalError if one dies again and again."""
    from app.service.server import check_ports

    check_ports(settings.serve)
    reload_every_s = min(settings.gallery.reload_every_s or RELOAD_EVERY_S, RELOAD_EVERY_S)
    settings = replace(settings, gallery=replace(settings.gallery, reload_every_s=reload_every_s))
    stop, supervisor = run.stop_on_signals(), Supervisor()
    workers: Dict[int, Worker] = {}
    deaths: Counter[int] = Counter()
    # The first one alone, so that photos are examined once.
    start_at = {1: time.monotonic()}
    with contextlib.ExitStack() as stack:
        stack.callback(_end, workers)
        while not stop.is_set():
            for number in [number for number, at in start_at.items() if at <= time.monotonic()]:
                del start_at[number]
                workers[number] = _start(settings, number)
            supervisor.check()
            wait([*(one.process.sentinel for one in workers.values()), *_silent(workers)], LOOK_EVERY_S)
            for number, worker in list(workers.items()):
                has_ended = worker.process.exitcode is not None
                if _has_begun_to_answer(worker):
                    logger.info("worker %d answers, process %d", number, worker.process.pid)
                    if len(workers) == 1 and not start_at:
                        stack.enter_context(
                            Watchdog(supervisor, settings.run.end_if_stuck_s, lambda: "answering requests", _nothing)
                        )
                        others = set(range(1, settings.serve.workers + 1)) - {number}
                        start_at = dict.fromkeys(others, time.monotonic())
                if has_ended:
                    del workers[number]
                    worker.line.close()
                    if worker.process.exitcode == ExitCode.USER_ERROR:
                        raise SettingsError(worker.error)
                    lived_s = time.monotonic() - worker.started_at
                    deaths[number] = 1 if lived_s > WINDOW_S else deaths[number] + 1
                    start_at[number] = time.monotonic() + min(2.0 ** (deaths[number] - 1), MAX_BACK_OFF_S)
                    supervisor.died(f"worker {number}", worker.error or f"exit code {worker.process.exitcode}")


def _nothing() -> None:
    """All files are those of the workers."""


def _silent(workers: Dict[int, Worker]) -> List[Connection]:
    return [one.line for one in workers.values() if not one.answers and not one.error]


def _has_begun_to_answer(worker: Worker) -> bool:
    """Reads what a worker says: an empty text when it answers, or why it ends."""
    began = False
    with contextlib.suppress(EOFError, OSError):
        while worker.line.poll():
            worker.error = worker.line.recv()
            began = began or not worker.error
    worker.answers = worker.answers or began
    return began


def _start(settings: Settings, number: int) -> Worker:
    context = multiprocessing.get_context("spawn")
    line, other_end = context.Pipe()
    process = context.Process(target=work, args=(settings, number, other_end), name=f"worker {number}")
    process.start()
    other_end.close()
    return Worker(process, line, time.monotonic())


def _end(workers: Dict[int, Worker]) -> None:
    for worker in workers.values():
        worker.line.close()
    give_up_at = time.monotonic() + END_WITHIN_S
    for number, worker in workers.items():
        worker.process.join(max(0.0, give_up_at - time.monotonic()))
        if worker.process.exitcode is None:
            logger.warning("worker %d did not end within %g s, and is killed", number, END_WITHIN_S)
            worker.process.kill()
            worker.process.join()


def device_of(number: int, visible: Optional[str], count: int) -> Optional[str]:
    """The GPU of a worker, as CUDA_VISIBLE_DEVICES. `visible` is what this was before; `count`: the GPUs there are."""
    devices = list(map(str, range(count))) if visible is None else [one for one in visible.split(",") if one.strip()]
    return devices[(number - 1) % len(devices)].strip() if len(devices) > 1 else visible


def work(settings: Settings, number: int, line: Connection) -> None:
    """One worker, in a separate process."""
    faulthandler.enable()
    refuse_telemetry()
    device = device_of(number, os.environ.get("CUDA_VISIBLE_DEVICES"), len(list(Path("/dev").glob("nvidia[0-9]*"))))
    # systemd hears from the parent.
    os.environ.pop("NOTIFY_SOCKET", None)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    stop, answers = threading.Event(), threading.Event()
    # Ctrl-C reaches all processes of a terminal; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_with_parent, args=(line, stop, answers), name="parent", daemon=True).start()

    def on_ready() -> None:
        answers.set()
        line.send("")

    try:
        answer(settings, configure_logging(settings.run.log_level), stop, on_ready)
        code = ExitCode.DONE
    except AppError as error:
        code = ExitCode.FAILED if isinstance(error, FatalError) else ExitCode.USER_ERROR
        with contextlib.suppress(OSError):
            line.send(str(error))
    except Exception:  # the root of the main thread of this process
        logger.exception("worker %d failed", number)
        code = ExitCode.INCOMPLETE
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # As in `cli.leave`: a thread in native code would abort the process.
    os._exit(code)


def _stop_with_parent(line: Connection, stop: threading.Event, answers: threading.Event) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.recv()
    stop.set()
    if not answers.is_set():
        os._exit(ExitCode.DONE)
