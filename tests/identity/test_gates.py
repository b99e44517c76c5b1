import dataclasses

import numpy as np
import pytest

from app.identity import gates
from app.identity.gates import Rejection, rejections
from app.settings import QualityLimits
from app.types import FaceQuality, Reason

LIMITS = QualityLimits(min_score=0.5, min_face_px=40, min_sharpness=20)


def quality(**columns):
    """Perfect faces, but for what is given."""
    count = len(next(iter(columns.values())))
    perfect = {"score": 1.0, "size_px": 200.0, "sharpness": 500.0, "exposure": 0.5, "cut_off": False}
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


def test_the_first_reason_counts():
    poor = quality(score=[0.9, 0.1], size_px=[10, 10], sharpness=[1, 1])
    assert [rejection.reason for rejection in rejections(poor, LIMITS)] == [Reason.TOO_SMALL, Reason.LOW_SCORE]


def test_what_was_not_measured_does_not_reject():
    assert rejections(quality(sharpness=[np.nan]), LIMITS) == [None]


def test_without_limits_every_face_passes():
    assert rejections(quality(score=[0.0], size_px=[0.0], sharpness=[0.0]), QualityLimits()) == [None]


def test_a_gate_is_a_function_that_can_be_added(monkeypatch):
    def cut_off(quality, row, limits):
        return Rejection(Reason.NOT_COMPARED_YET, 1, 0) if quality.cut_off[row] else None

    faces = quality(cut_off=[True, False], size_px=[100.0, 10.0])
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, cut_off))
    assert [rejection.reason for rejection in rejections(faces, LIMITS)] == [Reason.NOT_COMPARED_YET, Reason.TOO_SMALL]
