"""Alignment puts the five landmarks where the network expects them."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vision.align import align_faces, similarity_transforms, template

angles = st.floats(-np.pi, np.pi)
scales = st.floats(0.1, 20)
shifts = st.floats(-2000, 2000)


def moved(points, angle, scale, dx, dy):
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ rotation.T + (dx, dy)


def umeyama(source, target):
    """The textbook solution, by singular values: slow, and independent of the code under test."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    u, values, vt = np.linalg.svd(covariance)
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = (values * signs).sum() / (source - source_mean).var(axis=0).sum()
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


@given(angles, scales, shifts, shifts)
def test_a_moved_template_is_mapped_back(angle, scale, dx, dy):
    goal = template()
    landmarks = moved(goal, angle, scale, dx, dy)
    (transform,) = similarity_transforms(landmarks[None], goal)
    back = landmarks @ transform[:, :2].T + transform[:, 2]
    assert np.abs(back - goal).max() < 1e-3


@given(st.integers(0, 2**32 - 1))
def test_noisy_landmarks_give_the_transform_of_the_textbook(seed):
    random = np.random.default_rng(seed)
    landmarks = moved(template(), random.uniform(-1, 1), random.uniform(0.5, 5), 300, 200) + random.normal(0, 8, (5, 2))
    (transform,) = similarity_transforms(landmarks[None], template())
    np.testing.assert_allclose(transform, umeyama(landmarks, template().astype(np.float64)), atol=1e-6)


def test_several_faces_are_transformed_as_each_one_alone():
    random = np.random.default_rng(0)
    faces = random.uniform(0, 500, (8, 5, 2))
    together = similarity_transforms(faces, template())
    alone = [similarity_transforms(face[None], template())[0] for face in faces]
    np.testing.assert_allclose(together, alone, atol=1e-9)


def test_coinciding_landmarks_give_finite_transforms():
    transforms = similarity_transforms(np.full((1, 5, 2), 7.0), template())
    assert np.isfinite(transforms).all()


def test_a_narrow_crop_is_the_middle_of_the_square_one():
    np.testing.assert_allclose(template((96, 112)), template((112, 112)) - (8, 0), atol=1e-5)


@pytest.mark.parametrize("size", [(112, 112), (96, 112), (224, 224)])
def test_the_crop_shows_marks_painted_on_the_landmarks(size):
    landmarks = moved(template(size), 0.4, 2.5, 300, 150)
    image = np.zeros((800, 1000, 3), np.uint8)
    for x, y in landmarks:
        cv2.circle(image, (round(x), round(y)), 6, (255, 255, 255), -1)
    (crop,) = align_faces(image, landmarks[None], size)
    assert crop.shape == (size[1], size[0], 3)
    for x, y in template(size):
        assert crop[round(y), round(x)].min() > 200


def test_no_faces_give_no_crops():
    assert align_faces(np.zeros((10, 10, 3), np.uint8), np.empty((0, 5, 2))).shape == (0, 112, 112, 3)
