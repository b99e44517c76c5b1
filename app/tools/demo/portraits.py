"""The demo's three people, out of pictures that PyPI packages carry, and the photos by which two of them are enrolled.

Eileen Collins and Grace Hopper are portraits in the public domain; the stranger is the photographer of scikit-image's
sample picture `camera`. The enrolment photos are other cuts than the film shows: mirrored, turned, brighter, smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Tuple

import cv2
import numpy as np

from app.errors import AppError
from app.text import install_hint


@dataclass(frozen=True)
class Portrait:
    """One person's picture. `face` is the middle of the face in it, as shares of width and height."""

    name: str
    image: np.ndarray
    face: Tuple[float, float]
    enrolled: bool


def load_portraits() -> Tuple[Portrait, Portrait, Portrait]:
    """Collins, Hopper and the stranger."""
    data = _sample_data()
    collins = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    stranger = cv2.cvtColor(data.camera(), cv2.COLOR_GRAY2BGR)
    return (
        Portrait("Eileen Collins", collins, (0.44, 0.23), enrolled=True),
        Portrait("Grace Hopper", _grace_hopper(), (0.53, 0.36), enrolled=True),
        Portrait("a stranger", stranger, (0.44, 0.30), enrolled=False),
    )


def load_backdrops() -> Tuple[np.ndarray, ...]:
    """Textures for the walls that the portraits hang on."""
    data = _sample_data()
    return tuple(np.asarray(picture) for picture in (data.brick(), data.gravel(), data.grass()))


def write_enrolment_photos(folder: Path, portraits: Tuple[Portrait, ...]) -> None:
    """Two photos a known person, `NAME_1.jpg` and `NAME_2.jpg`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for portrait in portraits:
            if portrait.enrolled:
                for number, photo in enumerate(_enrolment_cuts(portrait), 1):
                    encoded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
                    (folder / f"{portrait.name}_{number}.jpg").write_bytes(encoded.tobytes())
    except OSError as error:
        raise AppError(
            f"the demo cannot write into {folder}: {error.strerror}; start it in a folder of yours"
        ) from error


def _enrolment_cuts(portrait: Portrait) -> Tuple[np.ndarray, np.ndarray]:
    height, width = portrait.image.shape[:2]
    middle = (portrait.face[0] * width, portrait.face[1] * height)
    turn = cv2.getRotationMatrix2D(middle, 7, 0.95)
    turned = cv2.warpAffine(portrait.image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    lit = cv2.convertScaleAbs(turned, alpha=1.12, beta=8)
    upper = portrait.image[: int(height * 0.8), int(width * 0.08) : int(width * 0.92)]
    return np.ascontiguousarray(upper[:, ::-1]), lit


def _sample_data() -> Any:
    try:
        from skimage import data
    except ImportError as error:
        hint = install_hint("scikit-image", "matplotlib")
        raise AppError(f"the demo needs scikit-image; install it with: {hint}") from error
    return data


def _grace_hopper() -> np.ndarray:
    try:
        import matplotlib
    except ImportError as error:
        hint = install_hint("matplotlib")
        raise AppError(f"the demo needs matplotlib's sample picture; install it with: {hint}") from error
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = cv2.imread(str(path))
    if picture is None:
        raise AppError(f"matplotlib's sample picture cannot be read: {path}")
    return picture
