"""What all face detectors share: images to network input, candidates through NMS, results back in image pixels.

A model family adds how the outputs are decoded: `app/vision/retinaface.py`, and `app/vision/grid_families.py` for all
others.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, ContextManager, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import OpenedNetwork
from app.inference.engine import Engine, run_in_batches
from app.inference.recovery import running
from app.settings import DetectionSettings
from app.text import program
from app.types import Faces
from app.vision.close_ups import MIN_CLOSE_UP_PX, SEEN_AT_ONCE_PX, second_size, with_close_ups
from app.vision.model_outputs import takes_images
from app.vision.preprocessing import Preprocessing, resize_exactly

Size = Tuple[int, int]
"""Width and height."""

SIZE_STEP = 32
"""Detectors halve their input five times: both sides must be multiples of this."""

MIN_FIXED_SIDE = 64
"""A network fixed to a smaller input was exported with a size that is not meant for use."""

MAX_IMAGES_AT_ONCE = 16
"""Larger batches are detected in several parts, which bounds the memory."""

MAX_CANDIDATES = 1000
"""Only the best boxes go into NMS: an image full of noise must not stall the program."""


Stage = Callable[[str], ContextManager[None]]
"""Takes the time of a part of the work: preprocess, detect or boxes."""


def untimed(stage: str) -> ContextManager[None]:
    return contextlib.nullcontext()


@dataclass(frozen=True)
class DetectorInput:
    """Images made ready for the network.

    Images are grouped by their input size, so that each is padded as it would be alone and its faces do not depend on
    the others. The tensors are overwritten by the detector's next `prepare`.
    """

    tensors: Tuple[np.ndarray, ...]
    """One per input size: N x 3 x H x W, float32."""
    rows: Tuple[Tuple[int, ...], ...]
    """For each tensor: which image each of its rows is."""
    scales: Tuple[Tuple[float, float], ...]
    """For each image: network pixels per image pixel, horizontally and vertically."""
    image_sizes: Tuple[Size, ...]


class FaceDetector(ABC):
    """A network that finds faces. Owns its engine."""

    predicts_masks = False
    """Whether the network predicts of each face if it wears a mask."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings) -> None:
        """`settings.min_score` must be set: the caller resolves it, from the settings or the catalogue entry."""
        if settings.min_score is None:
            raise ValueError("settings.min_score is None; use the min_score of the catalogue entry")
        self._engine = engine
        self._preprocessing = preprocessing
        self._settings = settings
        self.min_score: float = settings.min_score
        """The score from which a box is a face, unless a call gives another."""
        self._buffer = np.empty(0, np.float32)
        self.fixed_size = _fixed_size(engine)
        """The only input size that the network takes; None: any."""
        self._lacks_batch_dimension = any(len(output.shape) <= 2 for output in engine.outputs)
        batch = engine.inputs[0].shape[0]
        if self._lacks_batch_dimension and batch is not None and batch > 1:
            raise ModelError(
                f"this network takes {batch} images per run, but its outputs do not say which row belongs to which: "
                f"{', '.join(map(str, engine.outputs))}; export it for one image, or with a batch dimension"
            )

    def with_settings(self, settings: DetectionSettings) -> FaceDetector:
        """The same network with other settings, which is closed with this detector. A minimum score of None stays."""
        other = copy.copy(self)
        other._settings = settings
        other.min_score = self.min_score if settings.min_score is None else settings.min_score
        other._buffer = np.empty(0, np.float32)
        return other

    def detect(
        self,
        images: Sequence[np.ndarray],
        input_size: Optional[int] = None,
        stage: Stage = untimed,
        close_ups: bool = True,
        min_score: Optional[float] = None,
    ) -> List[Faces]:
        """The faces of each image (H x W x 3, uint8, BGR), best first, in the image's own pixels.

        Images may differ in size; those that need the same network input are run together. `input_size` as in
        `prepare`, `min_score` as in `decode`; `stage` is called with the name of each part of the work. Large images
        are looked at twice, to find close-ups, unless the network has a fixed size: it would take as long as at the
        first look.
        """
        size = input_size or self._settings.input_size
        found: List[Faces] = []
        for start in range(0, len(images), MAX_IMAGES_AT_ONCE):
            part = images[start : start + MAX_IMAGES_AT_ONCE]
            faces = self._look(part, size, stage, min_score)
            rows = [row for row, image in enumerate(part) if min(size, max(image.shape[:2])) > SEEN_AT_ONCE_PX]
            if rows and close_ups and not self.fixed_size:
                closer = self._look([part[row] for row in rows], second_size(size), stage, min_score)
                for row, large in zip(rows, closer):
                    min_px = MIN_CLOSE_UP_PX * max(part[row].shape[:2]) / second_size(size)
                    faces[row] = with_close_ups(faces[row], large, min_px)
            found += faces
        return found

    def _look(
        self, images: Sequence[np.ndarray], input_size: int, stage: Stage, min_score: Optional[float]
    ) -> List[Faces]:
        with stage("preprocess"):
            prepared = self.prepare(images, input_size)
        with stage("detect"):
            answers = self.infer(prepared)
        with stage("boxes"):
            return self.decode(answers, prepared, min_score)

    def prepare(self, images: Sequence[np.ndarray], input_size: Optional[int] = None) -> DetectorInput:
        """Shrinks each image to a longer side of `input_size`, and pads it right and below with zeros.

        `input_size` is the setting detection.input_size unless given. Images keep their aspect ratio and are never
        enlarged.
        """
        image_sizes = tuple((image.shape[1], image.shape[0]) for image in images)
        shrunk = [shrunk_size(size, input_size or self._settings.input_size, self.fixed_size) for size in image_sizes]
        groups: Dict[Size, List[int]] = {}
        for index, (width, height) in enumerate(shrunk):
            groups.setdefault(self.fixed_size or (rounded_up(width), rounded_up(height)), []).append(index)
        shapes = [(len(rows), 3, height, width) for (width, height), rows in groups.items()]
        tensors = self._tensors(shapes)
        for tensor, rows in zip(tensors, groups.values()):
            for planes, index in zip(tensor, rows):
                image, (width, height) = images[index], shrunk[index]
                planes[:, height:, :] = 0
                planes[:, :height, width:] = 0
                fitting = image if image_sizes[index] == (width, height) else resize_exactly(image, (width, height))
                self._preprocessing.fill(planes, fitting)
        scales = tuple((s[0] / i[0], s[1] / i[1]) for s, i in zip(shrunk, image_sizes))
        return DetectorInput(tensors, tuple(map(tuple, groups.values())), scales, image_sizes)

    def infer(self, prepared: DetectorInput) -> List[Dict[str, np.ndarray]]:
        """For each image the network's outputs by name, without the batch dimension."""
        answers: List[Dict[str, np.ndarray]] = [{} for _ in prepared.image_sizes]
        for tensor, rows in zip(prepared.tensors, prepared.rows):
            if self._lacks_batch_dimension:
                (network_input,) = self._engine.inputs
                for planes, index in zip(tensor, rows):
                    outputs = self._engine.run({network_input.name: planes[None]})
                    answers[index] = {name: value if value.ndim == 2 else value[0] for name, value in outputs.items()}
            else:
                outputs = run_in_batches(self._engine, tensor)
                for row, index in enumerate(rows):
                    answers[index] = {name: value[row] for name, value in outputs.items()}
        return answers

    def decode(
        self,
        answers: Sequence[Mapping[str, np.ndarray]],
        prepared: DetectorInput,
        min_score: Optional[float] = None,
    ) -> List[Faces]:
        """The faces of each image, from the outputs of `infer`.

        `min_score` is the score from which a box is a face: that of the settings unless given.
        """
        least = self.min_score if min_score is None else min_score
        found = [Faces.empty()] * len(answers)
        for tensor, rows in zip(prepared.tensors, prepared.rows):
            for index in rows:
                faces = self.candidates(answers[index], (tensor.shape[3], tensor.shape[2]), least)
                faces = suppress_overlaps(faces, self._settings.nms_iou)
                found[index] = to_image(faces, prepared.scales[index], prepared.image_sizes[index])
        return found

    @abstractmethod
    def candidates(self, outputs: Mapping[str, np.ndarray], input_size: Size, min_score: float) -> Faces:
        """One image's boxes from `min_score` on, in network pixels, before NMS."""

    @property
    def runs_on(self) -> Optional[OpenedNetwork]:
        """The backend and why it was chosen; None for an engine that was opened directly."""
        return running(self._engine)

    def close(self) -> None:
        self._engine.close()

    def _tensors(self, shapes: Sequence[Tuple[int, int, int, int]]) -> Tuple[np.ndarray, ...]:
        """Uninitialised arrays, parts of one buffer that is used again for every batch."""
        lengths = [int(np.prod(shape)) for shape in shapes]
        if self._buffer.size < sum(lengths):
            self._buffer = np.empty(sum(lengths), np.float32)
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        parts = (self._buffer[end - length : end] for end, length in zip(ends, lengths))
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes))


