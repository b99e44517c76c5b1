"""What all face detectors share: frames to network input, survivors of the threshold through NMS, back to the frame.

A model family adds the middle: how its outputs are read (see `app/vision/retinaface.py`, and
`app/vision/grid_detector.py` for all others).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import OpenedNetwork
from app.inference.engine import Engine, run_in_batches
from app.settings import DetectionSettings
from app.text import program
from app.types import Faces
from app.vision.model_outputs import takes_pictures
from app.vision.preprocessing import Preprocessing

DEFAULT_MIN_SCORE = 0.6
"""For detectors whose catalogue entry gives no score of its own."""

SIZE_STEP = 32
"""Networks halve their input five times: its sides must be multiples of this."""

SMALLEST_INPUT = 64
"""A network fixed to less was exported with a size that nobody means to use."""

MOST_CANDIDATES = 1000
"""Boxes that go into NMS, best first; a picture full of noise must not stop the program."""


@dataclass(frozen=True)
class DetectorInput:
    """Frames made ready for the network. The tensor is overwritten by the detector's next `prepare`."""

    tensor: np.ndarray
    """N x 3 x H x W."""
    scales: Tuple[Tuple[float, float], ...]
    """Network pixels per frame pixel, horizontally and vertically, for each frame."""
    frame_sizes: Tuple[Tuple[int, int], ...]
    """Width and height of each frame."""

    @property
    def size(self) -> Tuple[int, int]:
        """Width and height of the network's input."""
        return self.tensor.shape[3], self.tensor.shape[2]


class FaceDetector(ABC):
    """A network that finds faces. Owns its engine."""

    photo_score = 0.8
    """From which score on a face in a photo is one beyond doubt; families whose scores run lower have their own."""
    predicts_masks = False
    """Whether the network says of each face if it wears a mask."""
    runs_on: Optional[OpenedNetwork] = None
    """What it was opened on and why; None where no choice was made."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings) -> None:
        self._engine = engine
        self._preprocessing = preprocessing
        self._settings = settings
        self._min_score = DEFAULT_MIN_SCORE if settings.min_score is None else settings.min_score
        self._buffer = np.empty((0, 3, 0, 0), np.float32)
        self.fixed_size = _fixed_size(engine)
        """Width and height of the only input that the network takes; None: it takes any."""
        self._one_at_a_time = _answers_without_batch(engine)

    def detect(self, images: Sequence[np.ndarray]) -> List[Faces]:
        """The faces of each image, best first, in the image's own pixels."""
        if not images:
            return []
        prepared = self.prepare(images)
        return self.decode(self.infer(prepared), prepared)

    def prepare(self, images: Sequence[np.ndarray]) -> DetectorInput:
        """Shrinks each frame to the input's size, keeping its aspect; the rest (right, below) becomes zeros."""
        frame_sizes = tuple((image.shape[1], image.shape[0]) for image in images)
        shrunk = [shrunk_size(size, self._settings.input_size, self.fixed_size) for size in frame_sizes]
        width, height = self.fixed_size or (
            rounded_up(max(size[0] for size in shrunk)),
            rounded_up(max(size[1] for size in shrunk)),
        )
        tensor = self._tensor((len(images), 3, height, width))
        for planes, image, size in zip(tensor, images, shrunk):
            fitting = image if (image.shape[1], image.shape[0]) == size else cv2.resize(image, size)
            planes[:, size[1] :, :] = 0
            planes[:, : size[1], size[0] :] = 0
            self._preprocessing.fill(planes, fitting)
        scales = tuple((s[0] / f[0], s[1] / f[1]) for s, f in zip(shrunk, frame_sizes))
        return DetectorInput(tensor, scales, frame_sizes)

    def infer(self, prepared: DetectorInput) -> Dict[str, np.ndarray]:
        """The outputs by name, each with one row a frame, also of a network that cannot tell frames apart."""
        if not self._one_at_a_time:
            return run_in_batches(self._engine, prepared.tensor)
        (network_input,) = self._engine.inputs
        runs = [self._engine.run({network_input.name: frame[None]}) for frame in prepared.tensor]
        return {
            name: np.stack([run[name] if run[name].ndim == 2 else run[name][0] for run in runs]) for name in runs[0]
        }

    def decode(self, outputs: Mapping[str, np.ndarray], prepared: DetectorInput) -> List[Faces]:
        faces = []
        for row, (scale, frame_size) in enumerate(zip(prepared.scales, prepared.frame_sizes)):
            found = self.candidates({name: value[row] for name, value in outputs.items()}, prepared.size)
            faces.append(to_frame(suppress_overlaps(found, self._settings.nms_iou), scale, frame_size))
        return faces

    @abstractmethod
    def candidates(self, outputs: Mapping[str, np.ndarray], input_size: Tuple[int, int]) -> Faces:
        """One frame's boxes above the least score, in the network's pixels, still overlapping."""

    def close(self) -> None:
        self._engine.close()

    def _tensor(self, shape: Tuple[int, int, int, int]) -> np.ndarray:
        if self._buffer.shape != shape:
            self._buffer = np.empty(shape, np.float32)
        return self._buffer


