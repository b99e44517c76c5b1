"""The data checks itself, and says what it expected."""

import dataclasses

import numpy as np
import pytest

from app.types import NO_ATTRIBUTES, NOT_COMPARED_YET, FaceAttributes, Faces, Frame, FrameResult


def faces(count):
    return Faces(
        boxes=np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        scores=np.linspace(1, 0.5, count, dtype=np.float32),
        landmarks=np.zeros((count, 5, 2), np.float32),
        embeddings=np.eye(count, 8, dtype=np.float32),
        mask_probabilities=np.linspace(0, 1, count, dtype=np.float32),
    )


def test_rows_are_chosen_by_index_list_mask_and_slice():
    three = faces(3)
    assert len(three[1]) == 1 and three[1].boxes[0, 0] == 4
    assert three[[2, 0]].boxes[:, 0].tolist() == [8, 0]
    assert len(three[np.array([True, False, True])]) == 2
    assert len(three[1:]) == 2
    assert three[2].embeddings.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0]]
    assert three[[2, 0]].mask_probabilities.tolist() == [1, 0]


def test_no_faces_is_a_value_like_any_other():
    assert len(Faces.empty()) == 0
    assert len(Faces.empty()[np.array([], bool)]) == 0


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("boxes", np.zeros((2, 5)), "Faces.boxes .* 2 x 4, not 2 x 5"),
        ("scores", np.zeros(3), "Faces.scores .* 2, not 3"),
        ("landmarks", np.zeros((2, 10)), "Faces.landmarks .* 2 x 5 x 2, not 2 x 10"),
        ("embeddings", np.zeros((1, 8)), "Faces.embeddings .* 2 x any, not 1 x 8"),
        ("mask_probabilities", np.zeros((2, 2)), "Faces.mask_probabilities .* 2, not 2 x 2"),
    ],
)
def test_a_wrong_shape_is_an_error_with_both_shapes(field, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(faces(2), **{field: value})


def test_a_frame_must_be_a_colour_picture_in_bytes():
    with pytest.raises(ValueError, match="any x any x 3, not 4 x 4"):
        Frame(np.zeros((4, 4), np.uint8), "door", 0, 0.0)
    with pytest.raises(ValueError, match="must be uint8, not float64"):
        Frame(np.zeros((4, 4, 3)), "door", 0, 0.0)


def test_a_frame_is_timed_by_its_recording_or_else_by_its_arrival():
    picture = np.zeros((4, 4, 3), np.uint8)
    assert Frame(picture, "door", 0, 1.7e9).source_time == 1.7e9
    assert Frame(picture, "door", 0, 1.7e9, clock_s=40.0).source_time == 40.0
    assert Frame(picture, "tape", 0, 1.7e9, position=0.0).source_time == 0.0


def test_a_moment_of_the_source_is_shown_by_the_clock_on_the_wall():
    picture = np.zeros((4, 4, 3), np.uint8)
    assert Frame(picture, "door", 0, 1.7e9, clock_s=40.0).shown_time(38.5) == 1.7e9 - 1.5
    assert Frame(picture, "tape", 0, 1.7e9, position=9.0, clock_s=40.0).shown_time(8.0) == 8.0


def test_a_result_has_one_match_per_face():
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "door", 0, 0.0)
    with pytest.raises(ValueError, match=r"matches.*expected 2, got 0"):
        FrameResult(frame, faces(2), matches=(), track_ids=(0, 0))


def test_attributes_are_for_every_face_or_for_none():
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "door", 0, 0.0)
    matches = (NOT_COMPARED_YET, NOT_COMPARED_YET)
    with pytest.raises(ValueError, match=r"attributes.*expected 2, got 1"):
        FrameResult(frame, faces(2), matches, (0, 0), attributes=(NO_ATTRIBUTES,))
    with pytest.raises(ValueError, match=r"landmarks106.*106 x 2.*68 x 2"):
        FaceAttributes(landmarks106=np.zeros((68, 2)))
