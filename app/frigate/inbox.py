"""Messages that wait for their turn: the newest one of each person, and a limited number of people."""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, Optional, Tuple

from app.frigate.messages import PersonMessage


class Inbox:
    """Filled by the thread of MQTT, emptied by the one that looks at pictures."""

    def __init__(self, limit: int, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._now = now
        self._changed = threading.Condition()
        self._waiting: Dict[str, Tuple[float, PersonMessage]] = {}
        """When it may be taken, and the message, by id; in order of arrival."""
        self.left_out = 0

    def put(self, message: PersonMessage) -> None:
        with self._changed:
            _, before = self._waiting.get(message.id, (0.0, message))
            self._waiting[message.id] = (0.0, before.and_later(message))
            if len(self._waiting) > self._limit:
                # Those who are still there will be heard of again.
                going_on = [at for at, (_, known) in self._waiting.items() if not known.has_ended and at != message.id]
                del self._waiting[going_on[0] if going_on else next(iter(self._waiting))]
                self.left_out += 1
            self._changed.notify_all()

    def put_back(self, message: PersonMessage, after_s: float) -> None:
        """To be taken again later, together with what has been heard meanwhile."""
        with self._changed:
            _, newer = self._waiting.pop(message.id, (0.0, message))
            self._waiting[message.id] = (self._now() + after_s, message.and_later(newer))

    def take(self, timeout_s: float) -> Optional[PersonMessage]:
        """The message that has waited longest; None if none may be taken within this time."""
        deadline = self._now() + timeout_s
        with self._changed:
            while True:
                now = self._now()
                for identity, (due, message) in self._waiting.items():
                    if due <= now:
                        del self._waiting[identity]
                        return message
                if now >= deadline:
                    return None
                next_due = min((due for due, _ in self._waiting.values()), default=deadline)
                self._changed.wait(max(0.0, min(deadline, next_due) - now))