def shrunk_size(frame: Tuple[int, int], longest: int, fixed: Optional[Tuple[int, int]]) -> Tuple[int, int]:
    """The size at which a frame is shown to the network: its aspect kept, never enlarged."""
    width, height = frame
    room_x, room_y = (min(longest, side) for side in fixed) if fixed else (longest, longest)
    scale = min(1.0, room_x / width, room_y / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def suppress_overlaps(faces: Faces, iou: float) -> Faces:
    """Non-maximum suppression: of boxes that overlap more than `iou` only the best scored stays; best first."""
    if len(faces) > MOST_CANDIDATES:
        faces = faces[np.argsort(-faces.scores, kind="stable")[:MOST_CANDIDATES]]
    if len(faces) < 2:
        return faces
    corners, sizes = faces.boxes[:, :2], faces.boxes[:, 2:] - faces.boxes[:, :2]
    # Lists on purpose: OpenCV reads them many times faster than arrays here.
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), faces.scores.tolist(), 0.0, iou)
    return faces[np.reshape(kept, -1).astype(int)]


def to_frame(faces: Faces, scale: Tuple[float, float], frame_size: Tuple[int, int]) -> Faces:
    """From the network's pixels to the frame's own, boxes cut off at its edges; what lies wholly outside is dropped."""
    width, height = frame_size
    boxes = faces.boxes / np.array([*scale, *scale], np.float32)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    landmarks = faces.landmarks / np.array(scale, np.float32)
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return dataclasses.replace(faces, boxes=boxes.astype(np.float32), landmarks=landmarks.astype(np.float32))[inside]


def _fixed_size(engine: Engine) -> Optional[Tuple[int, int]]:
    """Width and height that the network was built for; None for one that takes any."""
    found = ", ".join(map(str, engine.inputs))
    height, width = engine.inputs[0].shape[2:] if takes_pictures(engine.inputs) else (0, 0)
    if height is None and width is None:
        return None
    if not height or not width:
        raise ModelError(
            f"this is not a face detector: expected one input N x 3 x height x width of float32, found {found}; "
            "check the model's entry in the catalogue"
        )
    if min(width, height) < SMALLEST_INPUT:
        raise ModelError(
            f"this network is fixed to pictures of {width} x {height} pixels, too small to find faces in ({found});\n"
            f"  make one of it that takes any: {program()} engines import FILE --name NAME --size free --batch dynamic"
        )
    return width, height


def _answers_without_batch(engine: Engine) -> bool:
    """Whether there is an output with a row an anchor and no dimension for the frame: several cannot be told apart."""
    if all(len(output.shape) > 2 for output in engine.outputs):
        return False
    batch = engine.inputs[0].shape[0]
    if batch is not None and batch > 1:
        raise ModelError(
            f"this network takes {batch} pictures at once, but its outputs do not tell which row belongs to which: "
            f"{', '.join(map(str, engine.outputs))}; export it for one picture, or with a batch dimension"
        )
    return True


def rounded_up(side: int) -> int:
    """The smallest side that networks take and that is no smaller than this one."""
    return -(-side // SIZE_STEP) * SIZE_STEP


def nearest_sizes(size: Tuple[int, int]) -> str:
    """The sizes around this one that networks take, as `engines import` is told: `--size 640x480 or --size 672x480`."""
    around = ([max(SMALLEST_INPUT, rounded_up(side - change)) for side in size] for change in (SIZE_STEP - 1, 0))
    return " or ".join(dict.fromkeys(f"--size {width}x{height}" for width, height in around))


def unexpected_answers(told: str, input_size: Tuple[int, int], advice: str) -> ModelError:
    """What a network is refused with that gives more or fewer answers than expected: some do so in odd sizes only."""
    if not any(side % SIZE_STEP for side in input_size):
        return ModelError(f"{told}; {advice}")
    width, height = input_size
    return ModelError(
        f"this network is fixed to pictures of {width} x {height} pixels, which do not fill its grid ({told}); what "
        f"fits are multiples of {SIZE_STEP}: unless the original file has this size itself, import it with "
        f"{nearest_sizes(input_size)}; if it has, export it with a free height and width or in one of these sizes"
    )
