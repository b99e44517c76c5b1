"""When a server is asked, and when it is checked. Pure: no clock, no thread."""

from __future__ import annotations

CHECK_EVERY_S = 30.0
"""A server that works is checked as well: its model may be replaced while it runs."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
STABLE_AFTER_S = 60.0
"""A server that has worked for so long is checked soon after a failure; others after longer and longer pauses."""


class Circuit:
    """Open from the first failure on: a camera must not wait again and again. A check that passes closes it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.next_check_s = 0.0
        """On a clock that is never set."""
        self._pause_s = FIRST_PAUSE_S / 2
        self._closed_s = 0.0

    def failed(self, now_s: float) -> None:
        """A request or a check."""
        was_stable = self.is_closed and now_s - self._closed_s >= STABLE_AFTER_S
        self._pause_s = FIRST_PAUSE_S if was_stable else min(2 * self._pause_s, MAX_PAUSE_S)
        self.is_closed, self.next_check_s = False, now_s + self._pause_s

    def passed(self, now_s: float) -> None:
        """A check."""
        if not self.is_closed:
            self.is_closed, self._closed_s = True, now_s
        self.next_check_s = now_s + CHECK_EVERY_S
