"""Finding and embedding the faces of an archive."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Iterator

from app.commands.arguments import whole_number
from app.commands.batch import add_every_option
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings, given_settings
from app.errors import ExitCode, check_all
from app.text import counted, duration, program, program_name

DESCRIPTION = """Finds and embeds every face of pictures and videos. Folders are searched with their subfolders, except
for hidden ones. A .txt or .lst file is a list of files, one on each line. The work is divided into parts, and each part
is written once; what is there is kept. So the same command goes on after a kill, a crash or Ctrl-C, and several may run
at once on the same --out."""

EXAMPLES = """examples:
  python -m app batch photos/ --out archive/
  python -m app batch --out archive/                     # go on, without listing the files again
  python -m app batch photos/ videos/ --every 2 --out archive/ --workers 4

A picture that ends the process that reads it (a crash, too little memory, or more than two minutes) is tried twice more
in a process of its own, and is then a row with an error, like a picture that cannot be read."""

SECTIONS = ("models", "detection")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="DIR|LIST|VIDEO", nargs="*", type=Path, help="what to read")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the archive")
    add_every_option(parser)
    parser.add_argument(
        "--workers", metavar="N", type=whole_number(1, 1024), help="processes (default: one per core, or one for a GPU)"
    )
    parser.add_argument(
        "--shard-size",
        metavar="N",
        type=whole_number(1, 100_000),
        help="pictures in a part, which is what a crash costs (default: a 64th of all, but 8 to 500)",
    )
    parser.add_argument(
        "--embeddings",
        choices=("float16", "float32"),
        default="float16",
        help="float16 changes similarities by less than 0.001 and takes half the space (default: float16)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on the Ray cluster there, such as 10.0.0.1:6379; all of its machines must see the files and --out",
    )
    add_settings_options(parser, sections=SECTIONS)


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.inputs import find_inputs
    from app.archive.job import (
        Job,
        Shard,
        deciding_facts,
        default_shard_size,
        one_thread,
        prepare,
        shown_items,
        stored_facts,
        stored_job,
    )
    from app.archive.on_ray import require_ray, work_on_ray
    from app.archive.parts import require_pyarrow
    from app.archive.pool import Made, work_locally
    from app.archive.running import State, run_job
    from app.commands.run import stop_on_signals
    from app.models.loading import ModelLoader, available_cores
    from app.recognizer import Recognizer

    require_pyarrow()
    if arguments.ray is not None:
        require_ray()
    settings = one_thread(settings)
    loader = ModelLoader(settings)
    check_all(*loader.checks()[:2])
    stop = stop_on_signals()
    inputs = find_inputs(arguments.inputs, arguments.out) if arguments.inputs else None
    stored = stored_facts(arguments.out)["facts"] if inputs is None else {}
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        files = 0 if inputs is None else len(inputs.pictures) + len(inputs.videos)
        size = int(stored.get("shard_size", 0) or arguments.shard_size or default_shard_size(files))
        every_s = stored.get("every_s", arguments.every)
        embeddings = stored.get("embeddings", arguments.embeddings)
        facts = deciding_facts(loader, recognizer, every_s, embeddings, size)
    if inputs is None:
        job = stored_job(arguments.out, settings, facts)
    else:
        job = prepare(arguments.out, inputs, facts, settings)
    on_gpu = "TensorRT" in facts["networks"]["detector"] or "CUDA" in facts["networks"]["detector"]
    workers = arguments.workers or (1 if on_gpu else available_cores())

    def show(state: State) -> None:
        progress.status(state.line(time.monotonic()))

    def work(job: Job, shards: Iterator[Shard]) -> Iterator[Made]:
        if arguments.ray is not None:
            return work_on_ray(job, shards, arguments.ray, on_gpu, stop)
        return work_locally(job, shards, workers, stop)

    state = run_job(job, work, show)
    progress.clear()
    if state.parts < job.shards:
        words = [program_name(), "batch", "--out", shlex.quote(str(arguments.out))]
        words += map(shlex.quote, given_settings(arguments))
        words += [] if arguments.ray is None else ["--ray", shlex.quote(arguments.ray)]
        raise KeyboardInterrupt(f"{state.parts} of {job.shards} parts are done; go on with: {' '.join(words)}")
    made, spent_s = state.counts.rows - state.before, time.monotonic() - state.began_at
    where = counted(workers, "process", "processes") if arguments.ray is None else f"Ray at {arguments.ray}"
    rate = f" ({made / spent_s:.1f}/s, {where})" if made else ""
    items = shown_items(state.counts.rows - state.moments, state.moments)
    print(f"{counted(state.counts.faces, 'face')} in {items}; {made} of them now, in {duration(spent_s)}{rate}")
    if state.counts.errors:
        print(
            f"not readable: {state.counts.errors}; list them with: {program()} batch status "
            f"{shlex.quote(str(arguments.out))} --errors"
        )
    return ExitCode.INCOMPLETE if state.counts.errors else ExitCode.DONE
