"""A network on another machine: an `Engine` that sends pictures of faces, and goes on without its server.

Requests and checks are made by a thread of its own, so that the caller never waits longer than the limit, also if the
server, the network or the resolution of its name hangs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Callable, Deque, Dict, Mapping, NamedTuple, Optional, Protocol, Tuple

import numpy as np

from app.errors import ModelError, NotNowError
from app.inference.backends import OpenedNetwork
from app.inference.engine import TensorSpec, misfit
from app.inference.remote.circuit import Circuit
from app.inference.remote.protocol import Client, RefusedError, RemoteAddress, RemoteError
from app.inference.remote.right_model import INPUT, Known, chosen_names
from app.text import counted

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 5.0
"""Of each step of a check at least. A server that has just started computes its first answer slowly."""
MAX_BATCH = 16
"""Of requests, and of exported models. One place is for a known picture."""
_P95_OF = 200


class LocalNetwork(Protocol):
    """The same network on this machine."""

    def infer(self, crops: np.ndarray) -> Dict[str, np.ndarray]: ...

    @property
    def runs_on(self) -> Optional[OpenedNetwork]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class RemotePolicy:
    """`remote.*` of the settings."""

    timeout_s: float
    defers: bool
    """Without the server, those that can wait get no answer, instead of this machine's."""


class RemoteStatus(NamedTuple):
    """For metrics. Counts are of requests, each with one or more faces."""

    address: str
    is_up: bool
    answered: int
    failed: int
    """Each of them was answered by this machine, or not at all."""
    local: int
    deferred: int
    p95_s: float
    """Of the last answers; 0 without any."""
    sent_bytes: int
    """Of the bodies of all requests, checks included."""
    received_bytes: int
    trouble: str
    """Why it is not up; empty if it is."""

    def __str__(self) -> str:
        found = [f"{counted(self.answered, 'request')} answered"]
        found += [f"p95 {1000 * self.p95_s:.0f} ms"] * bool(self.answered)
        found += [f"{self.failed} failed"] * bool(self.failed)
        found += [f"{self.local} answered by this machine"] * bool(self.local)
        found += [f"{self.deferred} put off"] * bool(self.deferred)
        return f"{self.address}: {', '.join(found)}, {self.sent_bytes / 1e6:.1f} MB sent"


