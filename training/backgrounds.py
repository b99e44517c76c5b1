"""Pictures without a face: generated textures, and crops of ordinary pictures in which nobody is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Sequence

import cv2
import numpy as np

SKIMAGE_TRAINING = ("brick", "coffee", "grass", "coins", "moon", "page", "chelsea", "ihc", "color")
SKIMAGE_HELD_OUT = ("gravel", "rocket", "text", "clock_motion", "hubble_deep_field", "cell", "horse", "microaneurysms")
"""Pictures that scikit-image brings along, shared out by name; those with people are in neither list."""


def skimage_pictures(names: Sequence[str]) -> List[np.ndarray]:
    """Those of `names` that the installed scikit-image carries as files; nothing is downloaded."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    found = [path for path in sorted(folder.iterdir()) if path.stem in names]
    pictures = [cv2.imread(str(path)) for path in found]
    return [picture for picture in pictures if picture is not None and min(picture.shape[:2]) >= 64]


def clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise of several sizes added up: marble, clouds, skin-like gradients."""
    total = np.zeros((side, side, 3), np.float32)
    roughness = rng.uniform(0.4, 0.9)
    channels = 3 if rng.random() < 0.5 else 1
    for octave in range(1, 7):
        grid = rng.normal(0, 1, (2**octave + 1, 2**octave + 1, channels)).astype(np.float32)
        layer = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC).reshape(side, side, -1)
        total += layer * roughness**octave
    tint = rng.uniform(20, 235, 3)
    return np.clip(tint + total * rng.uniform(10, 60), 0, 255).astype(np.uint8)


def stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Gratings, plaids and checks at any angle."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    total = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(120)))
        wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period + rng.uniform(0, 6.3))
        total += np.sign(wave) if rng.random() < 0.5 else wave
    share = (total - total.min()) / max(float(np.ptp(total)), 1e-6)
    first, second = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    return (share[..., None] * first + (1 - share[..., None]) * second).astype(np.uint8)


def shapes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Ellipses, boxes, lines: balls, windows, buttons, and pairs of dots that are not eyes."""
    image = clouds(rng, side)
    for _ in range(int(rng.integers(3, 40))):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        extent = np.exp(rng.uniform(np.log(3), np.log(side / 3), 2)).astype(int)
        thickness = -1 if rng.random() < 0.6 else int(rng.integers(1, 6))
        kind = rng.random()
        if kind < 0.5:
            axes = (int(extent[0]), int(extent[1]))
            cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, colour, thickness, cv2.LINE_AA)
        elif kind < 0.8:
            far = (centre[0] + int(extent[0]), centre[1] + int(extent[1]))
            cv2.rectangle(image, centre, far, colour, thickness)
        else:
            far = (int(rng.integers(0, side)), int(rng.integers(0, side)))
            cv2.line(image, centre, far, colour, max(thickness, 2), cv2.LINE_AA)
    return image


def letters(rng: np.random.Generator, side: int) -> np.ndarray:
    """Lines of print: shop signs, screens, documents."""
    image = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    alphabet = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789&%$@8BO:;()"))
    baseline = 10
    while baseline < side + 20:
        size = rng.uniform(0.4, 3.0)
        line = "".join(rng.choice(alphabet, int(rng.integers(3, 30))))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        font = int(rng.integers(0, 8))
        cv2.putText(
            image,
            line,
            (int(rng.integers(-20, 40)), baseline),
            font,
            size,
            colour,
            int(rng.integers(1, 5)),
            cv2.LINE_AA,
        )
        baseline += int(28 * size)
    return image


TEXTURES: Sequence[Callable[[np.random.Generator, int], np.ndarray]] = (clouds, stripes, shapes, letters)


def texture(rng: np.random.Generator, side: int) -> np.ndarray:
    return TEXTURES[int(rng.integers(len(TEXTURES)))](rng, side)


