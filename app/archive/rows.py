"""What is known of one picture or frame: the faces with their embeddings, or why there is nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Iterator, Optional

import cv2
import numpy as np

from app.archive.job import Job, Shard
from app.archive.video import samples
from app.capture.picture_headers import read_header
from app.capture.pictures import decode_picture
from app.errors import SourceError
from app.recognizer import Recognizer
from app.types import FaceQuality, Faces
from app.vision.quality import measure

MAX_PIXELS = 25_000_000
"""Larger pictures are shrunk when they are read."""


@dataclass(frozen=True)
class Row:
    """One picture, or one moment of a video."""

    file: str
    """Relative to the root of the archive; bytes that are not text are written as `\\xff`."""
    position_s: Optional[float] = None
    """In a video."""
    width: Optional[int] = None
    height: Optional[int] = None
    error: Optional[str] = None
    faces: Faces = Faces.empty()
    """Best first, with embeddings. Boxes and landmarks are in pixels of the upright picture."""
    quality: Optional[FaceQuality] = None


def rows_of(job: Job, shard: Shard, recognizer: Recognizer) -> Iterator[Row]:
    """The rows of a shard, in its order."""
    if not shard.video:
        for file in shard.pictures:
            yield picture_row(job.root, file, recognizer)
        return
    path = job.root / shard.video
    moments = range(shard.first, shard.first + shard.count)
    for sample in samples(path, moments, job.every_s):
        row = Row(shown(shard.video), sample.position_s, error=_reason(sample.error, path) or None)
        yield row if sample.image is None else examined(row, sample.image, recognizer)


def picture_row(root: Path, file: str, recognizer: Recognizer) -> Row:
    try:
        data = (root / file).read_bytes()
        image = decode_picture(data, file, MAX_PIXELS)
    except OSError as error:
        return Row(shown(file), error=f"cannot be read: {error.strerror or error}")
    except SourceError as error:
        return Row(shown(file), error=_reason(str(error), Path(file)))
    except MemoryError:
        return Row(shown(file), error="there is not enough memory to decode it")
    return examined(Row(shown(file)), image, recognizer, shrunk_by(data, image))


def _reason(error: str, path: Path) -> str:
    """Without the path, which is another one on the next machine."""
    return shown(error).replace(f"{shown(str(path))}: ", "", 1)


def shrunk_by(data: bytes, image: np.ndarray) -> int:
    """How many times larger the picture in the file is than the one that was decoded."""
    header = read_header(data)
    return 1 if header is None else max(1, round(max(header.upright_size) / max(image.shape[:2])))


def examined(row: Row, image: np.ndarray, recognizer: Recognizer, scale: int = 1) -> Row:
    """The row with the faces of this image, which was shrunk by `scale` before."""
    height, width = image.shape[:2]
    row = replace(row, width=width * scale, height=height * scale)
    try:
        (faces,) = recognizer.find([image])
        if not len(faces):
            return row
        faces = faces[np.lexsort((faces.boxes[:, 1], faces.boxes[:, 0], -faces.scores))]
        crops = recognizer.crops(image, faces)
        faces = recognizer.embed(image, faces, crops=crops)
    except cv2.error as error:
        return replace(row, error=f"cannot be processed: {str(error).strip()}")
    quality = measure(faces, (width, height), crops, scale)
    if faces.embeddings is not None:
        quality = replace(quality, non_face=recognizer.non_face_similarities(faces.embeddings))
    faces = replace(faces, boxes=faces.boxes * scale, landmarks=faces.landmarks * scale)
    return replace(row, faces=faces, quality=quality)


def shown(name: str) -> str:
    """As text that every reader of Parquet takes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


QUALITIES = tuple(field.name for field in fields(FaceQuality) if field.name != "score")
"""The columns of the quality; the score is that of the face."""
