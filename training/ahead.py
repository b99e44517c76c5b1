"""Draws the next batch in a thread while the network learns from the present one."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Generic, Optional, Tuple, TypeVar

Batch = TypeVar("Batch")


class DrawnAhead(Generic[Batch]):
    """`take(n)` returns what `draw(n)` returns, and begins with n + 1. Any order is right; ascending is fast."""

    def __init__(self, draw: Callable[[int], Batch]) -> None:
        self._draw = draw
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw-ahead")
        self._waiting: Optional[Tuple[int, Future[Batch]]] = None

    def take(self, number: int) -> Batch:
        if self._waiting is not None and self._waiting[0] == number:
            batch = self._waiting[1].result()
        else:
            batch = self._draw(number)
        self._waiting = (number + 1, self._thread.submit(self._draw, number + 1))
        return batch
