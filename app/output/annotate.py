"""Draws a result into its frame: boxes, names, channel and time.

A label is rendered once per text and copied in afterwards, which keeps drawing far below a millisecond. The colours
are from Okabe and Ito's palette, which people with any kind of colour vision can distinguish; the words differ too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import List, Mapping, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.degrade import DegradeLevel
from app.output.areas import Outlines, draw_grid
from app.output.text_renderer import BOLD, REGULAR, TextRenderer
from app.text import percent, source_time
from app.types import NO_ATTRIBUTES, FaceAttributes, Frame, FrameResult, Match, Reason

Colour = Tuple[int, int, int]


class Style(NamedTuple):
    """How one kind of face looks. Colours are BGR."""

    line: Colour
    text: Colour
    corners: bool
    """Thick corners make a box stand out; faces that were not compared have none."""


KNOWN = Style(line=(108, 124, 0), text=(255, 255, 255), corners=True)
UNKNOWN = Style(line=(0, 159, 230), text=(24, 24, 24), corners=True)
NOT_COMPARED = Style(line=(128, 118, 108), text=(255, 255, 255), corners=False)

_SHADOW: Colour = (24, 24, 24)
_POINTS: Colour = (66, 228, 240)
_STATUS_SHADE = 0.35
_MAX_NAME = 40
"""Letters of a name that are shown."""
_CACHED_LABELS = 1024
_SMALL_TEXT = 0.75
_MIN_TEXT_PX = 12
_MIN_LIVE = 0.5
_GAZE_LENGTH = 1.5
"""In distances between the eyes, for a face in full profile."""
_LABELS = {
    Reason.TOO_SMALL: "too far away",
    Reason.NOT_COMPARED_YET: "checking",
    Reason.TRACK_IN_DOUBT: "checking",
    Reason.IGNORED: "ignored",
}
"""Short words for faces that were not compared, instead of the reason."""
_REASONS = {
    Reason.MATCHED: "clear match",
    Reason.BELOW_THRESHOLD: "not similar enough",
    Reason.AMBIGUOUS: "two people equally similar",
    Reason.VOTES_DISAGREE: "comparisons disagree",
    Reason.NO_ONE_ENROLLED: "the gallery is empty",
    Reason.NAME_TAKEN: "another face has this name",
    Reason.LOW_SCORE: "possibly not a face",
    Reason.TOO_SMALL: "face too small to compare",
    Reason.NOT_A_FACE: "not a face",
    Reason.IMPLAUSIBLE: "possibly not a face",
    Reason.TURNED_AWAY: "turned away",
    Reason.TILTED: "tilted too much to compare",
    Reason.CUT_OFF: "cut off by the edge of the picture",
    Reason.TOO_DARK: "too dark to compare",
    Reason.TOO_BRIGHT: "too bright to compare",
    Reason.TOO_BLURRED: "too blurred to compare",
    Reason.NOT_COMPARED_YET: "more comparisons needed",
    Reason.TRACK_IN_DOUBT: "possibly another person",
}
"""In plain words; a reason that is not listed is shown with spaces for underscores."""


class Annotator:
    """Draws results. `landmarks`, `why` and `grid` may be switched at any time.

    Several threads may share one annotator.
    """

    def __init__(
        self,
        landmarks: bool = False,
        why: bool = False,
        renderer: Optional[TextRenderer] = None,
        outlines: Optional[Mapping[str, Outlines]] = None,
    ) -> None:
        """`why` adds to each label which people are nearest, and the reason for the name or for having none.

        `outlines` are those of what is watched and ignored, by channel.
        """
        self.landmarks = landmarks
        self.why = why
        self.grid = False
        """Lines to read positions from, for polygons in the settings."""
        self._outlines = dict(outlines or {})
        self._renderer = renderer or TextRenderer()
        self._labels: OrderedDict[Tuple[Tuple[str, ...], int, Style], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def annotate(self, result: FrameResult, status: Optional[Sequence[str]] = None) -> np.ndarray:
        """An annotated copy of the frame; the frame itself stays as it is.

        `status` is written in the corner, by default the channel and the time in the source; if something is left out
        because the machine is too slow, that is added.
        """
        image = np.array(result.frame.image, order="C")
        sizes = Sizes.of(image.shape[1], image.shape[0])
        if result.frame.source in self._outlines:
            self._outlines[result.frame.source].draw(image)
        if self.grid:
            draw_grid(image, self._renderer)
        texts = [*(frame_status(result.frame) if status is None else status), *level_status(result)]
        draw_status(image, texts, sizes, self._renderer)
        corners = np.rint(result.faces.boxes).astype(int).tolist()
        styles = [style_of(match) for match in result.matches]
        for box, style in zip(corners, styles):
            draw_box(image, box, style, sizes)
        if self.landmarks:
            draw_landmarks(image, result.faces.landmarks, sizes)
        attributes = result.attributes or (NO_ATTRIBUTES,) * len(corners)
        for points, known in zip(result.faces.landmarks, attributes):
            draw_attributes(image, known, points, sizes)
        strangers = {track.id: track.stranger for track in result.tracks}
        for box, style, match, track_id, known in zip(corners, styles, result.matches, result.track_ids, attributes):
            lines = [attributes_text(known), *(why_lines(match) if self.why else ())]
            label = self._label(
                (*label_texts(match, strangers.get(track_id)), *filter(None, lines)), sizes.text_px, style
            )
            outer = (box[0] - sizes.line_px, box[1] - sizes.line_px, box[2] + sizes.line_px, box[3] + sizes.line_px)
            x, y = place_label(outer, (label.shape[1], label.shape[0]), (image.shape[1], image.shape[0]))
            label = label[: image.shape[0] - y, : image.shape[1] - x]
            image[y : y + label.shape[0], x : x + label.shape[1]] = label
        return image

    def _label(self, texts: Tuple[str, ...], height_px: int, style: Style) -> np.ndarray:
        """The name, how certain it is, and further lines beneath them in smaller letters."""
        key = (texts, height_px, style)
        with self._lock:
            label = self._labels.get(key)
            if label is None:
                name, similarity, *further = texts
                lines = [self._line([(name, BOLD), (similarity, REGULAR)], height_px)]
                small_px = max(_MIN_TEXT_PX, round(height_px * _SMALL_TEXT))
                lines += [self._line([(text, REGULAR)], small_px) for text in further]
                width = max(line.shape[1] for line in lines)
                filled = [np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines]
                coverage = np.vstack(filled)[..., None].astype(np.float32) / 255
                blended = np.array(style.line) * (1 - coverage) + np.array(style.text) * coverage
                label = self._labels[key] = np.asarray(np.rint(blended), np.uint8)
                if len(self._labels) > _CACHED_LABELS:
                    self._labels.popitem(last=False)
            else:
                self._labels.move_to_end(key)
        return label

    def _line(self, texts: List[Tuple[str, int]], height_px: int) -> np.ndarray:
        """How much the letters of texts, each in its own weight, cover the pixels of one line."""
        padding = np.zeros((height_px, max(2, height_px // 4)), np.uint8)
        pieces = [padding]
        for text, weight in texts:
            if text:
                pieces += [self._renderer.mask(text, height_px, weight), padding]
        return np.hstack(pieces)


class Sizes(NamedTuple):
    """In pixels; they grow with the frame."""

    text_px: int
    line_px: int
    margin_px: int

    @classmethod
    def of(cls, width: int, height: int) -> Sizes:
        # As for a 16:9 picture of the same width, so that the letters of an upright picture are not too large.
        scale = min(height, width * 9 / 16) / 720
        return cls(text_px=max(13, round(26 * scale)), line_px=max(1, round(2 * scale)), margin_px=round(10 * scale))


def style_of(match: Match) -> Style:
    if match.name is not None:
        return KNOWN
    return UNKNOWN if match.reason.compared and match.reason is not Reason.IGNORED else NOT_COMPARED


def label_texts(match: Match, stranger: Optional[str] = None) -> Tuple[str, str]:
    """The text at a face: the name, and in lighter letters how certain it is, or else the similarity.

    An unknown person has the number of a stranger, if there is one.
    """
    if match.name is not None:
        certain = f"{match.similarity:.2f}" if match.confidence is None else percent(match.confidence)
        return shortened_name(match.name), certain
    if match.reason in _LABELS or not match.reason.compared:
        return _LABELS.get(match.reason, reason_text(match.reason)), ""
    return stranger or "unknown", ""


def reason_text(reason: Reason) -> str:
    return _REASONS.get(reason, str(reason).replace("_", " "))


def why_lines(match: Match) -> List[str]:
    """Why a face has its name or none: the reason, and the nearest people with their similarities."""
    reason = f"{reason_text(match.reason)} {match.numbers}".rstrip()
    if not match.reason.compared or match.nearest is None:
        return [reason]
    lines = [reason]
    if match.nearest != match.name:
        lines.append(f"nearest {shortened_name(match.nearest)} {match.similarity:.2f}")
    if match.runner_up is not None:
        lines.append(f"then {shortened_name(match.runner_up)} {match.runner_up_similarity:.2f}")
    return lines


def shortened_name(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def attributes_text(attributes: FaceAttributes) -> str:
    """The attributes of a face in a few words; empty without any."""
    words = []
    if attributes.gender is not None and attributes.age is not None:
        words.append(f"{attributes.gender} {attributes.age:.0f}")
    if attributes.mask is not None:
        words.append("mask" if attributes.mask else "no mask")
    if attributes.live_probability is not None:
        words.append("live" if attributes.live_probability >= _MIN_LIVE else "not live")
    return ", ".join(words)


def frame_status(frame: Frame) -> List[str]:
    """The channel and where in it the frame is: a time of day, a position or a file."""
    return [frame.source, source_time(frame.shown_time(frame.source_time), frame.live, frame.file)]


def level_status(result: FrameResult) -> List[str]:
    """What is left out; nothing on a machine that is fast enough."""
    level = DegradeLevel(result.degrade_level)
    return [level.shown] if level else []


def live_status(result: FrameResult, fps: Optional[float]) -> List[str]:
    """The channel, its frame rate, and the delay from a frame's arrival to its result."""
    texts = [result.frame.source]
    if fps is not None:
        texts.append(f"{fps:.1f} fps" if fps < 100 else f"{fps:.0f} fps")
    texts.append(f"{result.latency_s * 1000:.0f} ms" if result.latency_s < 10 else f"{result.latency_s:.0f} s")
    return texts


def place_label(
    box: Tuple[int, int, int, int], label_size: Tuple[int, int], frame_size: Tuple[int, int]
) -> Tuple[int, int]:
    """Upper left corner of the label: above the box, else below it, else inside; always within the picture.

    All in whole pixels: `box` x1 y1 x2 y2, sizes as (width, height).
    """
    x1, y1, _, y2 = box
    width, height = label_size
    max_x, max_y = max(0, frame_size[0] - width), max(0, frame_size[1] - height)
    if 0 <= y1 - height <= max_y:
        y = y1 - height
    elif 0 <= y2 <= max_y:
        y = y2
    else:
        y = y1
    return min(max(x1, 0), max_x), min(max(y, 0), max_y)


def draw_box(image: np.ndarray, box: List[int], style: Style, sizes: Sizes) -> None:
    """A thin frame with a dark rim, visible on light and dark backgrounds, and thick corners."""
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
    """The 106 points, and a line from the nose in the direction of the gaze."""
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


def draw_status(image: np.ndarray, texts: Sequence[str], sizes: Sizes, renderer: TextRenderer) -> None:
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
