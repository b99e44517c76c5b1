import dataclasses

import numpy as np
import pytest

from app.identity import gates
from app.identity.gates import Rejection, rejections
from app.reasons import explained, numbers_of
from app.settings import QualityLimits
from app.types import FaceQuality, Reason

LIMITS = QualityLimits(
    min_score=0.5,
    min_face_px=40,
    max_yaw_deg=50,
    max_pitch_deg=40,
    max_roll_deg=60,
    max_landmark_error=0.3,
    max_cut_off=0.2,
    min_sharpness=20,
    min_exposure=0.1,
    max_exposure=0.9,
)


def quality(**columns):
    """Perfect faces, but for what is given."""
    count = len(next(iter(columns.values())))
    perfect = {"score": 1.0, "size_px": 200.0, "sharpness": 500.0, "exposure": 0.5}
    values = {column.name: np.full(count, perfect.get(column.name, 0.0)) for column in dataclasses.fields(FaceQuality)}
    return FaceQuality(**{**values, **{name: np.array(column) for name, column in columns.items()}})


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("score", [0.49, 0.5], Reason.LOW_SCORE),
        ("size_px", [39.9, 40.0], Reason.TOO_SMALL),
        ("sharpness", [19.9, 20.0], Reason.TOO_BLURRED),
    ],
)
def test_a_gate_rejects_below_its_limit(column, values, reason):
    rejection, passed = rejections(quality(**{column: values}), LIMITS)
    assert rejection == (reason, *values) and passed is None


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("yaw", [52.0, 50.0], "turned_away 52°"),
        ("yaw", [-52.0, -50.0], "turned_away 52°"),
        ("pitch", [-41.0, 40.0], "turned_away 41°"),
        ("roll", [-90.0, -60.0], "tilted 90°"),
        ("landmark_error", [0.5, 0.3], "implausible 0.50>0.30"),
        ("cut_off", [0.201, 0.2], "cut_off 0.201>0.200"),
        ("exposure", [0.95, 0.9], "too_bright 0.95>0.90"),
        ("exposure", [0.02, 0.1], "too_dark 0.02<0.10"),
    ],
)
def test_a_gate_rejects_beyond_its_limit_and_says_by_how_much(column, values, why):
    rejection, passed = rejections(quality(**{column: values}), LIMITS)
    assert explained(rejection.reason, numbers_of(*rejection)) == why and passed is None


def test_the_first_reason_counts():
    poor = quality(score=[0.9, 0.1], size_px=[10, 10], sharpness=[1, 1])
    assert [rejection.reason for rejection in rejections(poor, LIMITS)] == [Reason.TOO_SMALL, Reason.LOW_SCORE]


def test_what_was_not_measured_does_not_reject():
    assert rejections(quality(sharpness=[np.nan], exposure=[np.nan]), LIMITS) == [None]


def test_without_limits_every_face_passes():
    worst = {"score": [0.0], "size_px": [0.0], "sharpness": [0.0], "exposure": [0.0], "yaw": [179.0], "cut_off": [1.0]}
    assert rejections(quality(**worst), QualityLimits()) == [None]


def test_a_gate_is_a_function_that_can_be_added(monkeypatch):
    def gate(quality, row, limits):
        return Rejection(Reason.NOT_COMPARED_YET, 1, 0) if quality.size_px[row] == 100 else None

    faces = quality(size_px=[100.0, 10.0])
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, gate))
    assert [rejection.reason for rejection in rejections(faces, LIMITS)] == [Reason.NOT_COMPARED_YET, Reason.TOO_SMALL]
