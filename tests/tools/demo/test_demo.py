"""The demo fails for each of the mistakes that it promises to notice."""

from pathlib import Path

import numpy as np
import pytest

from app.tools.demo.portraits import load_backdrops
from app.tools.demo.video import CAMERA_PATH, FPS, HEIGHT, WIDTH, DemoVideo, ExpectedFace, NameCheck, make_video
from app.types import Faces, Frame, FrameResult, Match, Reason

ANN, BEA, STRANGER = ExpectedFace("Ann", 20, 20), ExpectedFace("Bea", 60, 20), ExpectedFace(None, 100, 20)


def result(index, *answers):
    """A frame with faces around these (x, name)."""
    boxes = np.array([[x - 10, 10, x + 10, 30] for x, _ in answers], np.float32).reshape(-1, 4)
    count = len(answers)
    faces = Faces(boxes, np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32))
    matches = tuple(Match(name, Reason.MATCHED if name else Reason.BELOW_THRESHOLD) for _, name in answers)
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "demo", index, 0.0, index / FPS)
    return FrameResult(frame, faces, matches, (0,) * count)


def check(*results):
    judge = NameCheck(DemoVideo(Path("video.mp4"), ((ANN, BEA, STRANGER),) * len(results)))
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
        ([(20, "Ann"), (60, "Bea")], "the stranger was never detected"),
    ],
    ids=str,
)
def test_each_kind_of_mistake_is_named(answers, mistake):
    assert mistake in check(result(0, *answers)).mistakes()


def test_detections_that_are_no_face_are_ignored():
    assert check(result(0, (20, "Ann"), (60, "Bea"), (100, None), (200, "Ann"))).mistakes() == []


@pytest.mark.slow
def test_faces_are_detected_where_the_video_shows_them(networks, portraits, tmp_path):
    import cv2

    video = make_video(tmp_path / "video.mp4", portraits, load_backdrops())
    assert len(video.expected) == int(CAMERA_PATH[-1, 0] * FPS)
    recording = cv2.VideoCapture(str(video.path))
    hits = total = 0
    for index, expected in enumerate(video.expected):
        found, frame = recording.read()
        assert found and frame.shape == (HEIGHT, WIDTH, 3)
        if index % 25 == 12:
            (faces,) = networks[0].detect([frame])
            for face in expected:
                inside = (faces.boxes[:, 0] < face.x) & (face.x < faces.boxes[:, 2])
                inside &= (faces.boxes[:, 1] < face.y) & (face.y < faces.boxes[:, 3])
                hits += bool(inside.any())
                total += 1
    assert total > 10 and hits >= 0.8 * total
