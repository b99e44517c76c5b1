"""Images of any size go into the network whole, and faces come back in the image's own pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ModelError
from app.inference.engine import TensorSpec
from app.settings import DetectionSettings
from app.types import Faces
from app.vision.close_ups import CloseUpWatch
from app.vision.detector import MAX_IMAGES_AT_ONCE, FaceDetector, shrunk_size, to_image
from app.vision.preprocessing import Preprocessing

PLAIN = Preprocessing("bgr", (104, 117, 123), 1)
SETTINGS = DetectionSettings(input_size=640, min_score=0.5)


class BrightSpotDetector(FaceDetector):
    """Finds a face wherever a pixel of the network's input is white: all the geometry, without a network."""

    def candidates(self, outputs, input_size, min_score):
        white = (outputs["planes"] > 100).all(axis=0)
        rows, columns = np.nonzero(white)
        if not len(rows):
            return Faces.empty()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        middle = (box[:, :2] + box[:, 2:]) / 2
        return Faces(box, np.ones(1, np.float32), np.repeat(middle[:, None], 5, axis=1))


class PassingEngine:
    """Returns its input."""

    max_batch = None

    def __init__(self, batch=None, height=None, width=None):
        self.inputs = (TensorSpec("input", (batch, 3, height, width), np.dtype(np.float32)),)
        self.outputs = (TensorSpec("planes", (batch, 3, height, width), np.dtype(np.float32)),)
        self.batches = []

    def run(self, feeds):
        self.batches.append(feeds["input"].shape)
        return {"planes": feeds["input"].copy()}

    def close(self):
        pass


def picture(width, height, box):
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


@pytest.mark.parametrize("fixed", [(), (640, 640), (480, 640), (320, 320)], ids=str)
@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (640, 480), (333, 517), (4000, 64), (50, 40)], ids=str)
def test_boxes_and_landmarks_are_in_the_image_s_own_pixels(size, fixed):
    width, height = size
    box = (width // 5, height // 4, width * 4 // 5, height * 3 // 4)
    detector = BrightSpotDetector(PassingEngine(None, *fixed), PLAIN, SETTINGS)
    (faces,) = detector.detect([picture(width, height, box)], close_ups=False)
    tolerance = 1.5 * max(
        1, width / min(640, fixed[1] if fixed else 640), height / min(640, fixed[0] if fixed else 640)
    )
    np.testing.assert_allclose(faces.boxes[0], box, atol=tolerance)
    np.testing.assert_allclose(faces.landmarks[0][0], ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), atol=tolerance)


BATCH_SIZES = {
    "equal": [(640, 480)] * 10,
    "different": [(640, 480), (1280, 720), (333, 517), (640, 480), (500, 500), (64, 640), (720, 1280), (900, 901)],
}


@pytest.mark.parametrize("sizes", BATCH_SIZES)
def test_a_batch_finds_in_each_image_what_it_finds_in_it_alone(networks, portraits, sizes):
    detector = networks[0]
    images = []
    for number, size in enumerate(BATCH_SIZES[sizes]):
        portrait = cv2.resize(portraits[number % 3].image, (min(size), min(size)))
        image = np.full((size[1], size[0], 3), 60 + number, np.uint8)
        image[-min(size) :, -min(size) :] = portrait
        images.append(image)
    together = detector.detect(images)
    assert [len(faces) > 0 for faces in together].count(True) >= len(images) - 1
    for image, faces in zip(images, together):
        (alone,) = detector.detect([image])
        np.testing.assert_allclose(faces.boxes, alone.boxes, atol=0.01)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=0.01)
        np.testing.assert_allclose(faces.scores, alone.scores, atol=1e-4)


def test_images_that_need_the_same_input_go_through_the_network_together():
    engine = PassingEngine()
    sizes = [(640, 480), (1280, 960), (320, 500), (640, 470), (300, 500)]
    BrightSpotDetector(engine, PLAIN, SETTINGS).detect(
        [np.zeros((h, w, 3), np.uint8) for w, h in sizes], close_ups=False
    )
    assert engine.batches == [(3, 3, 480, 640), (2, 3, 512, 320)]


