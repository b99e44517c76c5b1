"""Masks, and what could be mistaken for one, drawn onto wide crops of faces by their five landmarks.

A mask counts as worn where it covers nose and mouth. Below the nose or below the chin it does not, and neither do
hands, cups, microphones, scarves, beards and shadows.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

Points = Sequence[Tuple[float, float]]
Colour = np.ndarray

SURGICAL = ((225, 215, 170), (235, 225, 200), (190, 200, 120), (245, 245, 245), (200, 170, 230), (60, 50, 45))
"""BGR: the usual blues, green, white, pink and black."""
HAIR = ((20, 20, 25), (35, 45, 70), (50, 70, 110), (150, 150, 150), (70, 110, 160))


class FaceAxes:
    """Coordinates of one face: u along the eyes (±0.5 at the eyes), v downwards (0 at the eyes, 1 at the mouth)."""

    def __init__(self, landmarks: np.ndarray) -> None:
        eyes, nose, mouth = landmarks[:2], landmarks[2], landmarks[3:].mean(axis=0)
        self.origin = eyes.mean(axis=0)
        self._axes = np.column_stack([eyes[1] - eyes[0], mouth - self.origin])
        self.nose = float(np.clip(self.coordinates(nose[None])[0, 0], -0.5, 0.5))
        """How far the head is turned: the nose is off the middle."""

    def coordinates(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray((pixels - self.origin) @ np.linalg.inv(self._axes).T)

    def pixels(self, points: Points) -> np.ndarray:
        return np.asarray(self.origin + np.asarray(points) @ self._axes.T, np.float32)

    def half_width(self, side: int) -> float:
        """From the middle to the edge of the face; the side that the head is turned to is the narrower one."""
        turned = side * self.nose
        return 1.05 - (1.1 if turned > 0 else 0.3) * turned

    def grid(self, side: int) -> Tuple[np.ndarray, np.ndarray]:
        """u and v of every pixel of a square picture."""
        rows, columns = np.mgrid[:side, :side]
        places = self.coordinates(np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64))
        return places[:, 0].reshape(side, side), places[:, 1].reshape(side, side)


class Piece(NamedTuple):
    """Something to lay over a face: its outline and its colours."""

    outline: np.ndarray
    texture: np.ndarray


def rounded(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """A closed curve through the points (Catmull-Rom)."""
    before, after, next_after = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    at = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (side[:, None] for side in (before, points, after, next_after))
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * at + (2 * p0 - 5 * p1 + 4 * p2 - p3) * at**2 + (3 * p1 - p0 - 3 * p2 + p3) * at**3
    )
    return np.asarray(curve.reshape(-1, 2))


def coverage(outline: np.ndarray, side: int, softness: float) -> np.ndarray:
    """How much of each pixel the outline covers."""
    area = np.zeros((side, side), np.float32)
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(area, (0, 0), softness))


def light_on(image: np.ndarray, strength: float) -> np.ndarray:
    """The light that falls on the face, coarse, about 1 on average: a thing before it is lit the same way."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 9) + 12
    return np.asarray((grey / grey.mean()) ** strength)[..., None]


def lay_over(image: np.ndarray, piece: Piece, rng: np.random.Generator) -> np.ndarray:
    side = len(image)
    area = coverage(piece.outline, side, rng.uniform(0.5, 1.2))[..., None]
    exposure = np.clip(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean() / 120, 0.35, 1.3)
    edge = 1 - rng.uniform(0.1, 0.4) * (1 - cv2.GaussianBlur(area, (0, 0), 3)[..., None])
    colours = piece.texture * light_on(image, rng.uniform(0.3, 0.9)) * exposure * edge
    colours += rng.normal(0, rng.uniform(0, 5), (side, side, 1))
    shadow = cv2.GaussianBlur(area, (0, 0), 2.5)[..., None] * rng.uniform(0, 0.4)
    below = image * (1 - shadow)
    return np.asarray(np.clip(below * (1 - area) + colours * area, 0, 255), np.uint8)


# ---- textures --------------------------------------------------------------------------------------------------------


