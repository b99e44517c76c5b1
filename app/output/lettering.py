"""Names on pictures, in any script: the text alone is rasterised, once, and kept."""

from __future__ import annotations

import logging
import threading
import unicodedata
from collections import OrderedDict
from typing import List, Optional, Sequence, Set, Tuple

import numpy as np

from app.output.typesetters import BOLD, REGULAR, HersheyTypesetter, OpenCvTypesetter, PillowTypesetter, Typesetter
from app.text import install_hint

__all__ = ["BOLD", "REGULAR", "Lettering", "available_typesetters"]

logger = logging.getLogger(__name__)

_CACHED_TEXTS = 2048
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC")
_SYMBOLS = "emoji and symbols"


class Lettering:
    """Turns texts into masks. One may be shared by all threads."""

    def __init__(self, typesetters: Optional[Sequence[Typesetter]] = None) -> None:
        """`typesetters` in order of preference; by default all that this machine has."""
        self._typesetters = available_typesetters() if typesetters is None else list(typesetters)
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

    def _choose(self, text: str) -> Typesetter:
        """The first typesetter that has all the letters; failing that, the one that lacks fewest, and a warning."""
        fewest: Optional[str] = None
        best = self._typesetters[-1]
        for typesetter in self._typesetters:
            missing = typesetter.missing(text)
            if not missing:
                return typesetter
            if fewest is None or len(missing) < len(fewest):
                best, fewest = typesetter, missing
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


def available_typesetters() -> List[Typesetter]:
    found: List[Typesetter] = []
    if OpenCvTypesetter.available():
        found.append(OpenCvTypesetter())
    if PillowTypesetter.available():
        found.append(PillowTypesetter())
    found.append(HersheyTypesetter())
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
    pillow = "" if PillowTypesetter.available() else f" and `{install_hint('pillow')}`"
    return f"To mend it: `apt-get install {fonts}` (or any font that has them){pillow}"


def _drawable(text: str) -> str:
    """Composed letters (files from a Mac have them in pieces), no line breaks, nothing invisible."""
    composed = unicodedata.normalize("NFC", text)
    spaced = "".join(" " if c.isspace() else c for c in composed)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs") and not _is_selector(c))


def _is_selector(character: str) -> bool:
    return 0xFE00 <= ord(character) <= 0xFE0F
