"""The speed of this machine: of the whole program, of the networks alone (`bench engines`),
with many cameras (`bench channels`), or of the HTTP server (`bench serve`); its memory (`bench memory`);
the speed of a fleet's database or broker (`bench events`), of searches in it (`bench fleet`), of large galleries
(`bench gallery`), and of a server that embeds (`bench remote`)."""

from __future__ import annotations

import argparse

from app.commands.bench import channels, engines, events, fleet, gallery, loop, memory, remote, service

DESCRIPTION = loop.DESCRIPTION
EXAMPLES = (
    loop.EXAMPLES
    + """
  python -m app bench engines                      # the networks alone; see bench engines --help
  python -m app bench channels                     # how many cameras it carries; see bench channels --help
  python -m app bench serve                        # requests over HTTP; see bench serve --help
  python -m app bench memory                       # pictures under memory limits; see bench memory --help
  python -m app bench events                       # a database or broker under many cameras; see bench events --help
  python -m app bench fleet                        # who is this, over the whole fleet; see bench fleet --help
  python -m app bench gallery                      # large galleries; see bench gallery --help
  python -m app bench remote                       # a server that embeds faces; see bench remote --help"""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    loop.add_arguments(parser)
    words = parser.add_subparsers(
        dest="part", metavar="engines|channels|serve|memory|events|fleet|gallery|remote", required=False
    )
    for name, part, purpose in (
        ("engines", engines, "measure the networks alone, by backend, precision and batch"),
        ("channels", channels, "measure how many live cameras this machine carries"),
        ("serve", service, "measure the HTTP server"),
        ("memory", memory, "recognise pictures under memory limits"),
        ("events", events, "send the events of simulated cameras to a database or broker"),
        ("fleet", fleet, "search the strangers of a fleet, with pgvector and without"),
        ("gallery", gallery, "search large galleries with each index"),
        ("remote", remote, "measure a server that embeds faces: bytes, added time, number of devices"),
    ):
        word = words.add_parser(name, help=purpose, description=part.DESCRIPTION, epilog=part.EXAMPLES)
        part.add_arguments(word)


def execute(arguments: argparse.Namespace) -> int:
    parts = {
        "engines": engines.execute,
        "channels": channels.execute,
        "serve": service.execute,
        "memory": memory.execute,
        "events": events.execute,
        "fleet": fleet.execute,
        "gallery": gallery.execute,
        "remote": remote.execute,
    }
    return parts.get(arguments.part, loop.execute)(arguments)