def test_the_longer_side_can_be_limited_for_one_call():
    engine = PassingEngine()
    detector = BrightSpotDetector(engine, PLAIN, SETTINGS)
    images = [picture(1280, 640, (320, 160, 960, 480))]
    for input_size in (320, 1280, None):
        (faces,) = detector.detect(images, input_size, close_ups=False)
        np.testing.assert_allclose(faces.boxes, [[320, 160, 960, 480]], atol=6)
    assert engine.batches == [(1, 3, 160, 320), (1, 3, 640, 1280), (1, 3, 320, 640)]


def test_a_large_batch_is_detected_in_parts():
    engine = PassingEngine()
    images = [picture(64, 64, (number % 30, 9, 60, 60)) for number in range(MAX_IMAGES_AT_ONCE + 5)]
    found = BrightSpotDetector(engine, PLAIN, SETTINGS).detect(images)
    assert [batch[0] for batch in engine.batches] == [MAX_IMAGES_AT_ONCE, 5]
    assert [faces.boxes[0, 0] for faces in found] == [number % 30 for number in range(len(images))]


@pytest.mark.parametrize("input_size", [640, 960, 1280])
@pytest.mark.parametrize("share", [0.6, 0.75, 0.95])
def test_a_face_that_fills_the_picture_is_found_at_any_input_size(networks, portraits, input_size, share):
    detector = networks[0]
    for portrait in portraits[:3]:
        (faces,) = detector.detect([portrait.image])
        x1, y1, x2, y2 = faces.boxes[0]
        side = (y2 - y1) / share
        left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        scale = 1280 / side
        transform = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
        image = cv2.warpAffine(portrait.image, transform, (1280, 1280), flags=cv2.INTER_CUBIC)
        (close,) = detector.detect([image], input_size)
        expected = (faces.boxes[0].reshape(2, 2) - (left, top)) * scale
        assert np.abs(close.boxes - expected.reshape(-1)).max(axis=1).min() < 0.15 * 1280 * share


def test_large_images_are_looked_at_again_at_a_small_size():
    engine = PassingEngine()
    near, far = picture(1280, 960, (100, 100, 600, 700)), picture(1280, 960, (9, 9, 99, 99))
    small_picture = picture(300, 200, (9, 9, 19, 19))
    found = BrightSpotDetector(engine, PLAIN, SETTINGS).detect([near, far, small_picture])
    assert engine.batches == [(2, 3, 480, 640), (1, 3, 224, 320), (2, 3, 160, 192)]
    assert [len(faces) for faces in found] == [1, 1, 1]


class BlindToLargeDetector(BrightSpotDetector):
    """Of faces of more than 400 pixels it sees a part, as networks do."""

    def candidates(self, outputs, input_size, min_score):
        faces = super().candidates(outputs, input_size, min_score)
        if len(faces) and (faces.boxes[:, 2:] - faces.boxes[:, :2]).max() > 400:
            faces.boxes[:, 2:] = faces.boxes[:, :2] + 150
        return faces


def test_a_close_up_is_found_beside_others_of_the_batch():
    images = [picture(1280, 960, (100, 100, 300, 400)), picture(1280, 960, (100, 30, 1000, 930))]
    found = BlindToLargeDetector(PassingEngine(), PLAIN, SETTINGS).detect(images)
    np.testing.assert_allclose(found[0].boxes, [[100, 100, 300, 400]], atol=8)
    np.testing.assert_allclose(found[1].boxes, [[100, 30, 1000, 930]], atol=8)
    assert [len(faces) for faces in found] == [1, 1]
    once = BlindToLargeDetector(PassingEngine(), PLAIN, SETTINGS).detect(images, close_ups=False)
    np.testing.assert_allclose(once[1].boxes, [[100, 30, 400, 330]], atol=8)


