"""Names on pictures, in any script: the text alone is rasterised, once, and kept."""

from __future__ import annotations

import logging
import threading
import unicodedata
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol, Sequence, Set, Tuple

import cv2
import numpy as np

from app.output.bidi import is_right_to_left, visual_order
from app.output.fonts import FontFile, find_font, load, missing_glyphs
from app.text import install_hint

logger = logging.getLogger(__name__)

_CACHED_TEXTS = 2048
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC")
_SYMBOLS = "emoji and symbols"

FONT_SIZE = 0.8
"""Size of the font as a share of the line's height."""
BASELINE = 0.79
"""Where the letters stand, as a share of the line's height: puts the capitals in the middle."""
_CAPITAL_HEIGHT = 0.58
"""Height of a capital letter as a share of the line's height, as those of OpenCV 5's font come out."""

REGULAR, BOLD = 400, 600


class TextRenderer:
    """Turns texts into masks. One may be shared by all threads."""

    def __init__(self, backends: Optional[Sequence[TextBackend]] = None) -> None:
        """`backends` in order of preference; by default all that this machine has."""
        self._backends = available_backends() if backends is None else list(backends)
        self._cache: OrderedDict[Tuple[str, int, int], np.ndarray] = OrderedDict()
        self._warned: Set[str] = set()
        self._lock = threading.Lock()

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        """The text as coverage: `height_px` x its width, uint8, read-only.

        The height is that of the line, the same for every text, with room for accents and descenders.
        """
        key = (text, height_px, weight)
        with self._lock:
            kept = self._cache.get(key)
            if kept is None:
                kept = self._rasterise(_drawable(text), height_px, weight)
                kept.flags.writeable = False
                self._cache[key] = kept
                if len(self._cache) > _CACHED_TEXTS:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
        return kept

    def _rasterise(self, text: str, height_px: int, weight: int) -> np.ndarray:
        if not text:
            return np.zeros((height_px, 1), np.uint8)
        return self._choose(text).mask(text, height_px, weight)

    def _choose(self, text: str) -> TextBackend:
        """The first backend that has all the letters; failing that, the one that lacks fewest, and a warning."""
        fewest: Optional[str] = None
        best = self._backends[-1]
        for backend in self._backends:
            missing = backend.missing(text)
            if not missing:
                return backend
            if fewest is None or len(missing) < len(fewest):
                best, fewest = backend, missing
        self._warn(text, fewest or "")
        return best

    def _warn(self, text: str, missing: str) -> None:
        for script in dict.fromkeys(map(script_of, missing)):
            if script not in self._warned:
                self._warned.add(script)
                logger.warning(
                    'no font here can draw the %s letters of %r properly: they appear as "?" or unjoined. %s',
                    script,
                    text,
                    remedy(script),
                )


def available_backends() -> List[TextBackend]:
    found: List[TextBackend] = []
    if OpenCvText.available():
        found.append(OpenCvText())
    if PillowText.available():
        found.append(PillowText())
    found.append(HersheyText())
    return found


def script_of(character: str) -> str:
    """The script as Unicode's character names call it: CJK, ARABIC, DEVANAGARI."""
    if unicodedata.category(character) in ("So", "Sk", "Co", "Cn"):
        return _SYMBOLS
    return unicodedata.name(character, _SYMBOLS).split()[0]


def remedy(script: str) -> str:
    """What the user can do about letters that no font has."""
    if script in _EAST_ASIAN:
        fonts = "fonts-noto-cjk"
    elif script == _SYMBOLS:
        fonts = "fonts-symbola"
    else:
        fonts = "fonts-noto-core"
    pillow = "" if PillowText.available() else f" and `{install_hint('pillow')}`"
    return f"To mend it: `apt-get install {fonts}` (or any font that has them){pillow}"


def _drawable(text: str) -> str:
    """Composed letters (files from a Mac have them in pieces), no line breaks, nothing invisible."""
    composed = unicodedata.normalize("NFC", text)
    spaced = "".join(" " if c.isspace() else c for c in composed)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs") and not _is_selector(c))


def _is_selector(character: str) -> bool:
    return 0xFE00 <= ord(character) <= 0xFE0F


class TextBackend(Protocol):
    """Draws one line of text."""

    def missing(self, text: str) -> str:
        """The characters that it cannot draw properly."""
        ...

    def mask(self, text: str, height_px: int, weight: int) -> np.ndarray:
        """The text as coverage, `height_px` x its width, uint8; what is missing appears as a question mark."""
        ...


