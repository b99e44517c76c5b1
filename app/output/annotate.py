"""The picture with what is known of it: boxes, names, channel, rate and delay.

Labels are little pictures that are made once per text and then only copied in, which is what keeps drawing far below
a millisecond. Colours are those of Okabe and Ito, told apart with any kind of colour vision; the words say it as well.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from app.output.text_renderer import BOLD, REGULAR, TextRenderer
from app.types import NO_ATTRIBUTES, FaceAttributes, FrameResult, Match, Reason

Colour = Tuple[int, int, int]


class Style(NamedTuple):
    """How one kind of face looks. Colours are BGR."""

    line: Colour
    text: Colour
    corners: bool
    """Thick corners make a box stand out; faces that were not compared do without."""


KNOWN = Style(line=(108, 124, 0), text=(255, 255, 255), corners=True)
UNKNOWN = Style(line=(0, 159, 230), text=(24, 24, 24), corners=True)
NOT_COMPARED = Style(line=(128, 118, 108), text=(255, 255, 255), corners=False)

_SHADOW: Colour = (24, 24, 24)
_POINTS: Colour = (66, 228, 240)
_STATUS_SHADE = 0.35
_LONGEST_NAME = 40
_CACHED_LABELS = 1024
_SMALL_TEXT = 0.75
_LEAST_TEXT_PX = 12
_LIVE_FROM = 0.5
_GAZE_LENGTH = 1.5
"""In distances between the eyes, for a face that looks sideways."""


class Annotator:
    """Draws results. `landmarks` may be switched at any time; one annotator may serve several threads."""

    def __init__(self, landmarks: bool = False, renderer: Optional[TextRenderer] = None) -> None:
        self.landmarks = landmarks
        self._renderer = renderer or TextRenderer()
        self._labels: OrderedDict[Tuple[str, str, str, int, Style], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def annotate(self, result: FrameResult, fps: Optional[float] = None) -> np.ndarray:
        """An annotated copy of the frame; the frame itself stays as it is."""
        image = np.array(result.frame.image, order="C")
        sizes = Sizes.of(image.shape[1], image.shape[0])
        draw_status(image, status_texts(result, fps), sizes, self._renderer)
        corners = np.rint(result.faces.boxes).astype(int).tolist()
        styles = [style_of(match) for match in result.matches]
        for box, style in zip(corners, styles):
            draw_box(image, box, style, sizes)
        if self.landmarks:
            draw_landmarks(image, result.faces.landmarks, sizes)
        told = result.attributes or (NO_ATTRIBUTES,) * len(corners)
        for landmarks, attributes in zip(result.faces.landmarks, told):
            draw_attributes(image, attributes, landmarks, sizes)
        for box, style, match, attributes in zip(corners, styles, result.matches, told):
            label = self._label(*label_texts(match), attributes_text(attributes), sizes.text_px, style)
            self._paste(image, label, box, sizes)
        return image

    def _paste(self, image: np.ndarray, label: np.ndarray, box: List[int], sizes: Sizes) -> None:
        frame_size = (image.shape[1], image.shape[0])
        outer = (box[0] - sizes.line_px, box[1] - sizes.line_px, box[2] + sizes.line_px, box[3] + sizes.line_px)
        x, y = place_label(outer, (label.shape[1], label.shape[0]), frame_size)
        label = label[: frame_size[1] - y, : frame_size[0] - x]
        image[y : y + label.shape[0], x : x + label.shape[1]] = label

    def _label(self, name: str, detail: str, told: str, height_px: int, style: Style) -> np.ndarray:
        key = (name, detail, told, height_px, style)
        with self._lock:
            label = self._labels.get(key)
            if label is None:
                label = self._labels[key] = self._make_label(name, detail, told, height_px, style)
                if len(self._labels) > _CACHED_LABELS:
                    self._labels.popitem(last=False)
            else:
                self._labels.move_to_end(key)
        return label

    def _make_label(self, name: str, detail: str, told: str, height_px: int, style: Style) -> np.ndarray:
        """The name with its detail, and what else is told of the face in smaller letters in a line beneath."""
        lines = [self._line([(name, BOLD), (detail, REGULAR)], height_px)]
        if told:
            lines.append(self._line([(told, REGULAR)], max(_LEAST_TEXT_PX, round(height_px * _SMALL_TEXT))))
        width = max(line.shape[1] for line in lines)
        filled = [np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines]
        coverage = np.vstack(filled)[..., None].astype(np.float32) / 255
        blended = np.array(style.line) * (1 - coverage) + np.array(style.text) * coverage
        return np.asarray(np.rint(blended), np.uint8)

    def _line(self, texts: List[Tuple[str, int]], height_px: int) -> np.ndarray:
        """How far the letters of texts, each in its own weight, cover the pixels of one line."""
        padding = np.zeros((height_px, max(2, height_px // 4)), np.uint8)
        pieces = [padding]
        for text, weight in texts:
            if text:
                pieces += [self._renderer.mask(text, height_px, weight), padding]
        return np.hstack(pieces)


class Sizes(NamedTuple):
    """Measures in pixels that grow with the frame."""

    text_px: int
    line_px: int
    margin_px: int

    @classmethod
    def of(cls, width: int, height: int) -> Sizes:
        # As if the picture were 16:9, so that an upright one does not get letters for its full height.
        scale = min(height, width * 9 / 16) / 720
        return cls(text_px=max(13, round(26 * scale)), line_px=max(1, round(2 * scale)), margin_px=round(10 * scale))


def style_of(match: Match) -> Style:
    if match.name is not None:
        return KNOWN
    return UNKNOWN if match.reason.compared else NOT_COMPARED


def label_texts(match: Match) -> Tuple[str, str]:
    """What stands at a face: the name, and in lighter letters the similarity."""
    if match.name is None:
        if match.reason.compared:
            return "unknown", ""
        return "…" if match.reason is Reason.NOT_COMPARED_YET else match.reason.value.replace("_", " "), ""
    name = match.name if len(match.name) <= _LONGEST_NAME else match.name[: _LONGEST_NAME - 1] + "…"
    return name, f"{match.similarity:.2f}"


def attributes_text(attributes: FaceAttributes) -> str:
    """What is told of a face besides who it is, in a few words; empty when nothing is."""
    words = []
    if attributes.gender is not None and attributes.age is not None:
        words.append(f"{attributes.gender} {attributes.age:.0f}")
    if attributes.mask is not None:
        words.append("mask" if attributes.mask else "no mask")
    if attributes.live_probability is not None:
        words.append("live" if attributes.live_probability >= _LIVE_FROM else "not live")
    return ", ".join(words)


def status_texts(result: FrameResult, fps: Optional[float]) -> List[str]:
    """What stands in the corner: the channel, the rate, the delay from arrival to result."""
    texts = [result.frame.source]
    if fps is not None:
        texts.append(f"{fps:.1f} fps" if fps < 100 else f"{fps:.0f} fps")
    texts.append(f"{result.latency_s * 1000:.0f} ms" if result.latency_s < 10 else f"{result.latency_s:.0f} s")
    return texts


def place_label(
    box: Tuple[int, int, int, int], label_size: Tuple[int, int], frame_size: Tuple[int, int]
) -> Tuple[int, int]:
    """Upper left corner of the label: on top of the box, else beneath it, else within; always inside the picture.

    All in whole pixels: `box` x1 y1 x2 y2, sizes as (width, height).
    """
    x1, y1, _, y2 = box
    width, height = label_size
    most_x, most_y = max(0, frame_size[0] - width), max(0, frame_size[1] - height)
    if 0 <= y1 - height <= most_y:
        y = y1 - height
    elif 0 <= y2 <= most_y:
        y = y2
    else:
        y = y1
    return min(max(x1, 0), most_x), min(max(y, 0), most_y)


def draw_box(image: np.ndarray, box: List[int], style: Style, sizes: Sizes) -> None:
    """A thin frame with a dark rim, so that it shows on light and on dark, and accents at its corners."""
    x1, y1, x2, y2 = box
    thin = sizes.line_px
    cv2.rectangle(image, (x1, y1), (x2, y2), _SHADOW, thin + 2)
    cv2.rectangle(image, (x1, y1), (x2, y2), style.line, thin)
    if style.corners:
        reach = max(2, min(x2 - x1, y2 - y1) // 5)
        for x, inner_x in ((x1 - thin, x1 + reach), (x2 - reach, x2 + thin)):
            for y in (y1, y2):
                cv2.rectangle(image, (x, y - thin), (inner_x, y + thin), style.line, -1)
        for y, inner_y in ((y1 - thin, y1 + reach), (y2 - reach, y2 + thin)):
            for x in (x1, x2):
                cv2.rectangle(image, (x - thin, y), (x + thin, inner_y), style.line, -1)


def draw_landmarks(image: np.ndarray, landmarks: np.ndarray, sizes: Sizes) -> None:
    radius = sizes.line_px + 1
    for x, y in np.rint(landmarks).astype(int).reshape(-1, 2).tolist():
        cv2.circle(image, (x, y), radius + 1, _SHADOW, -1, cv2.LINE_AA)
        cv2.circle(image, (x, y), radius, (255, 255, 255), -1, cv2.LINE_AA)


def draw_attributes(image: np.ndarray, attributes: FaceAttributes, landmarks: np.ndarray, sizes: Sizes) -> None:
    """The 106 points, and a line from the nose to where the face looks."""
    if attributes.landmarks106 is not None:
        for x, y in np.rint(attributes.landmarks106).astype(int).tolist():
            cv2.circle(image, (x, y), sizes.line_px, _POINTS, -1, cv2.LINE_AA)
    if attributes.pose is not None:
        yaw, pitch = np.radians([attributes.pose.yaw_deg, attributes.pose.pitch_deg])
        reach = np.linalg.norm(landmarks[1] - landmarks[0]) * _GAZE_LENGTH
        tip = landmarks[2] + reach * np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        (x, y), (tip_x, tip_y) = np.rint([landmarks[2], tip]).astype(int).tolist()
        cv2.line(image, (x, y), (tip_x, tip_y), _SHADOW, sizes.line_px + 2, cv2.LINE_AA)
        cv2.line(image, (x, y), (tip_x, tip_y), _POINTS, sizes.line_px, cv2.LINE_AA)


def draw_status(image: np.ndarray, texts: List[str], sizes: Sizes, renderer: TextRenderer) -> None:
    """White letters on a darkened strip in the upper left corner."""
    gap = np.zeros((sizes.text_px, max(4, sizes.text_px // 2)), np.uint8)
    pieces = [gap]
    for number, text in enumerate(texts):
        pieces += [renderer.mask(text, sizes.text_px, REGULAR if number else BOLD), gap]
    coverage = np.hstack(pieces)
    x = y = sizes.margin_px
    strip = image[y : y + coverage.shape[0], x : x + coverage.shape[1]]
    if not strip.size:
        return
    letters = cv2.cvtColor(coverage[: strip.shape[0], : strip.shape[1]], cv2.COLOR_GRAY2BGR)
    strip[:] = cv2.max(cv2.convertScaleAbs(strip, alpha=_STATUS_SHADE), letters)
