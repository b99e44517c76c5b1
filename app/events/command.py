"""Events for a command of the user, which is started once for each."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import BinaryIO, Dict, List, Set

from app.errors import SettingsError
from app.events.event import Event
from app.events.sinks import FLUSH_S, SinkGoneError
from app.settings import OnEventSettings
from app.text import counted

logger = logging.getLogger(__name__)

SHOWN_BYTES = 300
"""Of what a command that failed wrote to standard error."""


class EventCommand:
    """A sink. Starts no shell: the words of the setting are the command and its arguments, and what comes from a
    camera or a name is only on its standard input and in its environment.

    A command that fails or takes too long is logged, and not repeated.
    """

    name = "on-event"

    def __init__(self, settings: OnEventSettings) -> None:
        """Raises SettingsError for a command that does not exist."""
        self._words = split_command(settings.command or "")
        self._timeout_s = settings.timeout_s
        self._max_running = settings.max_running
        self._changed = threading.Condition()
        self._running: Set[subprocess.Popen[bytes]] = set()
        self.failed = 0
        self.finished = 0
        self._last_failed = False
        self._closing = False

    def write(self, event: Event) -> None:
        """Starts the command, as soon as fewer than `max_running` are running."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._running) < self._max_running or self._closing)
            if self._closing:
                raise SinkGoneError(f"{counted(self._max_running, 'command')} still running when the run ended")
        # Files instead of pipes: a command that does not read, or that leaves a program behind, blocks nothing.
        with contextlib.ExitStack() as stack:
            given, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            given.write(json.dumps(event.as_json()).encode() + b"\n")
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self._words,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={**os.environ, **environment(event)},
                    start_new_session=True,  # Ctrl-C is for this program, and a time-out ends all that it started
                )
            except OSError as error:
                self._ended(event, f"cannot be started: {error.strerror}")
                return
            with self._changed:
                self._running.add(process)
            stack.pop_all()
        threading.Thread(
            target=self._watch, args=(process, event, given, errors), name="on-event command", daemon=True
        ).start()

    def close(self) -> None:
        """Waits for commands that are running, within a bounded time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running or self._closing, FLUSH_S)
        self.abort()
        with self._changed:
            self._changed.wait_for(lambda: not self._running, FLUSH_S)
            failed, total = self.failed, self.failed + self.finished
        if failed:
            logger.warning("on-event: %d of %s failed", failed, counted(total, "command"))

    def abort(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            left = list(self._running)
        for process in left:
            _end(process)

    def _watch(self, process: subprocess.Popen[bytes], event: Event, given: BinaryIO, errors: BinaryIO) -> None:
        problem = ""
        try:
            code = process.wait(self._timeout_s)
            if code:
                problem = f"ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
        except subprocess.TimeoutExpired:
            problem = f"did not end within {self._timeout_s:g} s (on_event.timeout_s) and was killed"
            _end(process)
            process.wait()
        with given, errors:
            if self._closing and problem:
                problem = "was still running when the run ended, and was killed"
            if problem:
                size = errors.seek(0, os.SEEK_END)
                errors.seek(max(0, size - SHOWN_BYTES))
                said = errors.read().decode(errors="replace").strip()
                problem += f": {said}" if said else ""
        self._ended(event, problem)
        with self._changed:  # after it was counted, because `close` waits for this, and then reports the numbers
            self._running.discard(process)
            self._changed.notify_all()

    def _ended(self, event: Event, problem: str) -> None:
        with self._changed:
            was_failing, self._last_failed = self._last_failed, bool(problem)
            self.failed += bool(problem)
            self.finished += not problem
        if problem:
            # Every failure would fill the log of a command that always fails.
            level = logging.DEBUG if was_failing else logging.WARNING
            logger.log(level, "on-event: %s %s (event %d)", self._words[0], problem, event.sequence)
        elif was_failing:
            logger.info("on-event: %s works again", self._words[0])


def split_command(command: str) -> List[str]:
    """The command and its arguments, as a shell would split them. Raises SettingsError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"on_event.command (--on-event) = {command!r}: {error}") from error
    if not words:
        raise SettingsError("on_event.command (--on-event) is empty; expected a command such as 'notify.sh --door'")
    words[0] = os.path.expanduser(words[0])  # noqa: PTH111 - a Path would lose the ./ of ./notify.sh
    if shutil.which(words[0]) is None:
        raise SettingsError(
            f"on_event.command (--on-event): {words[0]} does not exist or is not executable; for the syntax of a "
            "shell, use sh -c '…'"
        )
    return words


def environment(event: Event) -> Dict[str, str]:
    """What short scripts need, without parsing JSON. Empty where there is none."""
    record = event.as_json()
    variables = {
        "EVENT": record["event"],
        "EVENT_CHANNEL": record["channel"],
        "EVENT_TIME": record["time"],
        "EVENT_SEQUENCE": record["sequence"],
        "EVENT_NAME": record.get("name"),
        "EVENT_STRANGER": record.get("stranger"),
    }
    return {name: "" if value is None else str(value).replace("\0", "") for name, value in variables.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    """With everything that it has started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
