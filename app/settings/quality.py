"""The section `quality`: which faces are compared and which photos are used."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class QualityLimits:
    """Limits of the quality gates (`app/identity/gates.py`). The defaults let every face pass."""

    min_score: float = 0.0
    min_face_px: float = 0.0
    max_yaw_deg: float = 180.0
    max_pitch_deg: float = 180.0
    max_roll_deg: float = 180.0
    max_landmark_error: float = float("inf")
    max_cut_off: float = 1.0
    min_sharpness: float = 0.0
    min_exposure: float = 0.0
    max_exposure: float = 1.0
    max_non_face: float = 1.0


@dataclass(frozen=True)
class QualitySettings:
    """Which faces are good enough to be compared, and which photos to be enrolled.

    A setting has the name of its limit in `QualityLimits`. Where photos have a limit of their own, its name begins with
    `photo_`. docs/quality.md says how the defaults were measured.
    """

    min_face_px: float = setting(
        20.0, "minimum width and height of a face in a video, in pixels", minimum=1, maximum=1000
    )
    photo_min_face_px: float = setting(
        40.0, "minimum width and height of a face in a photo, in pixels", minimum=1, maximum=1000
    )
    photo_min_score: Optional[float] = setting(
        None,
        "minimum score of a face in a photo; by default that of the detector, usually 0.8",
        minimum=0.01,
        maximum=1,
    )
    max_yaw_deg: float = setting(
        70.0,
        "maximum angle by which a face in a video is turned to the side; 90 is a full profile",
        minimum=0,
        maximum=180,
    )
    photo_max_yaw_deg: float = setting(50.0, "the same for a photo", minimum=0, maximum=180)
    max_pitch_deg: float = setting(45.0, "maximum angle by which a face looks up or down", minimum=0, maximum=180)
    max_roll_deg: float = setting(60.0, "maximum angle by which a head is tilted", minimum=0, maximum=180)
    max_landmark_error: float = setting(
        0.3,
        "how far eyes, nose and mouth may be from their places in a face, relative to its size; above, it is no face",
        minimum=0,
        maximum=10,
    )
    max_cut_off: float = setting(
        0.5, "maximum part of a face in a video that is outside the picture", minimum=0, maximum=1
    )
    photo_max_cut_off: float = setting(0.2, "the same for a photo", minimum=0, maximum=1)
    min_sharpness: float = setting(
        5.0, "minimum sharpness of a face in a video (variance of the Laplacian)", minimum=0, maximum=10000
    )
    photo_min_sharpness: float = setting(20.0, "the same for a photo", minimum=0, maximum=10000)
    min_exposure: float = setting(
        0.03, "minimum brightness of a face, from 0 (black) to 1 (white)", minimum=0, maximum=1
    )
    max_exposure: float = setting(0.97, "maximum brightness of a face", minimum=0, maximum=1)
    max_non_face: float = setting(
        0.5,
        "maximum similarity of a face with things that detectors take for faces; needs an embedder with a reference",
        minimum=-1,
        maximum=1,
    )
    photo_max_non_face: float = setting(0.45, "the same for a photo", minimum=-1, maximum=1)

    def video_limits(self) -> QualityLimits:
        """A limit without a setting lets every face pass."""
        return self._limits("")

    def photo_limits(self, default_min_score: float) -> QualityLimits:
        """`default_min_score` is the detector's own."""
        return self._limits("photo_", min_score=default_min_score)

    def _limits(self, prefix: str, **values: float) -> QualityLimits:
        for limit in fields(QualityLimits):
            for name in (limit.name, prefix + limit.name):
                value = getattr(self, name, None)
                if value is not None:
                    values[limit.name] = value
        return QualityLimits(**values)
