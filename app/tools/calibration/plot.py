"""The similarities of strangers and of the enrolled people as a picture, drawn with OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from app.errors import OutputError
from app.files import write_whole
from app.output.text_renderer import BOLD, REGULAR, TextRenderer

Colour = Tuple[int, int, int]

WIDTH, HEIGHT = 1200, 640
LEFT, RIGHT, TOP, BOTTOM = 60, 30, 120, 70
TEXT_PX = 24
FIRST, LAST = -0.2, 1.0
BINS = 80
INK: Colour = (60, 50, 45)
GRID: Colour = (225, 225, 225)
STRANGERS: Colour = (60, 90, 215)
OWN: Colour = (110, 150, 40)
OTHERS: Colour = (190, 190, 150)


class Curve(NamedTuple):
    """A set of similarities in the picture."""

    title: str
    similarities: np.ndarray
    colour: Colour


def plot(curves: Sequence[Curve], title: str, threshold: float, path: Path) -> None:
    """Writes the histograms of several sets of similarities, each with the same area, and the threshold as a line."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    renderer = TextRenderer()
    edges = np.linspace(FIRST, LAST, BINS + 1)
    shares = [_shares(curve.similarities, edges) for curve in curves]
    highest = max(float(share.max(initial=0)) for share in shares) or 1.0
    floor = HEIGHT - BOTTOM
    for value in np.arange(FIRST, LAST + 0.01, 0.2):
        x = _x(float(value))
        cv2.line(image, (x, TOP), (x, floor), GRID, 1)
        _text(image, renderer, f"{abs(value) if abs(value) < 0.01 else value:.1f}", (x, floor + 10), INK, centred=True)
    for curve, share in zip(curves, shares):
        heights = floor - share / highest * (floor - TOP - 10)
        outline = [(_x(FIRST), floor)]
        for left, right, height in zip(edges, edges[1:], heights):
            outline += [(_x(left), int(height)), (_x(right), int(height))]
        corners = np.array([*outline, (_x(LAST), floor)], np.int32)
        layer = image.copy()
        cv2.fillPoly(layer, [corners], curve.colour)
        cv2.addWeighted(layer, 0.45, image, 0.55, 0, dst=image)
        cv2.polylines(image, [corners], False, curve.colour, 2, cv2.LINE_AA)
    cv2.line(image, (LEFT, floor), (WIDTH - RIGHT, floor), INK, 2)
    x = _x(threshold)
    cv2.line(image, (x, TOP - 8), (x, floor), INK, 2)
    _text(image, renderer, f"threshold {threshold:.3f}", (x + 8, TOP - 12), INK)
    _text(image, renderer, title, (LEFT, 14), INK, weight=BOLD)
    _text(image, renderer, "similarity (cosine)", (WIDTH // 2, floor + 38), INK, centred=True)
    at = LEFT
    for curve in curves:
        cv2.rectangle(image, (at, 58), (at + 18, 76), curve.colour, -1)
        at = _text(image, renderer, curve.title, (at + 26, 54), INK) + 30
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise OutputError(f"{path} cannot be written: the picture could not be encoded")
    try:
        write_whole(path, data.tobytes())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _shares(similarities: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts = np.histogram(np.clip(similarities, FIRST, LAST), edges)[0]
    return np.asarray(counts / max(1, int(counts.sum())), np.float64)


def _x(similarity: float) -> int:
    inside = min(max((similarity - FIRST) / (LAST - FIRST), 0.0), 1.0)
    return round(LEFT + inside * (WIDTH - LEFT - RIGHT))


def _text(
    image: np.ndarray,
    renderer: TextRenderer,
    text: str,
    place: Tuple[int, int],
    colour: Colour,
    weight: int = REGULAR,
    centred: bool = False,
) -> int:
    """Draws the text and returns where it ends."""
    mask = renderer.mask(text, TEXT_PX, weight)
    x = place[0] - mask.shape[1] // 2 if centred else place[0]
    x = max(0, min(x, WIDTH - mask.shape[1]))
    part = image[place[1] : place[1] + mask.shape[0], x : x + mask.shape[1]]
    coverage = mask[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = np.rint(part * (1 - coverage) + np.array(colour) * coverage).astype(np.uint8)
    return int(x + mask.shape[1])


def curves(strangers: np.ndarray, own: np.ndarray, same_person: np.ndarray) -> List[Curve]:
    """What a calibration compares: the strangers, and the looks of the own people, or those of others without any."""
    shown = [Curve("strangers, with the nearest of your people", strangers[strangers > -1], STRANGERS)]
    if len(own):
        return [*shown, Curve("your people, photo by photo", own[own > -1], OWN)]
    return [*shown, Curve("two photos of one person (other people)", same_person, OTHERS)]
