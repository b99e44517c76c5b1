"""What int8 is calibrated with: photos of people, turned into what a network gets at run time."""

from __future__ import annotations

import contextlib
import glob
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Sequence

import numpy as np

from app.capture.pictures import picture_files, read_picture
from app.errors import ModelError, SourceError
from app.models.entry import ModelEntry
from app.text import counted, program
from app.vision.align import align_faces

if TYPE_CHECKING:
    from app.models.loading import ModelLoader

MIN_PHOTOS = 5
"""With fewer, some embeddings of the built-in embedder were worse; more than these made it no better."""

MAX_PHOTOS = 500

logger = logging.getLogger(__name__)


def calibration_inputs(loader: ModelLoader, entry: ModelEntry, folder: Path) -> Iterator[np.ndarray]:
    """Inputs (1 x 3 x height x width) made of the photos in `folder`: one a photo for a detector, one a face for an
    embedder.

    Raises ModelError at once where int8 is not offered for the model, or there are too few photos.
    """
    if entry.task not in ("detection", "embedding"):
        raise ModelError(f"{entry.name} is for {entry.task}; int8 is available for detectors and embedders only")
    try:
        photos = find_photos(folder)
    except SourceError:
        photos = []
    if len(photos) < MIN_PHOTOS:
        raise ModelError(
            f"calibration needs at least {MIN_PHOTOS} photos, better some hundred, and {folder} has "
            f"{counted(len(photos), 'photo') if photos else 'none'}: add some, or name others with {program()} "
            f"engines build {entry.name} --precision int8 --calibration DIR"
        )
    photos = photos[:: max(1, len(photos) // MAX_PHOTOS)][:MAX_PHOTOS]
    return _frames(loader, photos) if entry.task == "detection" else _faces(loader, photos)


def find_photos(folder: Path) -> List[Path]:
    """All photos in a folder and below it. Raises SourceError where there are none."""
    return picture_files(Path(glob.escape(str(folder))) / "**" / "*" if folder.is_dir() else folder)


def _read(files: Sequence[Path]) -> Iterator[np.ndarray]:
    for file in files:
        try:
            yield read_picture(file)
        except SourceError as error:
            logger.warning("skipped: %s", error)


def _frames(loader: ModelLoader, photos: Sequence[Path]) -> Iterator[np.ndarray]:
    with contextlib.closing(loader.open_detector()) as detector:
        for picture in _read(photos):
            yield detector.prepare([picture]).tensors[0].copy()


def _faces(loader: ModelLoader, photos: Sequence[Path]) -> Iterator[np.ndarray]:
    with contextlib.closing(loader.open_detector()) as detector, contextlib.closing(loader.open_embedder()) as embedder:
        for picture in _read(photos):
            (faces,) = detector.detect([picture])
            if len(faces):
                yield from (
                    row[None] for row in embedder.prepare(align_faces(picture, faces.landmarks, embedder.crop_size))
                )