def shrunk_size(image: Size, longest: int, fixed: Optional[Size]) -> Size:
    """The size at which an image is shown to the network: same aspect ratio, never enlarged."""
    width, height = image
    max_width, max_height = (min(longest, side) for side in fixed) if fixed else (longest, longest)
    scale = min(1.0, max_width / width, max_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def suppress_overlaps(faces: Faces, iou: float) -> Faces:
    """Non-maximum suppression: of boxes that overlap by more than `iou` only the best stays; best first."""
    if len(faces) > MAX_CANDIDATES:
        faces = faces[np.argsort(-faces.scores, kind="stable")[:MAX_CANDIDATES]]
    if len(faces) < 2:
        return faces
    corners, sizes = faces.boxes[:, :2], faces.boxes[:, 2:] - faces.boxes[:, :2]
    # Lists on purpose: OpenCV reads them many times faster than arrays here.
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), faces.scores.tolist(), 0.0, iou)
    return faces[np.reshape(kept, -1).astype(int)]


def to_image(faces: Faces, scale: Tuple[float, float], image_size: Size) -> Faces:
    """From network pixels to image pixels; boxes are clipped to the image, and dropped where nothing is left."""
    width, height = image_size
    boxes = faces.boxes / np.array([*scale, *scale], np.float32)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    landmarks = faces.landmarks / np.array(scale, np.float32)
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return dataclasses.replace(faces, boxes=boxes.astype(np.float32), landmarks=landmarks.astype(np.float32))[inside]


