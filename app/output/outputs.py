"""Where results go: independent outputs, the slow ones with a thread and a bounded queue of their own.

An output that fails is dropped with one error message; everything else continues.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Callable, Deque, List, Optional, Protocol, Sequence, Tuple, Type, runtime_checkable

from app.errors import DeathCallback, OutputError
from app.text import counted, kind_of
from app.types import FrameResult

logger = logging.getLogger(__name__)

QUEUE_BYTES = 128_000_000
STUCK_AFTER_S = 60.0
"""An output that takes nothing for this long (a network drive that hangs) is dropped."""


class Output(Protocol):
    """Something that takes results, one after the other, from one thread."""

    @property
    def name(self) -> str:
        """The name in messages."""
        ...

    def handle(self, result: FrameResult) -> None:
        """Takes one result, which others share: it must not be changed. Raises OutputError if the output fails."""
        ...

    def close(self) -> None:
        """Finishes the output. Called once, also after a failure."""
        ...


class Control(enum.Enum):
    """What an output wants of the run."""

    RUN = "run"
    PAUSE = "pause"
    """No frames are read until the output wants something else."""
    STOP = "stop"


@runtime_checkable
class InteractiveOutput(Output, Protocol):
    """An output that is also polled between frames, from the same thread: a window, a progress line."""

    def poll(self) -> Control:
        """Does what is due and returns quickly. Raises OutputError when the output cannot go on."""
        ...


@runtime_checkable
class FileOutput(Output, Protocol):
    """An output that writes files."""

    @property
    def written(self) -> Sequence[Path]:
        """The files that are complete and not empty; known once it is closed."""
        ...

    @property
    def lost(self) -> Sequence[str]:
        """What is not complete, and why; final once it is closed."""
        ...


@runtime_checkable
class RetryingOutput(Output, Protocol):
    """An output that leaves out what it cannot write, and goes on when it can."""

    @property
    def is_working(self) -> bool:
        """Whether it could write the last result that it got. Asked from another thread."""
        ...


@dataclass(frozen=True)
class OutputStatus:
    """A snapshot of an output with a thread of its own."""

    kind: str
    """Such as `video_output`: unlike the name, without a path."""
    channel: Optional[str]
    waiting: int
    """Results in its queue."""
    handled: int
    skipped: int
    failed: int
    is_working: bool


class OutputThread:
    """Runs one output in a separate thread; is itself an output, one that never raises.

    `handled + skipped + failed` is the number of results handed over, once it is closed.
    """

    def __init__(
        self,
        output: Output,
        queue_frames: int = 8,
        *,
        queue_bytes: int = QUEUE_BYTES,
        channel: Optional[str] = None,
        stuck_after_s: float = STUCK_AFTER_S,
        on_death: Optional[DeathCallback] = None,
    ) -> None:
        """`channel`: the output gets the results of this channel only; None for all. The frames that wait have at most
        `queue_bytes`, or it is a single one.

        `on_death` is called when the output fails by a bug: then it goes on with the next result, and without
        `on_death` it is dropped.
        """
        if queue_frames < 1:
            raise ValueError(f"queue_frames must be at least 1, not {queue_frames}")
        self.name = output.name
        self.handled = 0
        self.skipped = 0
        """Results of live sources that arrived while the queue was full."""
        self.failed = 0
        """Results lost because the output had failed."""
        self.error: Optional[BaseException] = None
        """Why the output was dropped."""
        self._output = output
        self._channel = channel
        self._queue_frames = queue_frames
        self._queue_bytes = queue_bytes
        self._stuck_after_s = stuck_after_s
        self._on_death = on_death
        self._waiting: Deque[FrameResult] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"output {output.name}", daemon=True)
        self._thread.start()

    def handle(self, result: FrameResult) -> None:
        """Queues the result. Waits for room unless the source is live."""
        if self._channel is not None and result.frame.source != self._channel:
            return
        with self._changed:
            if self._closing:
                raise RuntimeError(f"{self.name} is closed")
            if self._is_full(result) and not result.frame.live:
                self._wait_for_room(result)
            if self.error is not None:
                self.failed += 1
            elif self._is_full(result):
                self.skipped += 1
            else:
                self._waiting.append(result)
                self._changed.notify_all()

    def close(self) -> None:
        """Waits until the output has taken what is queued and is closed."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self._stuck_after_s)
        if self._thread.is_alive():
            with self._changed:
                self._give_up(OutputError(f"it did not finish within {self._stuck_after_s:.0f} s"))
        elif self.skipped:
            logger.info(
                "%s: %d frames written, %d skipped (slower than the source)", self.name, self.handled, self.skipped
            )

    def status(self) -> OutputStatus:
        with self._changed:
            return OutputStatus(
                kind=kind_of(self._output),
                channel=self._channel,
                waiting=len(self._waiting),
                handled=self.handled,
                skipped=self.skipped,
                failed=self.failed,
                is_working=self.error is None
                and (not isinstance(self._output, RetryingOutput) or self._output.is_working),
            )

    @property
    def written(self) -> Tuple[Path, ...]:
        if self.error is not None or not isinstance(self._output, FileOutput):
            return ()
        return tuple(self._output.written)

    @property
    def lost(self) -> Tuple[str, ...]:
        of_output = self._output.lost if isinstance(self._output, FileOutput) else ()
        if self.error is not None:
            return (*of_output, f"{self.name}: {self.error}")
        missing = f"{self.name}: {counted(self.failed, 'frame')} missing, because of a bug in this program"
        return (*of_output, missing) if self.failed else tuple(of_output)

    def _is_full(self, another: FrameResult) -> bool:
        """Whether the queue has no room for the result. A single one always fits."""
        if self.error is not None or not self._waiting:
            return False
        size = another.frame.image.nbytes + sum(result.frame.image.nbytes for result in self._waiting)
        return len(self._waiting) >= self._queue_frames or size > self._queue_bytes

    def _wait_for_room(self, another: FrameResult) -> None:
        handled = self.handled
        while self._is_full(another):
            if self._changed.wait(self._stuck_after_s):
                continue
            if self.handled == handled:
                self._give_up(OutputError(f"it has been blocked for {self._stuck_after_s:.0f} s"))
            handled = self.handled

    def _give_up(self, error: BaseException) -> None:
        """Drops the output; the lock is held."""
        if self.error is not None:
            return
        self.error = error
        self.failed += len(self._waiting)
        self._waiting.clear()
        self._changed.notify_all()
        expected = isinstance(error, (OutputError, OSError))
        logger.error(
            "%s failed; the run continues without it: %s",
            self.name,
            error if expected else f"{type(error).__name__}: {error}",
            exc_info=None if expected else error,
        )

    def _work(self) -> None:
        """The root of the thread: every error of the output ends here."""
        try:
            while True:
                result = self._next()
                if result is None:
                    break
                if self._handle(result):
                    with self._changed:
                        self.handled += 1
        except Exception as error:  # noqa: BLE001 - thread root
            with self._changed:
                self.failed += 1
                self._give_up(error)
        try:
            self._output.close()
        except Exception as error:  # noqa: BLE001 - thread root
            with self._changed:
                if self.error is not None:
                    logger.debug("%s could not be closed: %s", self.name, error)
                self._give_up(error)

    def _handle(self, result: FrameResult) -> bool:
        try:
            self._output.handle(result)
        except (OutputError, OSError):
            raise
        except Exception as error:  # the root of a thread: `on_death` ends the run if this happens too often
            if self._on_death is None:
                raise
            logger.error("%s: a frame is missing: %r", self.name, error, exc_info=error)
            with self._changed:
                self.failed += 1
            self._on_death(self.name, repr(error))
            return False
        return True

    def _next(self) -> Optional[FrameResult]:
        """The next result, or None at the end."""
        with self._changed:
            while not self._waiting and not self._closing and self.error is None:
                self._changed.wait()
            if not self._waiting or self.error is not None:
                return None
            result = self._waiting.popleft()
            self._changed.notify_all()
            return result


