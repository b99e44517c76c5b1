"""When each picture is shown in a film: pure arithmetic on timestamps."""

from __future__ import annotations

from typing import Optional

from app.types import Frame

TICKS_PER_S = 90_000
PICTURE_SECONDS = 1.0
"""How long a picture that has nothing to do with its neighbours (a folder of photos) stays on the screen."""
USUAL_STEP_S = 1 / 25
"""Between two frames, as long as nothing better is known."""
_BACKWARD_S = 0.5
"""Clocks are corrected by less than this all the time; more means that the source began anew."""
_CLOCK_SET_S = 86_400.0
"""A longer pause is a clock that was set (small computers wake up in 1970), not a camera that was silent."""


class FilmClock:
    """Seconds since the film's beginning for one channel's frames, strictly increasing by at least one tick.

    Recordings keep their own time. Live frames are shown as far apart as they arrived, so a camera that stalls does
    not speed the film up.
    """

    def __init__(self) -> None:
        self._shown_s: Optional[float] = None
        self._source_s = 0.0
        self.step_s = USUAL_STEP_S
        """How long the newest frame will be shown, as far as the ones before tell."""

    def seconds(self, frame: Frame) -> float:
        """When this frame, the next one, is shown."""
        source_s = frame.source_time
        if self._shown_s is None:
            self._shown_s = 0.0
            if not frame.continues:
                self.step_s = PICTURE_SECONDS
        else:
            step = self._step(source_s - self._source_s, frame.continues)
            self._shown_s += max(step, 1 / TICKS_PER_S)
        self._source_s = source_s
        return self._shown_s

    def _step(self, passed_s: float, continues: bool) -> float:
        if not continues:
            self.step_s = PICTURE_SECONDS
            return self.step_s
        if passed_s < -_BACKWARD_S or passed_s > _CLOCK_SET_S:
            return self.step_s
        if passed_s > 0:
            self.step_s = passed_s
        return passed_s


def ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_S)


def frames_to_fill(written: int, seconds: float, fps: float) -> int:
    """How often the picture before must be written (again) so that the next one begins at `seconds`.

    For films of constant rate, of which `written` frames exist: slow frames are repeated, fast ones give 0 and are
    replaced by the next.
    """
    return max(0, round(seconds * fps) - written)
