"""Which label a detection finds, and the figures that follow, by hand and against slow references."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.intervals import Rate, Share
from app.tools.evaluation.detection import (
    IGNORED,
    NO_LABEL,
    average_precision,
    ignore_small,
    landmark_errors,
    match_faces,
    measure_detection,
    only_main_face,
    precision_curve,
)
from app.tools.evaluation.labels import LabelledFace, labelled_picture
from app.tools.evaluation.report import mistakes_json
from app.types import Faces


def picture(*faces, file="a.jpg"):
    return labelled_picture(
        file, [face if isinstance(face, LabelledFace) else LabelledFace(*face) for face in faces], file
    )


def detected(*rows):
    """Rows of x, y, width, height, score."""
    rows = np.array(rows, np.float32).reshape(-1, 5)
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    return Faces(corners, rows[:, 4], np.zeros((len(rows), 5, 2), np.float32))


def figures(pictures, detections, min_score=0.5, iou=0.5):
    matches = [match_faces(one, faces, iou) for one, faces in zip(pictures, detections)]
    return measure_detection(pictures, matches, min_score)


def test_the_better_detection_takes_the_face_and_the_other_is_false():
    match = match_faces(picture((0, 0, 10, 10)), detected((0, 0, 10, 9, 0.6), (0, 1, 10, 9, 0.9)), 0.5)
    assert match.scores.tolist() == pytest.approx([0.9, 0.6])
    assert match.labels.tolist() == [0, NO_LABEL]


def test_a_detection_takes_the_free_face_that_it_overlaps_most():
    match = match_faces(
        picture((0, 0, 10, 10), (2, 0, 10, 10)), detected((2, 0, 10, 10, 0.9), (2, 0, 10, 10, 0.8)), 0.5
    )
    assert match.labels.tolist() == [1, 0]


@pytest.mark.parametrize("width, found", [(20, True), (20.1, False)])
def test_the_least_overlap_itself_suffices(width, found):
    match = match_faces(picture((0, 0, 10, 10)), detected((0, 0, width, 10, 0.9)), 0.5)
    assert (match.labels[0] == 0) == found


def test_ignored_labels_neither_count_nor_hurt():
    scene = picture((0, 0, 10, 10), LabelledFace(50, 0, 10, 10, ignored=True))
    match = match_faces(scene, detected((50, 0, 10, 10, 0.9), (51, 0, 10, 10, 0.8), (90, 0, 10, 10, 0.7)), 0.5)
    assert match.labels.tolist() == [IGNORED, IGNORED, NO_LABEL]
    result = figures([scene], [detected((50, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8))])
    assert (result.found, result.precise, result.ignored_labels) == (Share(1, 1), Share(1, 1), 1)
    assert result.average_precision == 1


def test_a_face_that_counts_is_preferred_to_an_ignored_one_in_the_same_place():
    scene = picture(LabelledFace(0, 0, 10, 10, ignored=True), (1, 0, 10, 10))
    assert match_faces(scene, detected((0, 0, 10, 10, 0.9)), 0.5).labels.tolist() == [1]


def test_a_crowd_covers_every_small_face_inside_and_an_ignored_face_does_not():
    inside = detected((5, 5, 10, 10, 0.9))
    crowd = LabelledFace(0, 0, 100, 100, crowd=True)
    assert match_faces(picture(crowd), inside, 0.5).labels.tolist() == [IGNORED]
    assert match_faces(picture(LabelledFace(0, 0, 100, 100, ignored=True)), inside, 0.5).labels.tolist() == [NO_LABEL]


def test_small_labels_can_be_ignored():
    scene = ignore_small(picture((0, 0, 19, 40), (50, 0, 20, 20)), 20)
    assert scene.ignored.tolist() == [True, False]
    assert not scene.has_no_face


def test_of_a_portrait_only_the_main_face_can_count():
    # The largest is ignored already; of the two others the one in the middle of the picture is meant.
    large = LabelledFace(0, 0, 60, 60, ignored=True)
    scene = only_main_face(picture((0, 0, 30, 30), large, (85, 85, 29, 29)), (200, 200))
    assert scene.ignored.tolist() == [True, True, False]
    result = figures([scene], [detected((0, 0, 30, 30, 0.9), (85, 85, 29, 29, 0.8))])
    assert result.found == result.precise == Share(1, 1)
    assert only_main_face(picture(large), (200, 200)).ignored.tolist() == [True]


def test_average_precision_by_hand():
    # Right, wrong, right; three faces: precision 1 up to recall 1/3, 2/3 up to 2/3, nothing beyond.
    scene = picture((0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10))
    found = detected((0, 0, 10, 10, 0.9), (80, 0, 10, 10, 0.8), (20, 0, 10, 10, 0.7))
    assert figures([scene], [found]).average_precision == pytest.approx(1 / 3 + 2 / 3 / 3)


def test_a_mistake_with_the_highest_score_costs_only_what_no_threshold_mends():
    # Wrong, right, right: at recall 1/2 precision 2/3 can be had, by going on to recall 1.
    scene = picture((0, 0, 10, 10), (20, 0, 10, 10))
    found = detected((80, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8), (20, 0, 10, 10, 0.7))
    assert figures([scene], [found]).average_precision == pytest.approx(2 / 3)


def test_each_face_is_of_one_size():
    sizes = figures([picture((0, 0, 16, 99), (0, 0, 32, 32), (0, 0, 99, 64), (0, 0, 128, 128))], [detected()]).by_size
    assert [size.found.of for size in sizes] == [0, 1, 1, 1, 1]


def test_mistakes_are_listed():
    scene = picture((0, 0, 10, 10), (20, 0, 10, 10), LabelledFace(40, 0, 10, 10, ignored=True))
    found = detected((80, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8), (20, 0, 10, 10, 0.4), (60, 0, 10, 10, 0.3))
    assert mistakes_json([scene], [match_faces(scene, found, 0.5)], 0.5) == {
        "missed": [{"file": "a.jpg", "box": [20.0, 0.0, 30.0, 10.0]}],
        "false": [{"file": "a.jpg", "box": [80.0, 0.0, 90.0, 10.0], "score": 0.9}],
    }


def test_figures_at_a_least_score():
    scenes = [picture((0, 0, 10, 10), (30, 0, 40, 50)), picture(file="empty.jpg"), picture(file="also empty.jpg")]
    found = [
        detected((0, 0, 10, 10, 0.4), (30, 0, 40, 50, 0.9)),
        detected((0, 0, 5, 5, 0.8), (9, 9, 5, 5, 0.7), (20, 9, 5, 5, 0.3)),
        detected(),
    ]
    result = figures(scenes, found)
    assert result.found == Share(1, 2)
    assert result.precise == Share(1, 3)
    assert result.false_positives == Rate(2, 3)
    assert result.false_positives_without_faces == Rate(2, 2)
    assert result.disturbed_without_faces == Share(1, 2)
    by_size = {str(size): size.found for size in result.by_size}
    assert by_size["below 16 px"] == Share(0, 1)
    assert by_size["32 to 64 px"] == Share(1, 1)
    assert sum(size.found.of for size in result.by_size) == 2


def test_pictures_without_faces_alone():
    result = figures([picture()], [detected((0, 0, 5, 5, 0.8))])
    assert result.average_precision is None and result.landmarks is None
    assert result.found == Share(0, 0)


def test_landmarks_are_measured_in_eye_distances():
    truth = np.array([[[0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]] * 3, float)
    truth[1] = np.nan
    truth[2, 1] = [0.5, 0]  # from the side: the eyes in one place
    found = truth + np.array([3, 4])
    errors = landmark_errors(found, truth)
    assert errors[0] == pytest.approx(0.5)
    assert np.isnan(errors[1:]).all()


def test_the_landmark_error_is_that_of_the_faces_found():
    points = [(0, 0), (10, 0), (5, 5), (2, 8), (8, 8)]
    scene = picture(
        LabelledFace(0, 0, 10, 10, landmarks=points), LabelledFace(20, 0, 10, 10, landmarks=points), (40, 0, 10, 10)
    )
    faces = Faces(
        np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [90, 0, 99, 9]], np.float32),
        np.array([0.9, 0.8, 0.7, 0.95], np.float32),
        np.array([points] * 4, np.float32) + np.array([1, 3, 9, 9], np.float32)[:, None, None] * [1, 0],
    )
    error = figures([scene], [faces]).landmarks
    assert error.faces == 2
    assert error.mean == error.median == pytest.approx(0.2)
    # ± 1.96 · 0.1414 / √2
    assert error.interval == pytest.approx((0.2 - 0.196, 0.2 + 0.196), abs=1e-3)


BOX = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8))
LABELS = st.lists(st.builds(lambda box, ignored: LabelledFace(*box, ignored=ignored), BOX, st.booleans()), max_size=5)
DETECTIONS = st.lists(st.builds(lambda box, score: (*box, score / 8), BOX, st.integers(1, 8)), max_size=6)


def pixels(x, y, width, height):
    return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}


def overlap(a, b):
    return len(a & b) / len(a | b)


def reference_match(labels, detections, iou):
    """The rule in words, with sets of pixels."""
    taken, result = set(), []
    for *box, _ in sorted(detections, key=lambda row: -row[4]):
        shares = [overlap(pixels(*box), pixels(f.x, f.y, f.width, f.height)) for f in labels]
        best = None
        for row, (share, face) in enumerate(zip(shares, labels)):
            free = not face.ignored and row not in taken
            if free and share >= iou and (best is None or share > shares[best]):
                best = row
        if best is not None:
            taken.add(best)
            result.append(best)
        elif any(share >= iou and face.ignored for share, face in zip(shares, labels)):
            result.append(IGNORED)
        else:
            result.append(NO_LABEL)
    return result


@given(LABELS, DETECTIONS, st.sampled_from([0.3, 0.5]))
@settings(max_examples=200)
def test_matching_follows_the_rule(labels, detections, iou):
    match = match_faces(picture(*labels), detected(*detections), iou)
    assert match.labels.tolist() == reference_match(labels, detections, iou)


@given(st.lists(st.tuples(LABELS, DETECTIONS), min_size=1, max_size=4))
@settings(max_examples=100)
def test_average_precision_is_the_area_below_the_best_of_each_recall(scenes):
    pictures = [picture(*labels) for labels, _ in scenes]
    matches = [match_faces(one, detected(*rows), 0.5) for one, (_, rows) in zip(pictures, scenes)]
    curve = precision_curve(pictures, matches)
    total = sum(not face.ignored for labels, _ in scenes for face in labels)
    points = []
    for threshold in {row[4] for _, rows in scenes for row in rows}:
        kept = [label for match in matches for score, label in zip(match.scores, match.labels) if score >= threshold]
        true, false = sum(label >= 0 for label in kept), sum(label == NO_LABEL for label in kept)
        if true + false:
            points.append((true, true / (true + false)))
    expected = sum(
        max((precision for true, precision in points if true >= step), default=0) for step in range(1, total + 1)
    ) / max(1, total)
    assert average_precision(curve) == pytest.approx(expected)
    assert len(set(curve.scores)) == len(curve.scores)


@given(LABELS, DETECTIONS, st.sampled_from([0.25, 0.5, 0.75]))
@settings(max_examples=100)
def test_low_scores_do_not_change_the_figures_above_them(labels, detections, min_score):
    """One run of the detector at a low score serves both the curve and the figures at the score that is used."""
    scene = picture(*labels)
    high = [row for row in detections if row[4] >= min_score]
    one, other = (figures([scene], [detected(*rows)], min_score) for rows in (detections, high))
    assert (one.found, one.precise, one.by_size) == (other.found, other.precise, other.by_size)


def test_the_last_size_is_open():
    *_, last = figures([picture((0, 0, 500, 500))], [detected()]).by_size
    assert math.isinf(last.to_px) and str(last) == "from 128 px" and last.found == Share(0, 1)
