"""`batch`: finds every face of an archive, and answers questions about them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Sequence

from app.commands.arguments import add_actions, execute_action, positive
from app.text import suggestion

DESCRIPTION = """Finds and embeds every face of many pictures and videos, and keeps them in Parquet files, one row per
picture. It goes on where it was after a kill, a crash or a full disk. Then it says who is in there, finds a person by a
photo, and names everybody who is enrolled."""

EXAMPLES = """examples:
  python -m app batch photos/ --out archive/               # or run it again, to go on
  python -m app batch list.txt holiday.mp4 --every 2 --out archive/
  python -m app batch estimate photos/                     # how long would it take?
  python -m app batch status archive/
  python -m app batch cluster archive/ --sheet people.html
  python -m app batch search archive/ ann.jpg
  python -m app batch label archive/ --gallery gallery/
  python -m app batch export archive/ --lance archive.lance

exit codes: 0 done; 1 done, but some pictures cannot be read; 2 a wrong option, setting or file, or a full disk;
130 stopped by Ctrl-C"""

ACTIONS = {
    "run": ("running", "find and embed the faces of an archive (the default)"),
    "status": ("status", "say how far an archive is, and which pictures cannot be read"),
    "estimate": ("estimating", "say how long an archive would take, measured on some of its pictures"),
    "cluster": ("clustering", "say who is in there: groups of faces, with a page that shows them"),
    "search": ("searching", "find a person by a photo"),
    "label": ("labelling", "name the people of the gallery"),
    "export": ("exporting", "write the faces as a Lance dataset, for searches by vector"),
}
"""By name: the module in this package, and the help."""


def with_default_action(words: Sequence[str]) -> List[str]:
    """Pictures may follow the command without an action. What is only similar to one is left to the error message."""
    named = not words or words[0] in ("-h", "--help", *ACTIONS)
    misspelt = not named and bool(suggestion(words[0], ACTIONS, "")) and not Path(words[0]).exists()
    return [*words] if named or misspelt else ["run", *words]


def add_every_option(parser: argparse.ArgumentParser) -> None:
    """For the actions that read videos."""
    parser.add_argument(
        "--every",
        metavar="S",
        type=positive(86400, "seconds"),
        default=1.0,
        help="look at a frame of each S seconds of a video (default: 1)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_actions(parser, __name__, ACTIONS)


def execute(arguments: argparse.Namespace) -> int:
    return execute_action(arguments, __name__, ACTIONS)
