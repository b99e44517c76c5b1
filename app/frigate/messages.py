"""What Frigate says about a person over MQTT. Messages are checked: ids become parts of addresses."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Optional, Tuple

Box = Tuple[float, float, float, float]
"""x1 y1 x2 y2."""

MAX_MESSAGE_BYTES = 1_000_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CAMERA = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


@dataclass(frozen=True)
class PersonMessage:
    """The newest state of a person whom Frigate tracks: an event, in its words."""

    id: str
    camera: str
    has_ended: bool
    snapshot_time: Optional[float]
    """Of the best picture so far; None: there is none."""
    box: Optional[Box]
    """The person in that picture, in pixels of the size in which Frigate detects."""
    sub_label: Optional[str]
    """The name that the event has in Frigate."""
    received: float = field(default=0.0, compare=False)
    """When it came, by this program's clock."""

    def and_later(self, later: PersonMessage) -> PersonMessage:
        """The newer one of two messages about one person; an event that has ended does not begin again."""
        return replace(later, has_ended=self.has_ended or later.has_ended)


def read_message(payload: bytes) -> Optional[PersonMessage]:
    """None for a message about something else than a person. Raises ValueError for one that Frigate does not send."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(payload)} bytes")
    try:
        message = json.loads(payload)
        after = message["after"]
        if after["label"] != "person" or after.get("false_positive") is True:
            return None
        has_ended = message["type"] == "end" or after.get("end_time") is not None
        identity, camera = after["id"], after["camera"]
        if not (isinstance(identity, str) and _ID.fullmatch(identity)):
            raise ValueError("an id that is none of Frigate")
        if not (isinstance(camera, str) and _CAMERA.fullmatch(camera)):
            raise ValueError("the name of a camera that is none of Frigate")
        moment, box = _snapshot(after)
        # While an event goes on, Frigate has a picture of it, also where it will keep none.
        if has_ended and after.get("has_snapshot") is False:
            moment = None
        return PersonMessage(identity, camera, has_ended, moment, box, _sub_label(after.get("sub_label")))
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"without {error}" if isinstance(error, KeyError) else "of another form") from error


def _snapshot(after: Mapping[str, Any]) -> Tuple[Optional[float], Optional[Box]]:
    snapshot = after.get("snapshot")
    if not isinstance(snapshot, dict):
        # Frigate before 0.14 says when it was taken, and not where the person is in it.
        return _number(after.get("snapshot_time")), None
    box = snapshot.get("box")
    if not isinstance(box, list) or len(box) != 4:
        return _number(snapshot.get("frame_time")), None
    corners = [_number(value) for value in box]
    x1, y1, x2, y2 = (-1.0 if corner is None else corner for corner in corners)
    is_box = 0 <= x1 < x2 and 0 <= y1 < y2
    return _number(snapshot.get("frame_time")), (x1, y1, x2, y2) if is_box else None


def _number(value: object) -> Optional[float]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _sub_label(value: object) -> Optional[str]:
    """A name, or a list of a name and its score."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) and value else None
