"""Text on pictures, in any script: each text is rendered once and cached.

Three backends: the TrueType font of OpenCV 5, Pillow, and OpenCV's old line font. All put the letters at the same
height in a mask of the same size, so that pieces from different backends are on one line.
"""

from __future__ import annotations

import logging
import threading
import unicodedata
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol, Sequence, Set, Tuple

import cv2
import numpy as np

from app.output.bidi import needs_joining, visual_order
from app.output.fonts import FontFile, find_font, load, missing_glyphs
from app.text import install_hint

logger = logging.getLogger(__name__)

_CACHED_TEXTS = 2048
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC")
_SYMBOLS = "emoji and symbols"

FONT_SIZE = 0.8
"""Size of the font as a share of the line's height."""
BASELINE = 0.79
"""Height of the baseline as a share of the line's height: puts the capitals in the middle."""
_CAPITAL_HEIGHT = 0.58
"""Height of a capital letter as a share of the line's height: that of OpenCV 5's font."""

REGULAR, BOLD = 400, 600


class TextRenderer:
    """Turns texts into masks. All threads may share one."""

    def __init__(self, backends: Optional[Sequence[TextBackend]] = None) -> None:
        """`backends` in order of preference; default: all that are available on this machine, which are looked for
        with the first text, since many runs draw none."""
        self._backends = None if backends is None else list(backends)
        self._cache: OrderedDict[Tuple[str, int, int], np.ndarray] = OrderedDict()
        self._warned: Set[str] = set()
        self._lock = threading.Lock()

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        """How much the text covers each pixel: `height_px` x its width, uint8, read-only.

        The height is that of the line, the same for every text, with room for accents and descenders.
        """
        key = (text, height_px, weight)
        with self._lock:
            kept = self._cache.get(key)
            if kept is None:
                drawn = drawable(text)
                kept = (
                    self._choose(drawn).mask(drawn, height_px, weight) if drawn else np.zeros((height_px, 1), np.uint8)
                )
                kept.flags.writeable = False
                self._cache[key] = kept
                if len(self._cache) > _CACHED_TEXTS:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
        return kept

    def _choose(self, text: str) -> TextBackend:
        """The first backend that has all the letters, or else the one that lacks the fewest, with a warning."""
        if self._backends is None:
            self._backends = available_backends()
        best, missing = self._backends[-1], text + " "
        for backend in self._backends:
            lacking = backend.missing(text)
            if not lacking:
                return backend
            if len(lacking) < len(missing):
                best, missing = backend, lacking
        for script in dict.fromkeys(map(script_of, missing)):
            if script not in self._warned:
                self._warned.add(script)
                logger.warning(
                    'no font on this machine can draw the %s letters of %r: they appear as "?" or not joined. %s',
                    script,
                    text,
                    fix_for(script),
                )
        return best


def available_backends() -> List[TextBackend]:
    found: List[TextBackend] = []
    if OpenCvText.available():
        found.append(OpenCvText())
    if PillowText.available():
        found.append(PillowText())
    found.append(HersheyText())
    return found


def script_of(character: str) -> str:
    """The name of the script in Unicode's character names: CJK, ARABIC, DEVANAGARI."""
    if unicodedata.category(character) in ("So", "Sk", "Co", "Cn"):
        return _SYMBOLS
    return unicodedata.name(character, _SYMBOLS).split()[0]


def fix_for(script: str) -> str:
    """What the user can do about letters that no font has."""
    if script in _EAST_ASIAN:
        fonts = "fonts-noto-cjk"
    elif script == _SYMBOLS:
        fonts = "fonts-symbola"
    else:
        fonts = "fonts-noto-core"
    pillow = "" if PillowText.available() else f" and `{install_hint('pillow')}`"
    return f"To fix it: `apt-get install {fonts}` (or any other font with these letters){pillow}"


def drawable(text: str) -> str:
    """Composed letters (file names from a Mac have them in pieces), no line breaks, nothing invisible."""
    spaced = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFC", text))
    visible = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return "".join(c for c in visible if not 0xFE00 <= ord(c) <= 0xFE0F)  # variation selectors


class TextBackend(Protocol):
    """Draws one line of text."""

    def missing(self, text: str) -> str:
        """The characters that it cannot draw properly."""
        ...

    def mask(self, text: str, height_px: int, weight: int) -> np.ndarray:
        """The text as in `TextRenderer.mask`; missing characters appear as question marks."""
        ...


class OpenCvText:
    """OpenCV 5 includes a font with Latin, Greek, Cyrillic, Hebrew, Chinese, Japanese and Korean letters.

    It places each letter separately from left to right, so it cannot draw scripts whose letters join.
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
        lacks = self._is_missing.get(character)
        if lacks is None:
            lacks = needs_joining(character) or (
                # What the font lacks is drawn as a question mark.
                character != "?" and np.array_equal(self.mask(character, 32), self.mask("?", 32))
            )
            self._is_missing[character] = lacks
        return lacks


class PillowText:
    """Pillow with any font on this machine that has the letters."""

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
        missing = missing_glyphs(font, text)
        shown = ""
        for previous, character in zip(" " + text, text):
            if character in missing:
                shown += "?"
            elif not (previous in missing and unicodedata.category(character).startswith("M")):
                shown += character
        if not self._joins_letters:
            shown = visual_order(shown)
        left, _, right, _ = font.getbbox(shown, anchor="ls")
        canvas = Image.new("L", (max(1, int(right - min(left, 0))) + 2, height_px))
        ImageDraw.Draw(canvas).text((1 - min(left, 0), height_px * BASELINE), shown, fill=255, font=font, anchor="ls")
        return np.array(canvas)

    def _font(self, text: str, size_px: int) -> Optional[Any]:
        """The font for the text at that size. The choice of the file depends only on the letters that are not ASCII."""
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
    """OpenCV's line font: always available, ASCII only. Letters with accents are drawn without them."""

    _FACE = cv2.FONT_HERSHEY_SIMPLEX

    def missing(self, text: str) -> str:
        return "".join(c for c in dict.fromkeys(text) if not _plain_form(c))

    def mask(self, text: str, height_px: int, weight: int = REGULAR) -> np.ndarray:
        plain = "".join(_plain_form(c) or "?" for c in text)
        thickness = max(1, round(height_px * weight / REGULAR / 16))
        (_, capital_px), _ = cv2.getTextSize("H", self._FACE, 1.0, 1)
        scale = max(0.1, height_px * _CAPITAL_HEIGHT / capital_px)
        (width, _), _ = cv2.getTextSize(plain, self._FACE, scale, thickness)
        canvas = np.zeros((height_px, width + 2), np.uint8)
        baseline = round(height_px * BASELINE)
        cv2.putText(canvas, plain, (1, baseline), self._FACE, scale, 255, thickness, cv2.LINE_AA)
        return canvas


def _plain_form(character: str) -> str:
    """The letter without its accents, or nothing if it is not ASCII without them."""
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(c for c in parts if " " <= c <= "~")
    return plain if all(" " <= c <= "~" or unicodedata.combining(c) for c in parts) else ""