class Outputs:
    """All outputs of a run, as one. One that raises is dropped, with or without a thread of its own."""

    def __init__(
        self, outputs: Sequence[Output] = (), cover: Optional[Callable[[FrameResult], FrameResult]] = None
    ) -> None:
        """`cover` gives the result that they get, in which faces are hidden."""
        self._cover = cover
        self._outputs: List[Output] = []
        self._working: List[Output] = []
        self._interactive: List[InteractiveOutput] = []
        self._dropped: List[str] = []
        self._written: List[Path] = []
        for output in outputs:
            self.add(output)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def add(self, output: Output) -> None:
        self._outputs.append(output)
        self._working.append(output)
        if isinstance(output, InteractiveOutput):
            self._interactive.append(output)

    def status(self) -> Tuple[OutputStatus, ...]:
        """A snapshot of each that has a thread of its own; called from any thread."""
        return tuple(output.status() for output in tuple(self._outputs) if isinstance(output, OutputThread))

    def handle(self, result: FrameResult) -> None:
        if self._cover is not None:
            result = self._cover(result)
        for output in tuple(self._working):
            try:
                output.handle(result)
            except (OutputError, OSError) as error:
                self._drop(output, error)

    def poll(self) -> Control:
        """Polls the interactive ones: STOP has precedence over PAUSE, and PAUSE over RUN."""
        wanted = [Control.RUN]
        for output in tuple(self._interactive):
            try:
                wanted.append(output.poll())
            except (OutputError, OSError) as error:
                self._drop(output, error)
        return next(control for control in (Control.STOP, Control.PAUSE, Control.RUN) if control in wanted)

    def _drop(self, output: Output, error: Exception) -> None:
        """The output gets no more results."""
        self._working.remove(output)
        self._interactive = [other for other in self._interactive if other is not output]
        self._dropped.append(f"{output.name}: {error}")
        logger.error("%s failed; the run continues without it: %s", output.name, error)

    def close(self) -> None:
        """Closes all of them, even if one fails."""
        outputs, self._outputs, self._working, self._interactive = self._outputs, [], [], []
        # An ExitStack closes the others also after a bug in one of them, and raises its error at the end.
        with contextlib.ExitStack() as stack:
            for output in reversed(outputs):
                stack.callback(self._close, output)
        for output in outputs:
            if isinstance(output, FileOutput):
                self._dropped.extend(output.lost)
                self._written.extend(output.written)

    def _close(self, output: Output) -> None:
        try:
            output.close()
        except (OutputError, OSError) as error:
            self._dropped.append(f"{output.name}: {error}")
            logger.error("%s could not be completed: %s", output.name, error)

    @property
    def lost(self) -> Tuple[str, ...]:
        """The outputs that are incomplete, with the reason; final once they are closed."""
        return tuple(self._dropped)

    @property
    def written(self) -> Tuple[Path, ...]:
        """The files that are complete and not empty; known once the outputs are closed."""
        return tuple(self._written)
