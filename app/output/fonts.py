"""Finds a font file on this machine with the glyphs of a text."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Tuple

logger = logging.getLogger(__name__)

_SUFFIXES = (".ttf", ".otf", ".ttc")
_NEVER_A_GLYPH = "\U0010ffff"
_PROBE_SIZE_PX = 24
_FONTCONFIG_TIMEOUT_S = 5.0


class FontFile(NamedTuple):
    """A face in a font file (a collection holds several)."""

    path: str
    face: int = 0


def font_folders() -> Tuple[Path, ...]:
    """The usual folders of fonts, for systems without fontconfig."""
    home = Path.home()
    if sys.platform == "darwin":
        return (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    if sys.platform == "win32":
        return (Path("C:/Windows/Fonts"),)
    return (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
    )


def find_font(characters: str, folders: Optional[Sequence[Path]] = None) -> Optional[FontFile]:
    """A font with all these characters, or else the one that lacks the fewest; None without any font.

    Asks fontconfig first, unless `folders` are given. Needs Pillow.
    """
    wanted = sorted(set(characters))
    best: Optional[FontFile] = None
    fewest_missing = len(wanted) + 1
    for font in _candidates(wanted, folders):
        loaded = load(font, _PROBE_SIZE_PX)
        if loaded is None:
            continue
        missing = len(missing_glyphs(loaded, "".join(wanted)))
        if missing < fewest_missing:
            best, fewest_missing = font, missing
        if missing == 0:
            break
    return best


def load(font: FontFile, size_px: int) -> Optional[Any]:
    """The font as Pillow's object, or None when Pillow cannot read it (bitmap emoji, damaged files)."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(font.path, size_px, index=font.face)
    except (OSError, ValueError) as error:
        logger.debug("font %s is not usable: %s", font.path, error)
        return None


def missing_glyphs(font: Any, characters: str) -> str:
    """The characters that the font draws as its box for unknown ones.

    Pillow gives no access to the character table of a font, so the drawings are compared.
    """
    unknown = _drawing(font, _NEVER_A_GLYPH)
    return "".join(c for c in characters if not c.isspace() and _drawing(font, c) == unknown)


def _drawing(font: Any, character: str) -> Tuple[Tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)


def _candidates(characters: Sequence[str], folders: Optional[Sequence[Path]]) -> Iterator[FontFile]:
    if folders is None:
        matched = _ask_fontconfig(characters)
        if matched is not None:
            yield matched
    files = [
        path
        for folder in (font_folders() if folders is None else folders)
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
    ]
    for path in sorted(files, key=_plainness):
        yield FontFile(str(path))


def _plainness(path: Path) -> Tuple[bool, bool, str]:
    """Sorts upright sans-serif fonts of regular weight first: they are the easiest to read on a picture."""
    name = path.stem.lower()
    styled = any(word in name for word in ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "math"))
    plain = "sans" in name and "mono" not in name
    return styled, not plain, name


def _ask_fontconfig(characters: Sequence[str]) -> Optional[FontFile]:
    command = shutil.which("fc-match")
    if command is None:
        return None
    codes = " ".join(format(ord(c), "x") for c in characters)
    try:
        answer = subprocess.run(
            [command, "-f", "%{file}\t%{index}", f"sans:charset={codes}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_FONTCONFIG_TIMEOUT_S,
            check=True,
        ).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("fc-match failed: %s", error)
        return None
    path, _, index = answer.partition("\t")
    # The upper half is the instance of a variable font.
    return FontFile(path, int(index or 0) & 0xFFFF) if path else None
