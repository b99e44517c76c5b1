"""`bench gallery`: how much memory and time a large gallery takes with each index, and whether the answers agree."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.errors import AppError, ExitCode
from app.files import check_writable, write_text
from app.text import table

if TYPE_CHECKING:
    from app.tools.benchmark.gallery import IndexFigures

DESCRIPTION = """Builds each index of recognition.index for galleries of made-up embeddings and measures the time to
build it, its memory, and the time to compare one face and eight faces: those of enrolled people and those of strangers.
Each answer is compared with that of the flat index. Searches use one thread, as in a run.
Times are those of a core, without what else it did meanwhile."""

EXAMPLES = """examples:
  python -m app bench gallery
  nice -n 10 python -m app bench gallery --photos 10000 100000 1000000 --dimension 512 --json gallery.json

HNSW takes minutes for a million photos; --json is written after each index.

exit codes: 0 no name differs from the flat index's; 1 some do; 2 a wrong option"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photos",
        metavar="N",
        nargs="+",
        type=whole_number(1, 10_000_000),
        default=[10_000, 100_000],
        help="sizes of the galleries (default: 10000 100000)",
    )
    parser.add_argument(
        "--dimension",
        metavar="D",
        type=whole_number(2, 4096),
        default=128,
        help="length of the embeddings (default: 128)",
    )
    parser.add_argument("--index", nargs="+", choices=("flat", "fp16", "hnsw"), default=["flat", "fp16", "hnsw"])
    parser.add_argument("--seed", metavar="N", type=whole_number(0, 2**31), default=1, help="default: 1")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")


def execute(arguments: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise AppError("bench gallery reads its memory from /proc, which only Linux has")
    check_writable(arguments.json)
    progress = configure_logging("error")
    from app.identity.index import IndexKind
    from app.tools.benchmark.gallery import measure, table_rows

    figures: List[IndexFigures] = []
    kinds = [IndexKind(name) for name in arguments.index]
    for one in measure(arguments.photos, arguments.dimension, kinds, arguments.seed, progress.status):
        figures.append(one)
        if arguments.json is not None:
            write_text(arguments.json, json.dumps([done.as_json() for done in figures], indent=1) + "\n")
    progress.clear()
    header = ("photos", "index", "build s", "MB", "known 1 / 8, ms", "stranger 1 / 8, ms", "differ")
    print(f"embeddings of length {arguments.dimension}; ms for one face / eight faces; MB: embeddings + index")
    print(table(header, table_rows(figures)))
    print("differ: names / names or reasons / any of the nearest three people or similarities, compared with flat")
    return ExitCode.INCOMPLETE if any(one.other_names for one in figures) else ExitCode.DONE
