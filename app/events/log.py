"""Who came and went, as JSON Lines: one object a line, in UTF-8, written and flushed at once.

Each face that is followed (a track) makes three kinds of events, never one a frame:

    enter        it is there, confirmed by the tracker. `name` says who it is if that is known already.
    identified   it has got a name, or another one, or lost it: `previous_name` is what it was before (null: nobody),
                 and `name` null takes the earlier name back. A face that enters with a name makes this event too,
                 right after `enter`, so that listening for `identified` alone misses nobody.
    left         it is gone for good, or the run ended while it was there.

Fields of every event, always in this order:

    schema       1; grows when a field changes its meaning or disappears. New fields may come at any time.
    sequence     1, 2, 3 … through the file
    event        "enter", "identified" or "left"
    channel      the source's name
    frame        index of the frame with which it was noticed
    time         when that frame arrived, ISO 8601 in UTC with milliseconds
    position     seconds into the recording, or null for a live source
    file         only for pictures: the picture's file
    track        the track's number; unique within a channel and a run
    name         the person, or null for unknown. In `left`: the name it had in the end
    similarity   cosine of the best photo, also when it did not suffice for a name; null when not compared
    box          [x1, y1, x2, y2] in the frame's pixels, where it was last seen
    gender       "female" or "male"                                                   ┐ only where a model for it is
    age          in years                                                             │ installed and chosen, and has
    mask         true or false; mask_probability and no_mask_probability beside it    │ looked at the face; otherwise
    live         probability that it is a person, and no photo or screen              │ the fields are absent. See
    pose         {"yaw", "pitch", "roll"} in degrees                                  │ docs/attributes.md
    landmarks106 106 points [x, y] in the frame's pixels, where it was last seen      ┘
    reason       enter, identified: why it has, or has not, a name (the values of `app.types.Reason`)
                 left: "gone" or "run_ended"

`identified` has `previous_name` besides, `left` has `duration_s` (from first to last seen).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

from app.errors import OutputError
from app.files import claim_file
from app.types import FaceAttributes, FrameResult, Reason, Track

SCHEMA = 1
ENTER, IDENTIFIED, LEFT = "enter", "identified", "left"
GONE, RUN_ENDED = "gone", "run_ended"


class Change(NamedTuple):
    """Something that happened to a track between two results."""

    event: str
    track: Track
    reason: str
    previous_name: Optional[str] = None


@dataclass(frozen=True)
class Moment:
    """What is kept of a channel's last result: not its picture."""

    frame: int
    captured_at: float
    position: Optional[float]
    file: Optional[str]
    tracks: Tuple[Track, ...]


class EventLog:
    """Writes the events of all channels into one file. Opens it at once, so that a run does not begin in vain."""

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.name = f"events {path}"
        self._path = path
        self._sequence = 0
        self._last: Dict[str, Moment] = {}
        claim_file(path, overwrite)
        try:
            # A name may hold bytes that are no text (from a file's name): they stay visible as \udcXX.
            self._file = path.open("w" if overwrite else "x", encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def handle(self, result: FrameResult) -> None:
        frame = result.frame
        previous = self._last.get(frame.source)
        moment = Moment(frame.index, frame.captured_at, frame.position, frame.file, result.tracks)
        self._last[frame.source] = moment
        self._write(frame.source, moment, changes(previous.tracks if previous else (), result.tracks))

    def close(self) -> None:
        try:
            for channel, moment in self._last.items():
                self._write(channel, moment, (Change(LEFT, track, RUN_ENDED) for track in moment.tracks))
        finally:
            self._last = {}
            self._file.close()

    def _write(self, channel: str, moment: Moment, happened: Iterator[Change]) -> None:
        for change in happened:
            self._sequence += 1
            record = event_record(self._sequence, channel, moment, change)
            try:
                self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
                self._file.flush()
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def changes(previous: Sequence[Track], current: Sequence[Track]) -> Iterator[Change]:
    """What happened between two results of a channel: first who left, then who came and who became whom."""
    before = {track.id: track for track in previous}
    present = {track.id for track in current}
    for track in previous:
        if track.id not in present:
            yield Change(LEFT, track, GONE)
    for track in current:
        known = before.get(track.id)
        reason = str(track.match.reason)
        if known is None:
            yield Change(ENTER, track, reason)
        previous_name = known.match.name if known else None
        if track.match.name != previous_name:
            yield Change(IDENTIFIED, track, reason, previous_name)


def event_record(sequence: int, channel: str, moment: Moment, change: Change) -> Dict[str, Any]:
    """The event as it stands in the file."""
    track, match = change.track, change.track.match
    compared = match.reason not in (Reason.NOT_COMPARED_YET, Reason.TOO_SMALL) and math.isfinite(match.similarity)
    record: Dict[str, Any] = {
        "schema": SCHEMA,
        "sequence": sequence,
        "event": change.event,
        "channel": channel,
        "frame": moment.frame,
        "time": iso_time(moment.captured_at),
        "position": None if moment.position is None else round(moment.position, 3),
        **({} if moment.file is None else {"file": moment.file}),
        "track": track.id,
        "name": match.name,
        "similarity": round(float(match.similarity), 4) if compared else None,
        "box": [round(float(side)) for side in track.box],
        **attribute_fields(track.attributes),
        "reason": change.reason,
    }
    if change.event == IDENTIFIED:
        record["previous_name"] = change.previous_name
    if change.event == LEFT:
        record["duration_s"] = round(max(0.0, track.last_seen - track.first_seen), 3)
    return record


def attribute_fields(attributes: FaceAttributes) -> Dict[str, Any]:
    """What is known of a face besides who it is; nothing stands for what was not looked at."""
    pose, points = attributes.pose, attributes.landmarks106
    angles = pose and {"yaw": pose.yaw_deg, "pitch": pose.pitch_deg, "roll": pose.roll_deg}
    fields = {
        "gender": None if attributes.gender is None else str(attributes.gender),
        "age": _rounded(attributes.age, 1),
        "mask": attributes.mask,
        "mask_probability": _rounded(attributes.mask_probability, 4),
        "no_mask_probability": _rounded(attributes.no_mask_probability, 4),
        "live": _rounded(attributes.live_probability, 4),
        "pose": angles and {name: round(degrees, 1) for name, degrees in angles.items()},
        "landmarks106": None if points is None else [[round(x, 1), round(y, 1)] for x, y in points.tolist()],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _rounded(value: Optional[float], digits: int) -> Optional[float]:
    return None if value is None else round(value, digits)


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as 2026-11-21T08:00:40.123Z."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