def smooth_noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """-1 to 1."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


def any_colour(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.6:
        return np.asarray(SURGICAL[int(rng.integers(len(SURGICAL)))] + rng.normal(0, 12, 3))
    return rng.uniform(15, 250, 3)


def pattern(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """0 to 1: where the second colour is."""
    side, kind, size = len(u), int(rng.integers(6)), rng.uniform(0.06, 0.35)
    turn = rng.uniform(0, np.pi)
    across, along = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    stripes = (np.sin(across * 2 * np.pi / size) > 0).astype(np.float64)
    if kind == 0:
        return stripes
    if kind == 1:
        return stripes * 0.5 + 0.5 * (np.sin(along * 2 * np.pi / size) > 0)
    if kind == 2:
        return np.asarray((across % size - size / 2) ** 2 + (along % size - size / 2) ** 2 < (size * 0.3) ** 2, float)
    if kind == 3:
        return np.asarray(smooth_noise(rng, side, int(rng.integers(6, 30))) > rng.uniform(-0.2, 0.5), float)
    if kind == 4:
        return np.asarray(np.abs(u - rng.normal(0, 0.3)) < rng.uniform(0.1, 0.5), float) * (v > rng.uniform(0.5, 1.1))
    return np.clip((v - 0.4) * rng.uniform(0.5, 1.5), 0, 1)


def cloth(rng: np.random.Generator, axes: FaceAxes, side: int) -> np.ndarray:
    """The colours of a mask: plain or patterned, with pleats, a seam or folds, darker towards the sides."""
    u, v = axes.grid(side)
    colours = np.broadcast_to(any_colour(rng), (side, side, 3))
    if rng.random() < 0.35:
        share = pattern(rng, u, v)[..., None] * rng.uniform(0.4, 1)
        colours = colours * (1 - share) + any_colour(rng) * share
    shade = 1 - rng.uniform(0.05, 0.35) * (u - axes.nose) ** 2
    kind = rng.random()
    if kind < 0.45:
        for at in rng.uniform(0.5, 0.7) + np.arange(int(rng.integers(2, 5))) * rng.uniform(0.14, 0.24):
            shade = shade - rng.uniform(0.05, 0.3) * np.exp(-(((v - at - 0.08 * u**2) / 0.025) ** 2))
    elif kind < 0.7:
        shade = shade - rng.uniform(0.1, 0.35) * np.exp(-(((u - axes.nose * 0.7) / 0.03) ** 2))
        shade = shade + rng.uniform(0.0, 0.12) * np.sign(u - axes.nose * 0.7) * rng.choice((-1, 1))
    shade = shade + rng.uniform(0, 0.12) * smooth_noise(rng, side, int(rng.integers(4, 12)))
    return np.asarray(colours * shade[..., None])


def skin(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """The colour of the cheeks, a little lighter or darker."""
    places = np.round(axes.pixels([(-0.6, 0.5), (0.6, 0.5), (axes.nose, 0.35)])).astype(int).clip(0, len(image) - 1)
    tone = np.median(image[places[:, 1], places[:, 0]].astype(np.float64), axis=0) * rng.uniform(0.75, 1.15)
    return np.asarray(tone * (1 + 0.08 * smooth_noise(rng, len(image), 10)[..., None]))


def hair(rng: np.random.Generator, side: int) -> np.ndarray:
    streaks = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), sigmaX=0.6, sigmaY=3)
    return np.asarray(np.asarray(HAIR[int(rng.integers(len(HAIR)))]) * (1 + 0.9 * streaks[..., None]))


# ---- masks -----------------------------------------------------------------------------------------------------------


def mask_outline(rng: np.random.Generator, axes: FaceAxes, top: float, bottom: float) -> np.ndarray:
    """From the bridge of the nose (v = `top`) to the chin (v = `bottom`), along the cheeks."""
    right, left = axes.half_width(1), axes.half_width(-1)
    middle, reach, corner = axes.nose * 0.7, rng.uniform(0.78, 1.08), top + rng.uniform(0.05, 0.3)
    hanging = corner + rng.uniform(0.35, 0.8) * (bottom - corner)
    peak = rng.uniform(0, 0.12)
    points = [
        (middle, top - peak),
        (middle + 0.3 * right, top + rng.uniform(0, 0.12)),
        (right * reach, corner),
        (right * reach * rng.uniform(0.85, 1), hanging),
        (0.45 * right, bottom - rng.uniform(0.0, 0.15)),
        (middle * 0.5, bottom),
        (-0.45 * left, bottom - rng.uniform(0.0, 0.15)),
        (-left * reach * rng.uniform(0.85, 1), hanging),
        (-left * reach, corner),
        (middle - 0.3 * left, top + rng.uniform(0, 0.12)),
    ]
    outline = axes.pixels(np.asarray(points) + rng.normal(0, 0.02, (len(points), 2)))
    return rounded(outline) if rng.random() < 0.6 else outline


def draw_mask(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator, top: float, bottom: float) -> np.ndarray:
    outline = mask_outline(rng, axes, top, bottom)
    if rng.random() < 0.6:
        image = image.copy()
        strap = (any_colour(rng) if rng.random() < 0.3 else np.full(3, rng.uniform(120, 250))).tolist()
        for side in (-1, 1):
            width = side * axes.half_width(side)
            for start, end in ((top + 0.2, rng.uniform(-0.1, 0.3)), (top + 0.7, rng.uniform(0.2, 0.6))):
                ends = np.round(axes.pixels([(width * 0.85, start), (width * 1.2, end)]) * 16).astype(int)
                cv2.line(image, tuple(ends[0].tolist()), tuple(ends[1].tolist()), strap, 1, cv2.LINE_AA, 4)
    image = lay_over(image, Piece(outline, cloth(rng, axes, len(image))), rng)
    if rng.random() < 0.08:
        centre = axes.pixels([(axes.nose + rng.choice((-0.4, 0, 0.4)), rng.uniform(0.8, 1.1))])[0]
        cv2.circle(
            image,
            tuple(np.round(centre).astype(int).tolist()),
            int(rng.integers(4, 9)),
            any_colour(rng).tolist(),
            -1,
            cv2.LINE_AA,
        )
    return image


def worn(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    return draw_mask(image, axes, rng, rng.uniform(0.12, 0.4), rng.uniform(1.35, 1.75))


def below_nose(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    return draw_mask(image, axes, rng, rng.uniform(0.68, 0.86), rng.uniform(1.45, 1.8))


def below_chin(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    return draw_mask(image, axes, rng, rng.uniform(1.2, 1.45), rng.uniform(1.8, 2.1))


# ---- what is no mask -------------------------------------------------------------------------------------------------


def hand(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """Fingers next to one another, from below or from a side, and sometimes the palm."""
    colour, turn = skin(image, axes, rng), rng.uniform(-1.2, 1.2)
    tip = np.array([rng.normal(0, 0.25), rng.uniform(0.3, 1.0)])
    along = np.array([np.sin(turn), np.cos(turn)])
    across, width = np.array([along[1], -along[0]]), rng.uniform(0.16, 0.26)
    for finger in np.arange(int(rng.integers(1, 6))) - 1.5:
        start = tip + across * finger * width + along * (abs(finger) * 0.12 + rng.normal(0, 0.05))
        sides = [
            start + along * far + across * width * 0.5 * wide
            for far, wide in ((0.1, -0.9), (0, 0), (0.1, 0.9), (2, 1), (2, -1))
        ]
        image = lay_over(image, Piece(rounded(axes.pixels(sides)), colour * rng.uniform(0.9, 1.05)), rng)
    return image


def thing(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """A cup, a telephone, a microphone, a sheet of paper: round or angular, of any colour."""
    u, v = axes.grid(len(image))
    centre, half = (rng.normal(0, 0.35), rng.uniform(0.7, 1.6)), rng.uniform(0.2, 0.75, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) if rng.random() < 0.5 else None
    if corners is None:
        turns = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        corners = np.column_stack([np.cos(turns), np.sin(turns)])
    turn = rng.normal(0, 0.4)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    colours = np.broadcast_to(any_colour(rng), (*u.shape, 3)).astype(np.float64)
    if rng.random() < 0.4:
        share = pattern(rng, u, v)[..., None]
        colours = colours * (1 - share) + any_colour(rng) * share
    return lay_over(image, Piece(axes.pixels(centre + (corners * half) @ rotation.T), colours), rng)


def scarf(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """Up to the chin or the mouth, and wider than the face."""
    top = rng.uniform(0.85, 1.4)
    places = np.linspace(-2, 2, 9)
    edge = [(place, top + 0.12 * abs(place) * rng.choice((-1, 1)) + rng.normal(0, 0.05)) for place in places]
    outline = axes.pixels([*edge, (2, 3), (-2, 3)])
    return lay_over(image, Piece(outline, cloth(rng, axes, len(image))), rng)


def beard(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """Hair along the jaw and above the lip, with the mouth left free."""
    side, softness = len(image), rng.uniform(1.5, 4)
    area = coverage(mask_outline(rng, axes, rng.uniform(0.72, 0.85), rng.uniform(1.5, 1.9)), side, softness)
    u, v = axes.grid(side)
    lips = np.exp(-(((u / 0.42) ** 2 + ((v - 1.02) / rng.uniform(0.1, 0.2)) ** 2) ** 2))
    cheeks = (v < 0.95 - 0.3 * rng.random()) & (np.abs(u) < rng.uniform(0.5, 0.9)) & (np.abs(u) > 0.45)
    area = (area * (1 - lips) * ~cheeks * rng.uniform(0.5, 1))[..., None]
    colours = hair(rng, side) * light_on(image, 0.5)
    return np.asarray(np.clip(image * (1 - area) + colours * area, 0, 255), np.uint8)


def shadow(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """The lower half, or one side, darker or in coloured light."""
    u, v = axes.grid(len(image))
    turn, softness = rng.normal(0, 0.6), rng.uniform(0.02, 0.3)
    share = 1 / (1 + np.exp(-((v - rng.uniform(0.1, 0.9)) * np.cos(turn) + u * np.sin(turn)) / softness))
    tint = rng.uniform(0.25, 0.9) * rng.uniform(0.8, 1.2, 3)
    return np.asarray(np.clip(image * (1 - share[..., None] * (1 - tint)), 0, 255), np.uint8)


def glasses(image: np.ndarray, axes: FaceAxes, rng: np.random.Generator) -> np.ndarray:
    """Dark or with a frame only; drawn with and without masks."""
    image = image.copy()
    colour, dark = rng.uniform(0, 120, 3).tolist(), rng.random() < 0.5
    size = np.linalg.norm(axes.pixels([(0.5, 0)]) - axes.pixels([(-0.5, 0)])) * rng.uniform(0.32, 0.42)
    for u in (-0.5, 0.5):
        centre = np.round(axes.pixels([(u, 0.05)])[0]).astype(int).tolist()
        lens = (int(size), int(size * rng.uniform(0.6, 0.9)))
        cv2.ellipse(image, tuple(centre), lens, 0, 0, 360, colour, -1 if dark else 1, cv2.LINE_AA)
    return image


Drawing = Callable[[np.ndarray, FaceAxes, np.random.Generator], np.ndarray]


def untouched(image: np.ndarray, _axes: FaceAxes, _rng: np.random.Generator) -> np.ndarray:
    return image


DRAWINGS: Sequence[Tuple[Drawing, float]] = (
    (worn, 0.45),
    (below_nose, 0.09),
    (below_chin, 0.04),
    (untouched, 0.17),
    (hand, 0.07),
    (thing, 0.06),
    (scarf, 0.05),
    (beard, 0.04),
    (shadow, 0.03),
)
"""How often each is drawn. Only the first counts as a mask."""


WORN = 0


def draw_on(wide: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, kind: int) -> np.ndarray:
    """A wide crop with the drawing of this index in DRAWINGS, and now and then with glasses."""
    axes = FaceAxes(landmarks)
    if rng.random() < 0.12:
        wide = glasses(wide, axes, rng)
    return DRAWINGS[kind][0](wide, axes, rng)
