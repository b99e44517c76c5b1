"""Faces are hidden before a frame reaches any output, and only those that should be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_results import ANN, STRANGER, frame, result, track

from app.errors import OutputError
from app.output.cover import ALL, STRANGERS, FaceCover, hidden_box, must_cover, region_of
from app.output.outputs import Outputs
from app.settings import OutputSettings
from app.types import NOT_COMPARED_YET, Faces, Match, Reason

BOX = (120, 60, 160, 110)
LIKE_ANN = Match(None, Reason.BELOW_THRESHOLD, 0.3, nearest="Ann")
BOB = Match("Bob", Reason.MATCHED, 0.7, nearest="Bob")


def noise(width=320, height=180):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def noisy(boxes=(), matches=(), tracks=()):
    return result(frame(image=noise()), boxes, matches, tracks)


def changed(before, after):
    """The pixels that differ, as a mask."""
    return (before.frame.image != after.frame.image).any(axis=2)


@pytest.mark.parametrize(
    ("who", "match", "covered"),
    [
        (ALL, ANN, True),
        (ALL, STRANGER, True),
        (STRANGERS, ANN, False),
        (STRANGERS, STRANGER, True),
        (STRANGERS, NOT_COMPARED_YET, True),
        ("Ann", ANN, True),
        ("Ann", BOB, False),
        ("Ann", STRANGER, False),
        ("Ann", LIKE_ANN, True),
        ("Ann", NOT_COMPARED_YET, True),
        ("Ann", replace(BOB, name=None, reason=Reason.AMBIGUOUS, runner_up="Ann"), True),
        ("Ann", replace(BOB, name=None, reason=Reason.VOTES_DISAGREE, runner_up="Ann"), True),
        ("Ann", replace(BOB, name=None, reason=Reason.BELOW_THRESHOLD, runner_up="Ann"), False),
        ("Ann", Match(None, Reason.NO_ONE_ENROLLED), True),
    ],
)
def test_in_doubt_a_face_is_covered(who, match, covered):
    assert must_cover(match, who) is covered


@pytest.mark.parametrize("cover", [FaceCover(ALL), FaceCover(ALL, pixelate=True)])
def test_what_is_covered_has_no_detail_left_and_the_rest_of_the_picture_is_the_same(cover):
    before = noisy([BOX], [ANN])
    original = before.frame.image.copy()
    after = cover.apply(before)
    np.testing.assert_array_equal(before.frame.image, original)
    hidden = changed(before, after)
    assert hidden[60:110, 125:155].mean() > 0.98
    assert not hidden[:, :100].any()
    assert not hidden[:, 180:].any()
    assert np.diff(after.frame.image[65:105, 130:150].astype(int), axis=1).std() < 20
    assert np.diff(original[65:105, 130:150].astype(int), axis=1).std() > 90


def test_without_a_face_to_cover_the_result_is_passed_on_without_a_copy():
    before = noisy([BOX], [ANN])
    assert FaceCover(STRANGERS).apply(before) is before


def test_only_the_faces_of_those_who_are_to_be_hidden_are_covered():
    before = noisy([BOX, (220, 60, 260, 110)], [ANN, STRANGER])
    hidden = changed(before, FaceCover(STRANGERS).apply(before))
    assert not hidden[:, :190].any()
    assert hidden[85, 240]


def test_a_face_that_was_not_found_in_this_frame_is_covered_from_its_last_to_its_expected_place():
    moving = replace(track(1, box=BOX), expected_box=np.add(BOX, (40, 0, 40, 0)).astype(np.float32))
    before = noisy(tracks=[moving])
    hidden = changed(before, FaceCover(STRANGERS).apply(before))
    assert hidden[85, 125:195].mean() > 0.98


def test_the_box_of_a_hidden_face_grows():
    x1, y1, x2, y2 = hidden_box(track(1, box=BOX))
    assert (x1, x2) == (pytest.approx(108), pytest.approx(172))
    assert (y1, y2) == (pytest.approx(45), pytest.approx(125))


@pytest.mark.parametrize("angle", [-90, -20, 0, 20, 90])
def test_the_cover_leans_like_the_head(angle):
    upright = np.array([[-10, -10], [10, -10], [0, 0], [-8, 12], [8, 12]], np.float32)
    turn = cv2.getRotationMatrix2D((0, 0), -angle, 1)[:, :2]
    region = region_of(np.array(BOX), upright @ turn.T + (140, 85))
    assert region.angle_deg == pytest.approx(angle, abs=1e-3)


def test_landmarks_that_are_not_finite_leave_the_cover_upright():
    assert region_of(np.array(BOX), np.full((5, 2), np.nan)).angle_deg == 0


@pytest.mark.parametrize("box", [(-30, -20, 10, 20), (300, 160, 400, 300), (-500, -500, -400, -400), (50, 50, 50, 50)])
@pytest.mark.parametrize("with_picture", [True, False])
def test_a_face_at_the_edge_or_outside_of_the_frame_is_no_problem(box, with_picture):
    picture = np.full((20, 30, 4), 255, np.uint8) if with_picture else None
    after = FaceCover(ALL, picture=picture).apply(noisy([box], [ANN]))
    assert after.frame.image.shape == (180, 320, 3)


def test_a_picture_covers_the_face_where_it_is_opaque(tmp_path):
    picture = np.zeros((60, 40, 4), np.uint8)
    picture[:, 20:] = (0, 0, 255, 255)
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), picture)
    cover = FaceCover.from_settings(OutputSettings(cover=ALL, cover_with=path))
    before = noisy()
    box = np.array([BOX], np.float32)
    landmarks = np.array([[[130, 75], [150, 75], [140, 85], [132, 97], [148, 97]]], np.float32)
    before = replace(before, faces=Faces(box, np.ones(1, np.float32), landmarks), matches=(ANN,), track_ids=(0,))
    after = cover.apply(before).frame.image
    assert (after[70:100, 145:155] == (0, 0, 255)).all()
    # Where it is transparent, the face is not visible either.
    assert (after[70:100, 125:135] != before.frame.image[70:100, 125:135]).any(axis=2).mean() > 0.9


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_a_cover_that_is_not_a_picture_is_refused(tmp_path, content):
    path = tmp_path / "mask.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutputError, match=r"mask\.png"):
        FaceCover.from_settings(OutputSettings(cover=ALL, cover_with=path))


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (3000, 20, 3)])
def test_a_picture_without_transparency_or_a_large_one_is_fine(tmp_path, shape):
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.full(shape, 255, np.uint8))
    cover = FaceCover.from_settings(OutputSettings(cover=ALL, cover_with=path))
    assert cover.picture.shape[2] == 4
    assert max(cover.picture.shape[:2]) <= 1024


def test_every_output_gets_the_covered_frame():
    class Screen:
        name = "screen"

        def __init__(self):
            self.images = []

        def handle(self, handed):
            self.images.append(handed.frame.image)

        def close(self):
            pass

    screens = [Screen(), Screen()]
    before = noisy([BOX], [STRANGER])
    with Outputs(screens, FaceCover(STRANGERS).apply) as outputs:
        outputs.handle(before)
    for screen in screens:
        assert (screen.images[0][80:90, 135:145] != before.frame.image[80:90, 135:145]).any()
