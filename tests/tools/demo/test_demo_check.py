"""The demo's verdict: it must be able to fail, for each of the reasons for which it promises to."""

import numpy as np
import pytest

from app.tools.demo.check import TruthCheck
from app.tools.demo.film import CAMERA_WAY, FPS, HEIGHT, WIDTH, FaceTruth, make_film
from app.tools.demo.portraits import load_backdrops
from app.types import Faces, Frame, FrameResult, Match, Reason

ANN, BEA, STRANGER = FaceTruth("Ann", 20, 20), FaceTruth("Bea", 60, 20), FaceTruth(None, 100, 20)


def result(index, *answers):
    """A frame with faces around these (x, name)."""
    boxes = np.array([[x - 10, 10, x + 10, 30] for x, _ in answers], np.float32).reshape(-1, 4)
    count = len(answers)
    faces = Faces(boxes, np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32))
    matches = tuple(Match(name, Reason.MATCHED if name else Reason.BELOW_THRESHOLD) for _, name in answers)
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "demo", index, 0.0, index / FPS)
    return FrameResult(frame, faces, matches, (0,) * count)


def check(*results):
    judge = TruthCheck([(ANN, BEA, STRANGER)] * len(results))
    for one in results:
        judge.handle(one)
    return judge


def test_right_names_and_an_unknown_stranger_pass():
    judge = check(result(0, (20, None), (60, "Bea"), (100, None)), result(1, (20, "Ann"), (100, None)))
    assert judge.mistakes() == []
    assert "Ann: face found in 2 frames, named in 1" in judge.text()
    assert "the stranger: face found in 2 frames, left unknown in 2" in judge.text()


@pytest.mark.parametrize(
    ("answers", "mistake"),
    [
        ([(20, "Ann"), (60, "Ann"), (100, None)], "Bea was called Ann in 1 frames"),
        ([(20, "Ann"), (60, "Bea"), (100, "Ann")], "the stranger was called Ann in 1 frames"),
        ([(20, "Ann"), (60, None), (100, None)], "Bea was never recognised"),
        ([(20, "Ann"), (100, None)], "Bea was never recognised"),
        ([(20, "Ann"), (60, "Bea")], "the stranger was never seen"),
    ],
    ids=str,
)
def test_each_kind_of_mistake_is_named(answers, mistake):
    assert mistake in check(result(0, *answers)).mistakes()


def test_boxes_on_no_face_are_counted():
    assert check(result(0, (20, "Ann"), (60, "Bea"), (100, None), (200, None))).false_faces == 1


@pytest.mark.slow
def test_the_films_truth_lies_where_the_detector_sees_faces(networks, portraits, tmp_path):
    import cv2

    film = make_film(tmp_path / "film.mp4", portraits, load_backdrops())
    assert len(film.truth) == int(CAMERA_WAY[-1, 0] * FPS)
    recording = cv2.VideoCapture(str(film.path))
    hits = total = 0
    for index, truth in enumerate(film.truth):
        there, frame = recording.read()
        assert there and frame.shape == (HEIGHT, WIDTH, 3)
        if index % 25 == 12:
            (faces,) = networks[0].detect([frame])
            for face in truth:
                inside = (faces.boxes[:, 0] < face.x) & (face.x < faces.boxes[:, 2])
                inside &= (faces.boxes[:, 1] < face.y) & (face.y < faces.boxes[:, 3])
                hits += bool(inside.any())
                total += 1
    assert total > 10 and hits >= 0.8 * total
