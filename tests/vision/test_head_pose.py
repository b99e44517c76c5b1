"""Head pose from five landmarks, against faces rotated by known angles."""

import numpy as np
import pytest

from app.vision.head_pose import FACE_MODEL, fit_head, head_poses

MEAN_FACE_MM = FACE_MODEL * 64
# Eyes 64 mm apart, a nose of 30 mm, a long face with a mouth 50 mm wide. x right, y down, z away.
LONG_FACE_MM = np.array([[-32, 0, 0], [32, 0, 0], [0, 40, -30], [-25, 74, -5], [25, 74, -5]], float)
FRONTAL = FACE_MODEL[None, :, :2] * 40 + 100


def rotation(yaw, pitch, roll):
    """Roll about the face's own axis, then up, then sideways."""
    yaw, up, lean = np.radians([-yaw, pitch, roll])
    sideways = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(up), np.sin(up)], [0, -np.sin(up), np.cos(up)]])
    tilt = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1]])
    return sideways @ nod @ tilt


def seen_by_a_camera(angles, face_mm=MEAN_FACE_MM, distance_mm=1000, focal_px=900):
    points = face_mm @ rotation(*angles).T + (0, 0, distance_mm)
    return points[:, :2] / points[:, 2:] * focal_px + (640, 360)


@pytest.mark.parametrize("yaw", [-40, -15, 0, 25])
@pytest.mark.parametrize("pitch", [-25, 0, 20])
@pytest.mark.parametrize("roll", [-30, 0, 45])
def test_the_pose_of_a_rotated_face_is_found(yaw, pitch, roll):
    mean, long = head_poses(
        np.stack([seen_by_a_camera((yaw, pitch, roll), face) for face in (MEAN_FACE_MM, LONG_FACE_MM)])
    )
    np.testing.assert_allclose(mean, (yaw, pitch, roll), atol=4)
    np.testing.assert_allclose(long, (yaw, pitch, roll), atol=4)


def test_points_that_are_no_face_do_not_fit():
    turned = seen_by_a_camera((40, 10, 20))
    scattered = turned[[2, 0, 4, 1, 3]]
    one_place = np.full_like(turned, 100) + np.random.default_rng(0).normal(size=turned.shape)
    fitting, *others = fit_head(np.stack([turned, scattered, one_place]))[1]
    assert fitting < 0.1 and min(others) > 0.3


def test_the_average_face_is_frontal():
    np.testing.assert_allclose(head_poses(FRONTAL), [[0, 0, 0]], atol=0.1)


def test_size_and_place_do_not_matter_and_faces_do_not_mix():
    turned, straight = seen_by_a_camera((30, 0, 0)), seen_by_a_camera((0, 0, 0))
    both = head_poses(np.stack([turned * 4 - 700, straight * 0.2]))
    np.testing.assert_allclose(both, head_poses(np.stack([turned, straight])), atol=1e-2)
    assert both[0, 0] > 20 > both[1, 0]


def test_the_signs_are_those_that_a_viewer_expects():
    nose_right, nose_up = FRONTAL.copy(), FRONTAL.copy()
    nose_right[0, 2, 0] += 6
    nose_up[0, 2, 1] -= 6
    assert head_poses(nose_right)[0, 0] > 10
    assert head_poses(nose_up)[0, 1] > 10
    clockwise = np.array([[0.866, -0.5], [0.5, 0.866]], np.float32)
    assert 25 < head_poses(FRONTAL @ clockwise.T)[0, 2] < 35


def test_no_faces_have_no_poses():
    assert head_poses(np.empty((0, 5, 2))).shape == (0, 3)


def test_points_that_coincide_give_finite_angles():
    assert np.isfinite(head_poses(np.full((1, 5, 2), 7.0))).all()
