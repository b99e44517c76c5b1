"""How values are written for people, and read back: counts, sizes, tables, suggestions, commands to copy."""

from __future__ import annotations

import difflib
import re
import shlex
import shutil
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

SUGGESTION_CUTOFF = 0.65
"""How similar a name must be to be suggested (`difflib` ratio). Options resemble each other by their leading dashes."""

DISTRIBUTION = "face-recognition-l4t"
"""The name for pip."""
COMMAND = "face-recognition"
"""The command that pip and pipx install, another way to say `python -m app`."""
_repeated: List[str] = []


def counted(number: int, noun: str, plural: Optional[str] = None) -> str:
    """`1 face`, `2 faces`, `1 person`, `2 people`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def percent(probability: float) -> str:
    """For people: `96 %`, `>99 %`. Neither 0 nor 100, because nothing is certain."""
    rounded = round(100 * probability)
    return "<1 %" if rounded < 1 else ">99 %" if rounded > 99 else f"{rounded} %"


def percentage(share: float, digits: int = 2) -> str:
    """For figures: `99.70 %`."""
    return f"{100 * share:.{digits}f} %"


def kind_of(thing: object) -> str:
    """The class of a thing in words: `event_log` for an `EventLog`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(thing).__name__).lower()


def megabytes(size: int) -> str:
    """`2.3 MB`, or `12.5 kB` below one megabyte."""
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.1f} kB"


def duration(seconds: float) -> str:
    """`7 s`, `2 min 05 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ago(seconds: float) -> str:
    """`7 s ago`, `5 min ago`, `3 d ago`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def source_time(seconds: float, live: bool, file: Optional[str] = None) -> str:
    """When a frame was taken: `2026-11-29 18:04:09` for a live source, whose `seconds` count since the epoch,
    `12:34.3` or `1:02:03.4` into a recording, or the name of a picture's file.
    """
    if file is not None:
        return Path(file).name
    if live:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    tenths = round(seconds * 10)
    hours, minutes = tenths // 36000, tenths // 600
    rest = f"{tenths % 600 / 10:04.1f}"
    return f"{hours}:{minutes % 60:02d}:{rest}" if hours else f"{minutes}:{rest}"


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as 2026-11-21T08:00:40.123Z."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """The opposite of `iso_time`; raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def bounds(minimum: Optional[float], maximum: Optional[float]) -> str:
    """` from 1 to 8`, `, at least 1`, `, at most 8`, or nothing."""
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f", at least {minimum:g}"
    return "" if maximum is None else f", at most {maximum:g}"


def parse_size(text: str) -> Tuple[int, int]:
    """Width and height from `640x480`; raises ValueError for anything else."""
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    if sides is None:
        raise ValueError(f"{text!r}: expected width and height such as 640x480")
    return int(sides[1]), int(sides[2])


def suggestion(
    wrong: str, known: Iterable[str], otherwise: Optional[str] = None, cutoff: float = SUGGESTION_CUTOFF
) -> str:
    """`; did you mean 'list'?`, or `otherwise` when nothing is similar (default: all known names)."""
    names = list(known)
    # Comparing takes the product of the lengths.
    near = difflib.get_close_matches(wrong[:300], names, n=1, cutoff=cutoff)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if otherwise is None else otherwise


def shortened(text: str, maximum: int = 200) -> str:
    """The text for a message: what is longer is cut."""
    return text if len(text) <= maximum else f"{text[:maximum]}… ({len(text)} characters)"


def labelled(label: str, lines: Iterable[str]) -> Iterator[Tuple[str, str]]:
    """Rows of a two-column listing: the label stands in the first row only."""
    for line in lines:
        yield label, line
        label = ""


def program() -> str:
    """How this program was started and with which files, for commands that people copy."""
    return " ".join([program_name(), *map(shlex.quote, _repeated)])


def program_name() -> str:
    """How this program was started, without options."""
    script = Path(sys.argv[0])
    if script.name != COMMAND:
        return f"{python()} -m app"
    found = shutil.which(COMMAND)
    return COMMAND if found is not None and Path(found).samefile(script) else shlex.quote(str(from_here(script)))


def repeat_in_hints(*options: str) -> None:
    """The options that each hint of this process repeats, so that it is about the same settings and gallery."""
    _repeated[:] = options


def install_hint(*packages: str) -> str:
    """What installs packages where this program finds them, for people to copy."""
    names = " ".join(map(shlex.quote, packages))
    if Path(sys.prefix, "pipx_metadata.json").is_file():
        return f"pipx inject {DISTRIBUTION} {names}"
    return f"{python()} -m pip install {names}"


def python() -> str:
    """The Python that runs this program, as a shell takes it: another one may lack its packages."""
    path = Path(sys.executable)
    return path.name if shutil.which(path.name) == str(path) else shlex.quote(str(from_here(path)))


def from_here(path: Path) -> Path:
    """Relative to the current folder if it is below it, for short messages; otherwise, or without one, as it is."""
    try:
        here = Path.cwd()
        return path if here == Path(here.anchor) else path.relative_to(here)
    except (ValueError, FileNotFoundError):
        return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, numbers (and `-` for a missing one) to the right, words to the left.

    Cells may contain text from elsewhere.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    columns = [[line[at] for line in rows] for at in range(len(header))]
    widths = [max(map(len, [title, *cells])) for title, cells in zip(header, columns)]
    numeric = [
        any(cell[:1].isdigit() for cell in cells) and all(cell[:1].isdigit() or cell == "-" for cell in cells)
        for cells in columns
    ]

    def laid_out(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric))
        return "  ".join(cells).rstrip()

    return "\n".join([laid_out(header), laid_out(["-" * width for width in widths]), *map(laid_out, rows)])


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]")
"""What a terminal takes as a command or as the end of a line, what turns the text after it around, and half characters.
Marks that some scripts and emoji need, such as the zero-width non-joiner of Persian, are left."""


def printable(text: str) -> str:
    """A text from elsewhere, such as the name of a file or the answer of a server: in one line, safe for terminals."""
    return _CONTROLS.sub("\ufffd", text)


def without_controls(text: str) -> str:
    """The same, with nothing in the place of what is unsafe."""
    return _CONTROLS.sub("", text)


def printable_lines(text: str) -> str:
    """A message of several lines: what it quotes cannot begin a line that looks like another message."""
    first, *others = text.split("\n")
    return "\n".join(
        [printable(first), *(printable(line if line[:1] in ("", " ") else f"  {line}") for line in others)]
    )


def gstreamer_quoted(value: str) -> str:
    """A value that the pipeline's grammar takes literally, even with `!`, spaces, quotes or elements in it.

    GStreamer unquotes a second time if the result still begins with a quote, so such a value is quoted twice.
    """
    if value.startswith('"'):
        value = '"' + "".join(f"\\{byte:03o}" for byte in value.encode("utf-8", "surrogateescape")) + '"'
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def opencv_has_gstreamer(build_information: str) -> bool:
    """By `cv2.getBuildInformation()`, because OpenCV's registry lists GStreamer even if it is missing."""
    return re.search(r"^\s*GStreamer:\s*YES", build_information, re.MULTILINE) is not None
