"""The photos that int8 is learnt from: which, and whether there are enough of them."""

from __future__ import annotations

import glob
import logging
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

import numpy as np

from app.capture.pictures import picture_files, read_picture
from app.errors import ModelError, SourceError
from app.models.calibration_pictures import calibration_inputs
from app.models.entry import ModelEntry
from app.models.loading import InputsFor
from app.settings import Settings
from app.text import counted, program

LEAST_PICTURES = 5
"""With fewer, single faces came out worse with the built-in embedder; more than these made it no better."""

MOST_PICTURES = 500

logger = logging.getLogger(__name__)


def inputs_for_int8(settings: Settings, folder: Optional[Path] = None) -> InputsFor:
    """What networks are given at run time, made of the photos in `folder` or else of the gallery's.

    Raises SourceError when nothing is in a folder that was named.
    """
    if folder is not None:
        _photos(folder)
    where = folder or settings.gallery.folder

    def inputs_for(entry: ModelEntry) -> Iterator[np.ndarray]:
        if entry.task not in ("detection", "embedding"):
            raise ModelError(f"{entry.name} is for {entry.task}; int8 is offered for detectors and embedders")
        return calibration_inputs(entry, _read(_enough(where, entry.name)), settings.models, settings.detection)

    return inputs_for


def _enough(where: Path, model: str) -> List[Path]:
    try:
        photos = _photos(where)
    except SourceError:
        photos = []
    if len(photos) < LEAST_PICTURES:
        raise ModelError(
            f"it is learnt from at least {LEAST_PICTURES} photos, better some hundred, and {where} has "
            f"{counted(len(photos), 'photo') if photos else 'none'}: add some, or name others with {program()} "
            f"engines build {model} --precision int8 --calibration DIR"
        )
    return photos[:: max(1, len(photos) // MOST_PICTURES)][:MOST_PICTURES]


def _photos(where: Path) -> List[Path]:
    return picture_files(Path(glob.escape(str(where))) / "**" / "*" if where.is_dir() else where)


def _read(files: Sequence[Path]) -> Iterator[np.ndarray]:
    for file in files:
        try:
            yield read_picture(file)
        except SourceError as error:
            logger.warning("left out: %s", error)
