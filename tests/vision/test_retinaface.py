"""Decoding RetinaFace's outputs, against a slow decoder written from the formulas of the paper."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ModelError
from app.inference.engine import TensorSpec
from app.settings import DetectionSettings
from app.types import Faces
from app.vision.detector import suppress_overlaps
from app.vision.preprocessing import Preprocessing
from app.vision.retinaface import RetinaFace, RetinaFaceAnchors, anchor_boxes, decode

ANCHORS = RetinaFaceAnchors(((16, 32), (64, 128), (256, 512)))
PLAIN = Preprocessing("bgr", (104, 117, 123), 1)
SETTINGS = DetectionSettings(min_score=0.6)


def slow_anchors(width, height):
    found = []
    for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(math.ceil(height / stride)):
            for column in range(math.ceil(width / stride)):
                for size in sizes:
                    found.append(((column + 0.5) * stride, (row + 0.5) * stride, size, size))
    return found


def slow_decode(offset, marks, anchor):
    cx, cy, w, h = anchor
    x, y = cx + offset[0] * 0.1 * w, cy + offset[1] * 0.1 * h
    bw, bh = w * math.exp(offset[2] * 0.2), h * math.exp(offset[3] * 0.2)
    points = [(cx + marks[2 * i] * 0.1 * w, cy + marks[2 * i + 1] * 0.1 * h) for i in range(5)]
    return (x - bw / 2, y - bh / 2, x + bw / 2, y + bh / 2), points


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_nms(boxes, scores, limit):
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        if all(slow_iou(boxes[i], boxes[k]) <= limit for k in kept):
            kept.append(i)
    return kept


class PlantedEngine:
    """A network whose outputs are set by the test."""

    inputs = (TensorSpec("input", (None, 3, None, None), np.dtype(np.float32)),)

    max_batch = None

    def __init__(self, loc, conf, landms, names=("loc", "conf", "landms")):
        self._answers = dict(zip(names, (loc, conf, landms)))
        self.outputs = tuple(
            TensorSpec(name, (None, None, value.shape[-1]), value.dtype) for name, value in self._answers.items()
        )

    def run(self, feeds):
        (images,) = feeds.values()
        return {name: np.stack([value] * len(images)) for name, value in self._answers.items()}

    def close(self):
        pass


def random_outputs(seed, count, faces=6):
    random = np.random.default_rng(seed)
    loc = random.normal(0, 1, (count, 4)).astype(np.float32)
    landms = random.normal(0, 1, (count, 10)).astype(np.float32)
    face = random.uniform(0, 0.3, count).astype(np.float32)
    face[random.choice(count, faces, replace=False)] = random.uniform(0.7, 0.99, faces)
    return loc, np.stack([1 - face, face], axis=1), landms


@pytest.mark.parametrize("size", [(640, 384), (320, 320), (96, 64)])
def test_anchors_are_in_the_order_stride_row_column_size(size):
    np.testing.assert_allclose(anchor_boxes(size, ANCHORS), slow_anchors(*size), rtol=1e-6)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_decoding_equals_the_formulas(seed):
    random = np.random.default_rng(seed)
    count = 40
    priors = anchor_boxes((320, 192), ANCHORS)
    rows = random.integers(0, len(priors), count)
    loc, _, landms = random_outputs(seed, count)
    boxes, landmarks = decode(loc, landms, priors[rows], (0.1, 0.2))
    for i, row in enumerate(rows):
        box, points = slow_decode(loc[i].tolist(), landms[i].tolist(), priors[row].tolist())
        np.testing.assert_allclose(boxes[i], box, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(landmarks[i], points, rtol=1e-4, atol=1e-3)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_detection_equals_decoding_everything_slowly(seed):
    anchors = slow_anchors(320, 192)
    loc, conf, landms = random_outputs(seed, len(anchors))
    detector = RetinaFace(PlantedEngine(loc, conf, landms), PLAIN, SETTINGS, ANCHORS)
    (faces,) = detector.detect([np.zeros((192, 320, 3), np.uint8)])

    decoded = [slow_decode(loc[i].tolist(), landms[i].tolist(), anchors[i]) for i in range(len(anchors))]
    survivors = [i for i in range(len(anchors)) if conf[i, 1] >= 0.6]
    boxes = [decoded[i][0] for i in survivors]
    kept = [survivors[k] for k in slow_nms(boxes, [conf[i, 1] for i in survivors], 0.4)]
    expected = [np.clip(decoded[i][0], 0, (320, 192, 320, 192)) for i in kept]
    visible = [k for k, box in enumerate(expected) if box[2] > box[0] and box[3] > box[1]]
    assert len(faces) == len(visible)
    for row, k in enumerate(visible):
        np.testing.assert_allclose(faces.boxes[row], expected[k], rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(faces.landmarks[row], decoded[kept[k]][1], rtol=1e-4, atol=1e-2)
        assert faces.scores[row] == conf[kept[k], 1]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_suppression_equals_the_slow_loop(seed, count):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 100, (count, 2))
    boxes = np.hstack([corners, corners + random.uniform(5, 60, (count, 2))]).astype(np.float32)
    scores = random.permutation(np.linspace(0.5, 0.99, count)).astype(np.float32)
    faces = Faces(boxes, scores, np.zeros((count, 5, 2), np.float32))
    kept = suppress_overlaps(faces, 0.4)
    expected = slow_nms(boxes.astype(float).tolist(), scores.tolist(), 0.4)
    np.testing.assert_array_equal(kept.boxes, boxes[expected])


def test_suppression_keeps_the_best_box_of_a_noisy_image():
    random = np.random.default_rng(1)
    corners = random.uniform(0, 5000, (3000, 2))
    scores = random.uniform(0.6, 1, 3000).astype(np.float32)
    faces = Faces(np.hstack([corners, corners + 10]).astype(np.float32), scores, np.zeros((3000, 5, 2), np.float32))
    assert suppress_overlaps(faces, 0.4).scores[0] == scores.max()


def test_outputs_with_other_names_are_recognised_by_their_shape():
    loc, conf, landms = random_outputs(3, len(slow_anchors(320, 192)))
    picture = [np.zeros((192, 320, 3), np.uint8)]
    named = RetinaFace(PlantedEngine(loc, conf, landms), PLAIN, SETTINGS, ANCHORS)
    numbered = RetinaFace(PlantedEngine(loc, conf, landms, ("585", "586", "587")), PLAIN, SETTINGS, ANCHORS)
    np.testing.assert_array_equal(named.detect(picture)[0].boxes, numbered.detect(picture)[0].boxes)


def test_a_network_of_another_family_is_an_error():
    count = len(slow_anchors(320, 192))
    wrong = PlantedEngine(np.zeros((count, 1)), np.zeros((count, 1)), np.zeros((count, 7)), ("a", "b", "c"))
    with pytest.raises(ModelError, match=r"(?s)RetinaFace \(PyTorch\).* loc.*found a"):
        RetinaFace(wrong, PLAIN, SETTINGS, ANCHORS)