def test_a_channel_is_looked_at_twice_now_and_then_and_while_somebody_is_near():
    watch, nothing, near = CloseUpWatch(), Faces.empty(), close_face()
    seen = []
    for faces in [nothing] * 5 + [near, near, nothing] + [nothing] * 3:
        seen.append(watch.due())
        watch.saw(faces, (480, 640, 3))
    assert seen == [True] + [False] * 4 + [True, True, True, False, False, True]


def close_face():
    return Faces(np.array([[100, 20, 500, 470]], np.float32), np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))


def test_networks_of_a_fixed_size_look_once():
    engine = PassingEngine(None, 640, 640)
    BlindToLargeDetector(engine, PLAIN, SETTINGS).detect([picture(1280, 960, (100, 30, 1000, 930))])
    assert engine.batches == [(1, 3, 640, 640)]


def test_the_minimum_score_must_be_resolved_before():
    with pytest.raises(ValueError):
        BrightSpotDetector(PassingEngine(), PLAIN, DetectionSettings())


def test_a_network_fixed_to_a_batch_of_one_gets_one_image_at_a_time():
    engine = PassingEngine(batch=1, height=640, width=640)
    found = BrightSpotDetector(engine, PLAIN, SETTINGS).detect([picture(640, 640, (9, 9, 99, 99))] * 3)
    assert engine.batches == [(1, 3, 640, 640)] * 3
    assert [len(faces) for faces in found] == [1, 1, 1]


def test_the_buffer_of_the_image_before_is_cleared():
    detector = BrightSpotDetector(PassingEngine(1, 640, 640), PLAIN, SETTINGS)
    detector.detect([np.full((640, 640, 3), 255, np.uint8)])
    (faces,) = detector.detect([picture(640, 100, (10, 10, 20, 20))])
    np.testing.assert_allclose(faces.boxes, [[10, 10, 20, 20]])


def test_no_images_give_no_results():
    assert BrightSpotDetector(PassingEngine(), PLAIN, SETTINGS).detect([]) == []


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(64, 2000))
def test_shrinking_keeps_the_aspect_and_never_enlarges(width, height, longest):
    new_width, new_height = shrunk_size((width, height), longest, None)
    assert max(new_width, new_height) <= max(longest, 1)
    assert new_width <= width and new_height <= height
    if max(width, height) <= longest:
        assert (new_width, new_height) == (width, height)
    else:
        rounding = max(width, height) * 0.5 + 1
        assert abs(new_width * height - new_height * width) <= rounding or min(new_width, new_height) == 1


def test_boxes_are_clipped_at_the_edges_and_dropped_outside():
    boxes = np.array([[-10, -10, 20, 20], [50, 50, 80, 70], [200, 200, 220, 220]], np.float32)
    faces = to_image(Faces(boxes, np.ones(3, np.float32), np.zeros((3, 5, 2), np.float32)), (1.0, 1.0), (60, 60))
    np.testing.assert_array_equal(faces.boxes, [[0, 0, 20, 20], [50, 50, 60, 60]])


@pytest.mark.parametrize("channels", ["bgr", "rgb"])
def test_preprocessing_follows_its_formula(channels):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    planes = np.full((3, 64, 64), -1, np.float32)
    Preprocessing(channels, (10, 20, 30), 128).fill(planes, image)
    ordered = image if channels == "bgr" else image[:, :, ::-1]
    expected = (ordered.astype(np.float64) - (10, 20, 30)) / 128
    np.testing.assert_allclose(planes[:, :40, :50], expected.transpose(2, 0, 1), atol=1e-6)
    assert (planes[:, 40:] == -1).all() and (planes[:, :, 50:] == -1).all()


@pytest.mark.parametrize(("height", "width"), [(480, None), (None, 640)])
def test_a_network_with_one_fixed_side_is_an_error(height, width):
    with pytest.raises(ModelError, match="N x 3 x height x width"):
        BrightSpotDetector(PassingEngine(1, height, width), PLAIN, SETTINGS)
