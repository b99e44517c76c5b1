"""A network that goes on when its backend fails in the middle of a run."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Callable, Dict, Mapping, Optional, Tuple

import numpy as np

from app.errors import BackendError, FatalError, ModelError
from app.inference.backends import OpenedNetwork, open_elsewhere, reopen
from app.inference.engine import Engine, NetworkSpec, TensorSpec
from app.inference.remote.network import RemoteNetwork
from app.text import program

logger = logging.getLogger(__name__)

FORGIVEN_AFTER_S = 600.0
"""A backend that fails again within this time after it was opened again is replaced by another one."""


class RecoveringNetwork:
    """An `Engine`: opens its backend again after a failure, and takes another one if that is not enough.

    The input that failed is run again, so the caller notices nothing but the time it takes. Raises FatalError when no
    backend is left. Errors in the input are the caller's, and are not handled here.
    """

    def __init__(self, spec: NetworkSpec, opened: OpenedNetwork, clock: Callable[[], float] = time.monotonic) -> None:
        self.opened = opened
        """What runs the network now."""
        self.failures = 0
        """How often a backend failed."""
        self._spec = spec
        self._clock = clock
        self._reopened_at: Optional[float] = None
        self._failed_at: Dict[str, float] = {}
        self._end: Optional[FatalError] = None

    @property
    def inputs(self) -> Tuple[TensorSpec, ...]:
        return self.opened.inputs

    @property
    def outputs(self) -> Tuple[TensorSpec, ...]:
        return self.opened.outputs

    @property
    def max_batch(self) -> Optional[int]:
        return self.opened.max_batch

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        while True:
            if self._end is not None:
                raise self._end
            try:
                return self.opened.run(feeds)
            except BackendError as error:
                self.failures += 1
                self._recover(error)

    def close(self) -> None:
        try:
            self.opened.close()
        except ModelError as error:
            # A lost device takes nothing back.
            logger.warning("%s: closing %s failed: %s", self._spec.name, self.opened.label, error)

    def _recover(self, error: BackendError) -> None:
        name, before, now = self._spec.name, self.opened, self._clock()
        logger.error("%s: %s failed while it ran the network: %s", name, before.label, error)
        _release_frames(error)
        self.close()
        if self._reopened_at is None or now - self._reopened_at >= FORGIVEN_AFTER_S:
            self._reopened_at = now
            try:
                self.opened = reopen(self._spec, before)
            except ModelError as reason:
                logger.error("%s: %s cannot be opened again: %s", name, before.label, reason)
            else:
                logger.warning("%s: %s is open again, and the run continues", name, before.label)
                return
        self._failed_at[before.label] = now
        failed = [label for label, at in self._failed_at.items() if now - at < FORGIVEN_AFTER_S]
        try:
            self.opened = open_elsewhere(self._spec, failed)
        except ModelError as reason:
            others = f"; {reason}" if str(reason) else ""
            self._end = FatalError(f"{name}: no backend can run this network any more: {before.label}: {error}{others}")
            raise self._end from error
        logger.error(
            "%s: runs on %s now, instead of %s, until the program is started again; to find the cause: %s doctor",
            name,
            self.opened.label,
            before.label,
            program(),
        )


def _release_frames(error: Optional[BaseException]) -> None:
    """The frames that an error has come through hold parts of the backend, which are freed with the last reference."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def running(engine: Engine) -> Optional[OpenedNetwork]:
    """The backend that runs a network at the moment, and why; None for an engine that was opened directly."""
    if isinstance(engine, (RecoveringNetwork, RemoteNetwork)):
        return engine.opened
    return engine if isinstance(engine, OpenedNetwork) else None
