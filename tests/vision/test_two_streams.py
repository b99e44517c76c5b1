"""A face of the small stream is found again in the large one only if it is there and looks alike."""

import cv2
import numpy as np
import pytest

from app.settings import QualityLimits
from app.tools.demo.portraits import heads_of
from app.vision.two_streams import MIN_ALIKE, alike, found_in_large, with_faces

RATIO = 3


@pytest.fixture(scope="module")
def large(people_video):
    """Three people next to each other, 1280 x 720."""
    return cv2.VideoCapture(str(people_video)).read()[1]


def small_of(image, ratio=RATIO):
    """As the camera encodes it."""
    shrunk = cv2.resize(image, (image.shape[1] // ratio, image.shape[0] // ratio), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


def find_with(recognizer):
    return lambda parts, px: recognizer.find(parts, input_size=px, close_ups=False)


def test_each_face_is_found_at_its_place_in_the_large_frame(recognizer, large):
    small = small_of(large)
    (faces,), (expected,) = recognizer.find([small]), recognizer.find([large])
    again = found_in_large(faces, range(len(faces)), small, large, find_with(recognizer))
    assert sorted(again) == list(range(len(faces))) and len(faces) == 3
    for face in again.values():
        nearest = np.abs(expected.boxes - face.boxes).max(axis=1)
        assert nearest.min() < 0.2 * (face.boxes[0, 2] - face.boxes[0, 0])
    moved = with_faces(faces, again)
    assert (moved.boxes[:, 2] - moved.boxes[:, 0]).min() > 2 * (faces.boxes[:, 2] - faces.boxes[:, 0]).max() / RATIO


def test_another_person_at_the_same_place_is_not_taken_for_the_face(recognizer, portraits):
    alone = [np.pad(head, ((180, 180), (480, 480), (0, 0)), constant_values=110) for head in heads_of(portraits)]
    for one in alone:
        small = small_of(one)
        (faces,) = recognizer.find([small])
        same = [bool(found_in_large(faces, [0], small, other, find_with(recognizer))) for other in alone]
        assert same == [other is one for other in alone]


def test_a_face_that_has_gone_is_not_found(recognizer, large):
    small = small_of(large)
    (faces,) = recognizer.find([small])
    assert found_in_large(faces, [0], small, np.full_like(large, 127), find_with(recognizer)) == {}


def test_streams_of_different_shapes_are_no_problem(recognizer, large):
    """Small streams of 704 x 576 are often squeezed pictures of 16:9."""
    squeezed = cv2.resize(large, (704, 576), interpolation=cv2.INTER_AREA)
    (faces,) = recognizer.find([squeezed])
    again = found_in_large(faces, range(len(faces)), squeezed, large, find_with(recognizer))
    assert len(again) == len(faces) == 3


@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize("shrink", [1.0, 0.6, 0.4])
def test_one_person_is_alike_and_two_are_not(recognizer, large, ratio, shrink):
    image = cv2.resize(large, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    small = small_of(image, ratio)
    (faces,), (there,) = recognizer.find([small]), recognizer.find([image])
    scale = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]] * 2, np.float32)
    assert len(there) == 3
    for row in range(len(faces)):
        values = sorted(alike(small, faces.boxes[row], image, box, scale) for box in there.boxes)
        assert values[-1] > 0.84 > MIN_ALIKE > 0.66 > values[-2]


@pytest.mark.parametrize("late_s", [-0.3, 0.0, 0.3])
def test_people_who_cross_are_found_again_without_being_mixed_up_when_one_stream_is_late(recognizer, portraits, late_s):
    """Two people cross at 150 pixels per second, with faces of 90 pixels: half a face further after 0.3 s."""
    heads = []
    for head in heads_of(portraits)[:2]:
        (found,) = recognizer.find([head])
        scale = 90 / float(found.boxes[0, 2] - found.boxes[0, 0])
        heads.append(cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    known = [recognizer.embed(head, recognizer.find([head])[0]).embeddings[0] for head in heads]

    def picture(time_s):
        image = np.full((720, 1280, 3), 110, np.uint8)
        middles = []
        for head, left, top in zip(heads, (300 + 150 * time_s, 900 - 150 * time_s), (250, 270)):
            height, width = head.shape[:2]
            image[top : top + height, round(left) : round(left) + width] = head
            middles.append(left + width / 2)
        return image, np.array(middles)

    looked_for, found_again = 0, 0
    for time_s in np.arange(0.4, 3.4, 0.2):
        (shown, middles), (large, _) = picture(time_s), picture(time_s - late_s)
        small = small_of(shown)
        (faces,) = recognizer.find([small])
        again = found_in_large(faces, range(len(faces)), small, large, find_with(recognizer))
        looked_for, found_again = looked_for + len(faces), found_again + len(again)
        for row, face in again.items():
            embedding = recognizer.embed(large, face).embeddings[0]
            distances = np.abs(middles - float(faces.boxes[row, [0, 2]].mean()) * RATIO)
            if np.ptp(distances) > 60:  # nearer together, it is hidden who it is
                assert np.argmax([embedding @ one for one in known]) == distances.argmin()
    assert looked_for > 20 and found_again >= 0.8 * looked_for


def test_faces_are_embedded_with_the_pixels_of_the_large_frame(recognizer, large):
    small = small_of(large)
    (faces,), (there,) = recognizer.find([small]), recognizer.find([large])
    reference = recognizer.embed(large, there).embeddings
    rows = list(range(len(faces)))
    coarse = recognizer.embed(small, faces).embeddings
    examined, found = recognizer.embed_good_from([large], small, faces, rows, QualityLimits())
    assert found == 3 and (examined.faces.boxes == faces.boxes).all()
    fine, coarse = ((vectors @ reference.T).max(axis=1) for vectors in (examined.faces.embeddings, coarse))
    assert (fine > coarse).all() and sorted(fine)[1] > 0.9, "the third one is seen from the side"
    assert examined.quality[0].size_px[0] > 2 * (faces.boxes[0, 2:] - faces.boxes[0, :2]).min()


def test_faces_that_are_in_no_large_frame_are_embedded_as_they_are(recognizer, large):
    small = small_of(large)
    (faces,) = recognizer.find([small])
    half = large.copy()
    half[:, large.shape[1] // 2 :] = 127
    examined, found = recognizer.embed_good_from([half], small, faces, [0, 1, 2], QualityLimits())
    assert 0 < found < 3
    assert np.isfinite(examined.faces.embeddings).all() and sorted(examined.quality) == [0, 1, 2]
    alone = recognizer.embed_good(small, faces, [0, 1, 2], QualityLimits()).faces.embeddings
    same = np.isclose(examined.faces.embeddings, alone, atol=1e-5).all(axis=1)
    assert same.sum() == 3 - found