def _fixed_size(engine: Engine) -> Optional[Size]:
    """The only input size that the network takes; None if it takes any. Raises ModelError for no face detector."""
    found = ", ".join(map(str, engine.inputs))
    height, width = engine.inputs[0].shape[2:] if takes_images(engine.inputs) else (0, 0)
    if height is None and width is None:
        return None
    if not height or not width:
        raise ModelError(
            f"this is not a face detector: expected one input N x 3 x height x width of float32, found {found}; "
            "check the model's entry in the catalogue"
        )
    if min(width, height) < MIN_FIXED_SIDE:
        raise ModelError(
            f"this network is fixed to images of {width} x {height} pixels, too small to find faces in ({found});\n"
            f"  to make it take any size: {program()} engines import FILE --name NAME --size free --batch dynamic"
        )
    return width, height


def rounded_up(side: int) -> int:
    """The smallest multiple of `SIZE_STEP` that is not smaller than `side`."""
    return -(-side // SIZE_STEP) * SIZE_STEP


def nearest_sizes(size: Size) -> str:
    """The next smaller and larger sizes that networks take, as options: `--size 640x480 or --size 672x480`."""
    around = ([max(MIN_FIXED_SIDE, rounded_up(side - change)) for side in size] for change in (SIZE_STEP - 1, 0))
    return " or ".join(dict.fromkeys(f"--size {width}x{height}" for width, height in around))


def wrong_output_length(problem: str, input_size: Size, advice: str) -> ModelError:
    """The error for outputs with more or fewer rows than expected, which some networks give only for odd input sizes.

    `advice` is used for sizes that are multiples of `SIZE_STEP`.
    """
    if not any(side % SIZE_STEP for side in input_size):
        return ModelError(f"{problem}; {advice}")
    width, height = input_size
    return ModelError(
        f"this network is fixed to images of {width} x {height} pixels, which do not fill its grid ({problem}); it "
        f"needs multiples of {SIZE_STEP}: import the original file with {nearest_sizes(input_size)}; if that file has "
        "this size itself, export it with a free height and width or in one of these sizes"
    )