def weave(rng: np.random.Generator, side: int) -> np.ndarray:
    """Cloth and knitwear: threads over and under one another, bent into folds."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    fold = cv2.resize(rng.normal(0, 1, (5, 5)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    period = np.exp(rng.uniform(np.log(5), np.log(40)))
    across = np.sin((columns + fold * rng.uniform(2, 25)) * 2 * np.pi / period)
    along = np.sin((rows + fold * rng.uniform(2, 25)) * 2 * np.pi / (period * rng.uniform(0.6, 1.6)))
    over = across * along > 0
    share = np.where(over, np.abs(across), np.abs(along)) * (0.75 + 0.2 * fold)
    first, second = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    mixed = np.where(over[..., None], first, second) * np.clip(share, 0, 1.2)[..., None]
    return np.clip(mixed + rng.normal(0, 5, mixed.shape), 0, 255).astype(np.uint8)


def lights(rng: np.random.Generator, side: int) -> np.ndarray:
    """Lamps and their blurred discs in the dark."""
    image = rng.uniform(0, 40, 3) + np.zeros((side, side, 3), np.float32)
    for _ in range(int(rng.integers(5, 60))):
        layer = np.zeros((side, side), np.float32)
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        cv2.circle(layer, centre, max(int(np.exp(rng.uniform(np.log(2), np.log(side / 6)))), 1), 1.0, -1, cv2.LINE_AA)
        layer = cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.6, side / 30))
        image += layer[..., None] * rng.uniform(0.1, 1) * rng.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def balls(rng: np.random.Generator, side: int) -> np.ndarray:
    """Fruit and balls in a heap: shaded spheres with a highlight."""
    image = clouds(rng, side).astype(np.float32)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    light = rng.normal(0, 0.6, 2)
    tint = rng.uniform(20, 255, 3)
    radius = np.exp(rng.uniform(np.log(8), np.log(side / 5)))
    for _ in range(int(rng.integers(4, 50))):
        x, y = rng.uniform(0, side, 2)
        size = radius * rng.uniform(0.7, 1.3)
        across, down = (columns - x) / size, (rows - y) / size
        squared = across**2 + down**2
        height = np.sqrt(np.clip(1 - squared, 0, 1))
        shade = np.clip(0.35 + 0.65 * (height + across * light[0] + down * light[1]), 0.05, 1)
        gloss = np.exp(-((across - light[0]) ** 2 + (down - light[1]) ** 2) / 0.05) * 120
        sphere = shade[..., None] * tint * rng.uniform(0.7, 1.2, 3) + gloss[..., None]
        image = np.where((squared < 1)[..., None], sphere, image)
    return np.clip(image, 0, 255).astype(np.uint8)


REFINEMENT_TEXTURES: Sequence[Callable[[np.random.Generator, int], np.ndarray]] = (weave, lights)
"""Trained on only by training/refinement.py; `balls` are only measured with."""


def windows_without_faces(
    picture: np.ndarray, boxes: np.ndarray, rng: np.random.Generator, count: int, tries: int = 60
) -> List[np.ndarray]:
    """Square windows that keep clear of all `boxes`: clothes, hands, banners, streets."""
    height, width = picture.shape[:2]
    grown = (boxes[:, 2:] - boxes[:, :2]) * 0.8 + 4
    low, high = boxes[:, :2] - grown, boxes[:, 2:] + grown
    found: List[np.ndarray] = []
    for _ in range(tries):
        side = int(np.exp(rng.uniform(np.log(80), np.log(min(height, width) * 0.7))))
        left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        meets = (low < (left + side, top + side)).all(axis=1) & (high > (left, top)).all(axis=1)
        if not meets.any():
            found.append(picture[top : top + side, left : left + side])
        if len(found) == count:
            break
    return found


def random_crop(picture: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """A square window of the picture at some scale, perhaps turned and mirrored; beyond the edge it is reflected."""
    height, width = picture.shape[:2]
    extent = np.exp(rng.uniform(np.log(60), np.log(1.2 * max(height, width))))
    scale = side / extent
    if scale < 0.6:
        factor = max(scale, 0.1)
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        height, width = picture.shape[:2]
        scale /= factor
    angle = rng.normal(0, 0.25) + (np.pi / 2 * rng.integers(4) if rng.random() < 0.2 else 0)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    transform = np.column_stack([linear, side / 2 - linear @ centre])
    return cv2.warpAffine(picture, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def empty_view(
    pictures: Sequence[np.ndarray], rng: np.random.Generator, side: int, texture_share: float = 0.3
) -> np.ndarray:
    """One square picture without a face."""
    if not pictures or rng.random() < texture_share:
        return texture(rng, side)
    return random_crop(pictures[int(rng.integers(len(pictures)))], rng, side)
