"""`bench fleet`: how long a search over the whole fleet takes, with pgvector and without."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode
from app.files import check_writable, write_text
from app.text import table

if TYPE_CHECKING:
    from app.tools.benchmark.fleet import SearchFigures

DESCRIPTION = """Fills an empty database (fleet.database) with made-up strangers and measures searches for one face, as
`fleet search` makes them: compared by the server, if it has pgvector, and by this device. It works in a schema of its
own, which it deletes at the end, and refuses a database that a fleet uses. The role has to be allowed to make schemas
and, if it is not there yet, the extension."""

EXAMPLES = """examples:
  python -m app bench fleet --config bench.yaml
  python -m app bench fleet --config bench.yaml --strangers 1000000 --searches 5

exit codes: 0 both ways gave the same answers; 1 they did not; 2 a wrong option, or the database cannot be used"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strangers",
        metavar="N",
        nargs="+",
        type=whole_number(1, 10_000_000),
        default=[10_000, 100_000],
        help="in the database (default: 10000 100000)",
    )
    parser.add_argument(
        "--dimension",
        metavar="D",
        type=whole_number(2, 4096),
        default=128,
        help="length of the embeddings (default: 128)",
    )
    parser.add_argument(
        "--searches", metavar="N", type=whole_number(1, 10_000), default=20, help="after the first one (default: 20)"
    )
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**31), default=1, help="default: 1")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise AppError("bench fleet reads its memory from /proc, which only Linux has")
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    from app.tools.benchmark.fleet import measure, table_rows

    figures: List[SearchFigures] = []
    for one in measure(
        settings.fleet,
        arguments.strangers,
        arguments.dimension,
        arguments.searches,
        arguments.seed,
        progress.status,
    ):
        figures.append(one)
        if arguments.json is not None:
            write_text(arguments.json, json.dumps([done.as_json() for done in figures], indent=1) + "\n")
    progress.clear()
    header = ("strangers", "compared by", "first s", "p50 ms", "max ms", "device MB", "tables MB", "differ")
    print(f"searches for one face among strangers, embeddings of length {arguments.dimension}")
    print(table(header, table_rows(figures)))
    print("device MB: additional memory of this program; tables MB: what the server stores for searches")
    return ExitCode.INCOMPLETE if any(one.others for one in figures) else ExitCode.DONE
