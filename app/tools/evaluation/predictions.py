"""Runs the networks on folders of pictures: the part of an evaluation that takes time."""

from __future__ import annotations

import glob
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np

from app.capture.pictures import picture_files, read_picture
from app.errors import SourceError
from app.identity.votes import clarity
from app.recognizer import Recognizer
from app.tools.evaluation.labels import LabelledPicture
from app.tools.evaluation.pairs import Pair
from app.tools.evaluation.verification import NOT_COMPARED
from app.types import Faces, ProgressCallback
from app.vision.detector import FaceDetector
from app.vision.quality import main_face

CROPS_AT_ONCE = 32


@dataclass
class MainFaces:
    """The embedding of each picture's main face."""

    embeddings: Dict[str, np.ndarray] = field(default_factory=dict)
    clarities: Dict[str, float] = field(default_factory=dict)
    """How clearly the face is seen, 0.1 to 1."""
    without_face: List[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def pictures(self) -> int:
        return len(self.embeddings) + len(self.without_face)

    @property
    def pictures_per_s(self) -> float:
        return self.pictures / self.seconds if self.seconds else 0.0


@dataclass
class Detections:
    """The faces that a detector found in each picture."""

    faces: List[Faces] = field(default_factory=list)
    picture_sizes: List[Tuple[int, int]] = field(default_factory=list)
    """Width and height."""
    pictures_per_s: float = 0.0
    """Including the time for reading them."""


def embed_main_faces(files: Mapping[str, Path], recognizer: Recognizer, on_progress: ProgressCallback) -> MainFaces:
    """Embeds the main face of each picture, as the program does with photos of the gallery."""
    result = MainFaces()
    batch: List[Tuple[str, np.ndarray]] = []
    started = time.monotonic()
    for done, (name, path) in enumerate(files.items(), 1):
        picture = read_picture(path)
        (faces,) = recognizer.find([picture])
        if len(faces):
            chosen = main_face(faces, (picture.shape[1], picture.shape[0]))
            (crop,) = recognizer.crops(picture, faces[chosen])
            batch.append((name, crop))
            result.clarities[name] = float(clarity(faces[chosen])[0])
        else:
            result.without_face.append(name)
        if batch and (len(batch) == CROPS_AT_ONCE or done == len(files)):
            vectors = recognizer.embed_crops(np.stack([crop for _, crop in batch]))
            result.embeddings.update(zip((name for name, _ in batch), vectors))
            batch.clear()
        on_progress(done, len(files))
    result.seconds = time.monotonic() - started
    return result


def pair_scores(pairs: Sequence[Pair], faces: MainFaces) -> np.ndarray:
    """The cosine of each pair, or NOT_COMPARED if one of its pictures has no face."""
    known = faces.embeddings
    return np.array(
        [
            float(np.dot(known[pair.first], known[pair.second]))
            if pair.first in known and pair.second in known
            else NOT_COMPARED
            for pair in pairs
        ],
        np.float64,
    )


def detect_all(
    pictures: Sequence[LabelledPicture], folder: Path, detector: FaceDetector, on_progress: ProgressCallback
) -> Detections:
    result = Detections()
    started = time.monotonic()
    for done, labelled in enumerate(pictures, 1):
        picture = read_picture(folder / labelled.file)
        (faces,) = detector.detect([picture])
        result.faces.append(faces)
        result.picture_sizes.append((picture.shape[1], picture.shape[0]))
        on_progress(done, len(pictures))
    result.pictures_per_s = len(pictures) / max(time.monotonic() - started, 1e-9)
    return result


def pictures_below(folder: Path) -> List[str]:
    """All pictures in a folder and its subfolders, as relative paths."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    everywhere = Path(glob.escape(str(folder))) / "**" / "*"
    try:
        found = picture_files(str(everywhere))
    except SourceError:
        raise SourceError(f"{folder}: no pictures in this folder and its subfolders") from None
    return [path.relative_to(folder).as_posix() for path in found]
