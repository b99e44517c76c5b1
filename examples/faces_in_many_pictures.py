"""Detect the faces of many pictures in one call; they may differ in size.

Pictures larger than `max_resolution` are shrunk for the detector; boxes and landmarks are in their original pixels.

python examples/faces_in_many_pictures.py *.jpg
"""

import sys

import numpy as np

from app import Recognizer, read_picture

if len(sys.argv) < 2:
    sys.exit(__doc__)


def batched_detect_with_landmarks(recognizer, images, max_resolution=1080):
    """Per image: boxes with scores (N x 5: x1, y1, x2, y2, score) and landmarks (N x 5 x 2)."""
    found = recognizer.find(images, input_size=max_resolution)
    return [(np.column_stack([faces.boxes, faces.scores]), faces.landmarks) for faces in found]


images = [read_picture(path) for path in sys.argv[1:]]
with Recognizer.from_settings() as recognizer:
    for path, (boxes, landmarks) in zip(sys.argv[1:], batched_detect_with_landmarks(recognizer, images)):
        print(path, boxes.round(2).tolist(), landmarks.shape)
