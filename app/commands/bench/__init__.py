"""The speed of this machine: of the whole program, or of the networks alone (`bench engines`)."""

from __future__ import annotations

import argparse

from app.commands.bench import engines, loop

DESCRIPTION = loop.DESCRIPTION
EXAMPLES = (
    loop.EXAMPLES
    + """
  python -m app bench engines                      # the networks alone; see bench engines --help"""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    loop.add_arguments(parser)
    words = parser.add_subparsers(dest="part", metavar="engines", required=False)
    word = words.add_parser(
        "engines",
        help="measure the networks alone, by backend, precision and batch",
        description=engines.DESCRIPTION,
        epilog=engines.EXAMPLES,
    )
    engines.add_arguments(word)


def execute(arguments: argparse.Namespace) -> int:
    return engines.execute(arguments) if arguments.part == "engines" else loop.execute(arguments)
