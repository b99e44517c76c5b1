"""A picture of many faces with their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import OutputError
from app.files import write_whole
from app.output.text_renderer import TextRenderer

TILE_PX, LABEL_PX, COLUMNS = 160, 24, 6


def write_contact_sheet(path: Path, people: Sequence[Tuple[str, Sequence[Path]]]) -> None:
    """One tile per person: the first picture that can be read, and the label beneath it."""
    renderer = TextRenderer()
    tiles = [_tile(label, _first(pictures), renderer) for label, pictures in people] or [_blank()]
    columns = min(COLUMNS, len(tiles))
    tiles += [_blank()] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    suffix = path.suffix.lower() or ".jpg"
    try:
        done, encoded = cv2.imencode(suffix, np.vstack(rows))
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"{path}: pictures of the type {suffix} cannot be written; expected .jpg or .png")
    try:
        write_whole(path, encoded.tobytes(), mode=0o600)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _first(pictures: Sequence[Path]) -> Optional[np.ndarray]:
    for picture in pictures:
        image = cv2.imread(str(picture))
        if image is not None:
            return np.asarray(image)
    return None


def _tile(label: str, picture: Optional[np.ndarray], renderer: TextRenderer) -> np.ndarray:
    tile = _blank()
    if picture is not None:
        scale = TILE_PX / max(picture.shape[:2])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        top, left = (TILE_PX - size[1]) // 2, (TILE_PX - size[0]) // 2
        tile[top : top + size[1], left : left + size[0]] = shrunk
    letters = renderer.mask(label, LABEL_PX - 4)[:LABEL_PX, :TILE_PX]
    left = (TILE_PX - letters.shape[1]) // 2
    tile[TILE_PX : TILE_PX + letters.shape[0], left : left + letters.shape[1]] = letters[..., None]
    return tile


def _blank() -> np.ndarray:
    return np.zeros((TILE_PX + LABEL_PX, TILE_PX, 3), np.uint8)