class OpenCvText:
    """OpenCV 5 carries a font with Latin, Greek, Cyrillic, Hebrew, Chinese, Japanese and Korean letters.

    It sets each letter by itself from the left: scripts whose letters join are beyond it.
    """

    def __init__(self) -> None:
        self._face = cv2.FontFace("sans")
        self._is_missing: Dict[str, bool] = {}

    @staticmethod
    def available() -> bool:
        return hasattr(cv2, "FontFace")

    def missing(self, text: str) -> str:
        return "".join(c for c in dict.fromkeys(text) if not c.isspace() and self._lacks(c))

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        text = visual_order(text)
        size = max(1, round(height_px * FONT_SIZE))
        _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), self._face, size, weight)
        canvas = np.zeros((height_px, width + 2), np.uint8)
        cv2.putText(canvas, text, (1, round(height_px * BASELINE)), (255, 255, 255), self._face, size, weight)
        return canvas

    def _lacks(self, character: str) -> bool:
        known = self._is_missing.get(character)
        if known is None:
            known = needs_joining(character) or self._draws_question_mark(character)
            self._is_missing[character] = known
        return known

    def _draws_question_mark(self, character: str) -> bool:
        if character == "?":
            return False
        return np.array_equal(self.mask(character, 32), self.mask("?", 32))


class PillowText:
    """Pillow with whichever font of this machine has the letters."""

    def __init__(self, folders: Optional[Sequence[Path]] = None) -> None:
        from PIL import features

        self._folders = folders
        self._joins_letters = bool(features.check("raqm"))
        self._fonts: Dict[str, Optional[FontFile]] = {}
        self._loaded: Dict[Tuple[FontFile, int], Any] = {}

    @staticmethod
    def available() -> bool:
        try:
            from PIL import ImageFont  # noqa: F401
        except ImportError:
            return False
        return True

    def missing(self, text: str) -> str:
        font = self._font(text, 24)
        wanted = "".join(c for c in dict.fromkeys(text) if not c.isspace())
        if font is None:
            return wanted
        lacking = set(missing_glyphs(font, wanted))
        return "".join(c for c in wanted if c in lacking or (needs_joining(c) and not self._joins_letters))

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        from PIL import Image, ImageDraw

        font = self._font(text, max(1, round(height_px * FONT_SIZE)))
        if font is None:
            raise ValueError("there is no font on this machine")
        shown = _with_question_marks(text, missing_glyphs(font, text))
        if not self._joins_letters:
            shown = visual_order(shown)
        left, _, right, _ = font.getbbox(shown, anchor="ls")
        canvas = Image.new("L", (max(1, int(right - min(left, 0))) + 2, height_px))
        ImageDraw.Draw(canvas).text((1 - min(left, 0), height_px * BASELINE), shown, fill=255, font=font, anchor="ls")
        return np.array(canvas)

    def _font(self, text: str, size_px: int) -> Optional[Any]:
        """The font for the text at that size. Which file it is depends on the letters beyond ASCII alone."""
        letters = "".join(sorted({c for c in text if not c.isspace() and ord(c) > 126}))
        if letters not in self._fonts:
            self._fonts[letters] = find_font(letters or "Aa", self._folders)
        font_file = self._fonts[letters]
        if font_file is None:
            return None
        key = (font_file, size_px)
        if key not in self._loaded:
            self._loaded[key] = load(font_file, size_px)
        return self._loaded[key]


class HersheyText:
    """OpenCV's line font: always there, plain ASCII only. Accents are left off the letters that have them."""

    _FACE = cv2.FONT_HERSHEY_SIMPLEX

    def missing(self, text: str) -> str:
        return "".join(c for c in dict.fromkeys(text) if not _has_plain_form(c))

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        plain = "".join(_plain_form(c) if _has_plain_form(c) else "?" for c in text)
        thickness = max(1, round(height_px * weight / REGULAR / 16))
        (_, capital_px), _ = cv2.getTextSize("H", self._FACE, 1.0, 1)
        scale = max(0.1, height_px * _CAPITAL_HEIGHT / capital_px)
        (width, _), _ = cv2.getTextSize(plain, self._FACE, scale, thickness)
        canvas = np.zeros((height_px, width + 2), np.uint8)
        baseline = round(height_px * BASELINE)
        cv2.putText(canvas, plain, (1, baseline), self._FACE, scale, 255, thickness, cv2.LINE_AA)
        return canvas


def needs_joining(character: str) -> bool:
    """Whether the letter's shape depends on its neighbours, so that letters set one by one would be wrong."""
    if ord(character) < 0x300:
        return False
    if is_right_to_left(character):
        return unicodedata.bidirectional(character) == "AL"
    return any(first <= ord(character) <= last for first, last in _JOINING_BLOCKS)


# Indic scripts to Sinhala; Thai and Lao need none; Tibetan to Myanmar; Khmer; Mongolian.
_JOINING_BLOCKS = ((0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x17FF), (0x1800, 0x18AF))


def _with_question_marks(text: str, missing: str) -> str:
    shown = ""
    for previous, character in zip(" " + text, text):
        if character in missing:
            shown += "?"
        elif not (previous in missing and unicodedata.category(character).startswith("M")):
            shown += character
    return shown


def _plain_form(character: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", character) if " " <= c <= "~")


def _has_plain_form(character: str) -> bool:
    """Whether taking off accents leaves the letter: é is an e, but not every sign with an ASCII part is that part."""
    parts = unicodedata.normalize("NFKD", character)
    return bool(_plain_form(character)) and all(" " <= c <= "~" or unicodedata.combining(c) for c in parts)