class RemoteNetwork:
    """An `Engine` whose input are pictures as they were cut out: N x H x W x 3, uint8, BGR."""

    def __init__(
        self,
        name: str,
        address: RemoteAddress,
        client: Client,
        known: Known,
        output: TensorSpec,
        open_local: Callable[[], LocalNetwork],
        policy: RemotePolicy,
    ) -> None:
        """Asks the server whether it has the right model, and raises ModelError if it has another one. If it cannot be
        reached, that is logged, and it is asked again later.

        `open_local` is called on the thread that calls `run`, when it is needed for the first time: at once, unless
        faces may wait.
        """
        self.name = name
        self.inputs = (TensorSpec(INPUT, (None, *known.pictures.shape[1:]), np.dtype(np.uint8)),)
        self.outputs = (output,)
        self.max_batch: Optional[int] = MAX_BATCH - 1
        self.defers = policy.defers
        self._address = address
        self._client = client
        self._known = known
        self._open_local = open_local
        self._local: Optional[LocalNetwork] = None
        self._timeout_s = policy.timeout_s
        self._names = (INPUT, output.name)
        self._circuit = Circuit()
        self._verified_connection: Optional[int] = None
        self._trouble: Optional[ModelError] = None
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[Optional[Tuple[np.ndarray, Future[np.ndarray]]]] = queue.SimpleQueue()
        self._is_closed = False
        self._answered = self._failed = self._answered_here = self._deferred = 0
        self._latencies_s: Deque[float] = deque(maxlen=_P95_OF)
        if not policy.defers:
            self._local = open_local()
        try:
            self._check(first=True)
        except ModelError:
            client.close()
            if self._local is not None:
                self._local.close()
            raise
        threading.Thread(target=self._work, name=f"remote {name}", daemon=True).start()

    @property
    def deferring(self) -> DeferringNetwork:
        """The same for callers that wait instead of using this machine. It is closed with this one."""
        return DeferringNetwork(self)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        answer = self.ask(feeds)
        if answer is not None:
            return answer
        if self._local is None:
            self._local = self._open_local()
        self._answered_here += 1
        (pictures,) = feeds.values()
        outputs = self._local.infer(pictures)
        return {self.outputs[0].name: outputs[self.outputs[0].name]}

    def ask(self, feeds: Mapping[str, np.ndarray]) -> Optional[Dict[str, np.ndarray]]:
        """The server's answer; None if it is not asked, or does not answer in time."""
        wrong_input = misfit(self.inputs, feeds)
        if wrong_input:
            raise ModelError(f"{self.name} on {self._address}: {wrong_input}")
        if not self._circuit.is_closed:
            return None
        began = time.monotonic()
        (pictures,) = feeds.values()
        request: Future[np.ndarray] = Future()
        self._requests.put((pictures, request))
        try:
            answer = request.result(self._timeout_s)
        except FutureTimeoutError:
            request.cancel()
            self._client.abort()
            self._lost(RemoteError(f"no answer within {1000 * self._timeout_s:.0f} ms (remote.timeout_ms)"))
        except ModelError as error:
            if self._circuit.is_closed:
                self._lost(error)
        else:
            self._answered += 1
            self._latencies_s.append(time.monotonic() - began)
            return {self.outputs[0].name: answer}
        self._failed += 1
        return None

    def defer(self) -> NotNowError:
        self._deferred += 1
        return NotNowError(f"{self.name}: {self._address} does not answer at the moment")

    @property
    def opened(self) -> OpenedNetwork:
        """What runs the network at the moment."""
        if self._circuit.is_closed:
            return OpenedNetwork(self, "remote", "remote", "as remote.url says", str(self._address))
        runs_on = None if self._local is None else self._local.runs_on
        return runs_on or OpenedNetwork(self, "remote", "remote", "it does not answer", str(self._address))

    @property
    def status(self) -> RemoteStatus:
        latencies = list(self._latencies_s)
        return RemoteStatus(
            str(self._address),
            self._circuit.is_closed,
            self._answered,
            self._failed,
            self._answered_here,
            self._deferred,
            float(np.percentile(latencies, 95)) if latencies else 0.0,
            self._client.sent_bytes,
            self._client.received_bytes,
            str(self._trouble or ""),
        )

    def close(self) -> None:
        self._is_closed = True
        self._client.abort()
        self._requests.put(None)
        if self._local is not None:
            self._local.close()

    def _work(self) -> None:
        """Until it is closed: answers requests, and checks the server between them."""
        while not self._is_closed:
            left_s = self._circuit.next_check_s - time.monotonic()
            try:
                job = self._requests.get(timeout=max(0.0, left_s))
            except queue.Empty:
                self._check()
                continue
            # None: closed, or the time of the next check has changed.
            if job is not None and job[1].set_running_or_notify_cancel():
                pictures, request = job
                try:
                    request.set_result(self._answer(pictures))
                except ModelError as error:
                    request.set_exception(error)
                except Exception as error:  # noqa: BLE001 - the root of a thread
                    request.set_exception(self._unexpected(error))
        self._client.close()

    def _answer(self, pictures: np.ndarray) -> np.ndarray:
        """Only that of the right model. Raises RemoteError, RefusedError."""
        if not self._circuit.is_closed:
            raise RemoteError("it was lost while this request waited")
        if time.monotonic() < self._circuit.next_check_s and self._is_verified():
            answer = self._infer(pictures, self._timeout_s)
            # Servers close connections that are not used.
            if self._is_verified():
                return answer
        return self._answer_with_known(pictures, 1, self._timeout_s)

    def _is_verified(self) -> bool:
        """Whether the open connection is one behind which the right model was found."""
        connection = self._client.connection
        return connection is not None and connection == self._verified_connection

    def _answer_with_known(self, pictures: np.ndarray, count: int, timeout_s: float) -> np.ndarray:
        """With so many of the known pictures in the same request, so that the same model answers both."""
        answers = self._infer(np.concatenate([self._known.pictures[:count], pictures]), timeout_s)
        self._known.check(answers[:count])
        self._verified_connection = self._client.connection
        with self._lock:
            if self._circuit.is_closed:
                self._circuit.passed(time.monotonic())
        return answers[count:]

    def _infer(self, pictures: np.ndarray, timeout_s: float) -> np.ndarray:
        input_name, output_name = self._names
        answer = self._client.infer({input_name: pictures}, output_name, timeout_s)
        expected = (len(pictures), self._known.answers.shape[1])
        if answer.size != expected[0] * expected[1] or len(answer) != expected[0]:
            raise RefusedError(
                f"it answers with {' x '.join(map(str, answer.shape))} numbers; this machine's {self.name} with "
                f"{expected[0]} x {expected[1]}, so it has another model"
            )
        return np.asarray(answer, np.float32).reshape(expected)

    def _check(self, first: bool = False) -> None:
        """Whether the server is there, has the right model and is fast enough. Raises ModelError only at first."""
        try:
            if self._circuit.is_closed:
                # A face that comes meanwhile waits for it, so it is no more than a face.
                self._answer_with_known(self._known.pictures[:0], 1, self._timeout_s)
                return
            took_s = self._verify()
        except RefusedError as error:
            if first:
                raise ModelError(f"{self.name}: {self._address}: {error}; docs/remote.md") from error
            self._lost(error)
        except RemoteError as error:
            self._lost(error)
        except Exception as error:  # noqa: BLE001 - the root of a thread
            self._lost(self._unexpected(error))
        else:
            with self._lock:
                self._circuit.passed(time.monotonic())
                self._trouble = None
            level, again = (logging.INFO, "") if first else (logging.WARNING, " again")
            logger.log(level, "%s runs on %s%s: %.0f ms a face", self.name, self._address, again, 1000 * took_s)

    def _verify(self) -> float:
        """The seconds of one face. Raises RemoteError, RefusedError."""
        timeout_s = max(CHECK_TIMEOUT_S, self._timeout_s)
        if not self._client.is_ready(timeout_s):
            raise RemoteError("it is not ready")
        self._names = chosen_names(self._client.metadata(timeout_s), self.inputs[0], self.outputs[0])
        known = self._known.pictures
        self._answer_with_known(known[:0], len(known), timeout_s)
        began = time.monotonic()
        self._answer_with_known(known[:0], 1, timeout_s)
        took_s = time.monotonic() - began
        if took_s > self._timeout_s:
            limit_ms = 1000 * self._timeout_s
            raise RemoteError(
                f"it needs {1000 * took_s:.0f} ms for a face, the limit is {limit_ms:.0f} ms (remote.timeout_ms)"
            )
        return took_s

    def _unexpected(self, error: Exception) -> RemoteError:
        logger.error("%s: %s: an error of this program", self.name, self._address, exc_info=error)
        return RemoteError(f"this program has an error: {error!r}")

    def _lost(self, error: ModelError) -> None:
        with self._lock:
            is_news = self._circuit.is_closed or type(self._trouble) is not type(error)
            self._circuit.failed(time.monotonic())
            self._trouble = error
        self._requests.put(None)
        if is_news and not self._is_closed:
            here = "faces are compared on this machine"
            if self.defers:
                here = "people in videos get their names later, and pictures are compared on this machine,"
            logger.error("%s: %s: %s; %s until it works again", self.name, self._address, error, here)


class DeferringNetwork:
    """An `Engine` that raises NotNowError while the server does not answer."""

    def __init__(self, network: RemoteNetwork) -> None:
        self.network = network
        self.inputs, self.outputs, self.max_batch = network.inputs, network.outputs, network.max_batch

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        answer = self.network.ask(feeds)
        if answer is None:
            raise self.network.defer()
        return answer

    def close(self) -> None:
        """The one behind it is closed by its owner."""
