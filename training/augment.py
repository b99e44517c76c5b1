"""Random variations of aligned faces for distillation: position, light, sharpness, compression, cover.

They may be strong: the teacher sees the very same pixels, so no variation can make a label wrong.
"""

from __future__ import annotations

import cv2
import numpy as np

CROP = 112


def jitter_transform(rng: np.random.Generator, side: int, strength: float) -> np.ndarray:
    """From the wide crop to a 112×112 one: turned, scaled, sheared, shifted and perhaps mirrored about the middle."""
    angle = np.deg2rad(rng.normal(0, 6) * strength)
    scale = np.exp(rng.normal(0, 0.06) * strength)
    shear = rng.normal(0, 0.04) * strength
    stretch = np.exp(rng.normal(0, 0.04) * strength)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine, -sine + shear], [sine, cosine * stretch]])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    middle_from, middle_to = (side - 1) / 2, (CROP - 1) / 2
    shift = rng.normal(0, 2.0, 2) * strength
    offset = middle_to + shift - linear @ np.array([middle_from, middle_from])
    return np.column_stack([linear, offset])


def vary_light(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Brightness, contrast, gamma and colour cast in one look-up table a channel; sometimes grey."""
    ramp = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(0, 0.25) * strength)
    contrast = np.exp(rng.normal(0, 0.25) * strength)
    brightness = rng.normal(0, 0.08) * strength
    cast = np.exp(rng.normal(0, 0.07, 3) * strength)
    table = ((ramp**gamma - 0.5) * contrast + 0.5 + brightness) * cast
    table = (np.clip(table, 0, 1) * 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    if rng.random() < 0.12:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return image


def blur_or_shrink(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What distance, focus and movement do: low resolution, Gaussian blur, or a streak."""
    kind = rng.random()
    if kind < 0.5:
        side = int(rng.uniform(20, 80))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    if kind < 0.8:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = (length - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = np.round(middle - reach).astype(int), np.round(middle + reach).astype(int)
    cv2.line(kernel, tuple(int(v) for v in start), tuple(int(v) for v in end), 1.0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    quality = int(rng.uniform(10, 70))
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def cover(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A patch of one colour or of noise over a part of the face: hands, masks, glasses, other heads."""
    height, width = (int(v) for v in rng.uniform(0.12, 0.5, 2) * CROP)
    top, left = int(rng.uniform(-height / 2, CROP - height / 2)), int(rng.uniform(-width / 2, CROP - width / 2))
    rows = slice(max(top, 0), max(top + height, 1))
    columns = slice(max(left, 0), max(left + width, 1))
    patch = image[rows, columns]
    if rng.random() < 0.7:
        patch[:] = rng.integers(0, 256, 3)
    else:
        patch[:] = rng.integers(0, 256, patch.shape)
    return image


def vary_face(wide: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """One 112×112 BGR training crop; `strength` 0 gives the application's own crop, mirrored or not."""
    side = wide.shape[0]
    transform = jitter_transform(rng, side, strength)
    image = cv2.warpAffine(wide, transform, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image = vary_light(image, rng, strength)
    if rng.random() < 0.25 * strength:
        image = blur_or_shrink(image, rng)
    if rng.random() < 0.2 * strength:
        noise = rng.normal(0, rng.uniform(2, 12), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.15 * strength:
        image = compress(image, rng)
    if rng.random() < 0.2 * strength:
        image = cover(image, rng)
    return image


def mix_up(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every face blended with another of the batch: endless new 'people' from a small set."""
    partner = np.roll(np.arange(len(batch)), int(rng.integers(1, max(len(batch), 2))))
    share = rng.uniform(0.1, 0.9, (len(batch), 1, 1, 1)).astype(np.float32)
    return batch * share + batch[partner] * (1 - share)


def network_input(crops_bgr: np.ndarray) -> np.ndarray:
    """Embedder preprocessing: N×112×112×3 BGR to N×3×112×112 RGB, both 0–255."""
    return np.ascontiguousarray(crops_bgr[..., ::-1].transpose(0, 3, 1, 2), np.float32)


def middle_crops(wide: np.ndarray) -> np.ndarray:
    """The application's 112×112 crops out of the wide ones, untouched."""
    margin = (wide.shape[1] - CROP) // 2
    return wide[:, margin : margin + CROP, margin : margin + CROP]
