"""The speed of this machine: of the whole program, of the networks alone (`bench engines`),
with many cameras (`bench channels`), or of the HTTP server (`bench serve`); and its memory (`bench memory`)."""

from __future__ import annotations

import argparse

from app.commands.bench import channels, engines, loop, memory, service

DESCRIPTION = loop.DESCRIPTION
EXAMPLES = (
    loop.EXAMPLES
    + """
  python -m app bench engines                      # the networks alone; see bench engines --help
  python -m app bench channels                     # how many cameras it carries; see bench channels --help
  python -m app bench serve                        # requests over HTTP; see bench serve --help
  python -m app bench memory                       # pictures under memory limits; see bench memory --help"""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    loop.add_arguments(parser)
    words = parser.add_subparsers(dest="part", metavar="engines|channels|serve|memory", required=False)
    for name, part, purpose in (
        ("engines", engines, "measure the networks alone, by backend, precision and batch"),
        ("channels", channels, "measure how many live cameras this machine carries"),
        ("serve", service, "measure the HTTP server"),
        ("memory", memory, "recognise pictures under memory limits"),
    ):
        word = words.add_parser(name, help=purpose, description=part.DESCRIPTION, epilog=part.EXAMPLES)
        part.add_arguments(word)


def execute(arguments: argparse.Namespace) -> int:
    parts = {
        "engines": engines.execute,
        "channels": channels.execute,
        "serve": service.execute,
        "memory": memory.execute,
    }
    return parts.get(arguments.part, loop.execute)(arguments)
