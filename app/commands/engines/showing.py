"""`engines show`: shows the details of one model."""

from __future__ import annotations

import argparse
from typing import Iterator, Tuple

from app.commands.engines.listing import is_chosen, size_text, state_text
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError
from app.models.catalog import Catalog, read_catalog
from app.models.engines import engines_built_from
from app.models.entry import FileState, ModelEntry
from app.settings import Settings
from app.text import labelled, program

DESCRIPTION = EXAMPLES = ""

OPTION = {
    "detection": "--detector",
    "embedding": "--embedder",
    "gender_age": "--gender-age",
    "mask": "--mask",
    "antispoof": "--antispoof",
    "landmarks106": "--landmarks106",
}
"""By task or family: the option that selects a model."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a model of the catalogue")
    add_settings_options(parser, sections=("models.backend", "models.precision"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    catalog = read_catalog(settings.models.catalog)
    entry = catalog.find(arguments.name)
    print(entry.name)
    for what, text in _facts(entry, catalog, settings):
        print(f"  {what:<11}{text}")
    return 0


def _facts(entry: ModelEntry, catalog: Catalog, settings: Settings) -> Iterator[Tuple[str, str]]:
    """Pairs of a heading and a line; the heading is empty for further lines."""
    from app.models.families import FAMILIES, can_run

    option = OPTION.get(entry.task) or OPTION.get(entry.family)
    usable = f" ({program()} {option} {entry.name})" if option and can_run(entry) and entry.sha256 else ""
    yield "task", f"{entry.task}{usable}{'; in use' if is_chosen(entry, settings) else ''}"
    working = ", ".join(FAMILIES.get(entry.task, ())) or "none"
    yield "family", entry.family + ("" if can_run(entry) else f"; not supported yet (for {entry.task}: {working})")
    yield "input", _input_text(entry)
    if entry.task == "detection":
        yield "output", f"minimum score of a face: {entry.min_score:g}"
    if entry.task == "embedding":
        yield "output", f"{entry.dimensions} numbers; same person from a cosine similarity of {entry.threshold:g}"
    yield "licence", entry.licence_text
    yield "source", entry.source
    if entry.url:
        yield "address", entry.url
    if entry.card:
        yield "card", entry.card
    yield from labelled("figures", [f"{what}: {text}" for what, text in entry.figures.items()])
    if entry.notes:
        yield "notes", entry.notes
    if not entry.sha256:
        yield "file", f"not installed; if you have it: {program()} engines import FILE --like {entry.name}"
        return
    yield "file", f"{entry.file}, {size_text(entry)}: {state_text(entry)}"
    yield "SHA-256", f"{entry.sha256}{' (the file matches)' if entry.file_state() is FileState.VALID else ''}"
    yield from _network_facts(entry, settings)
    yield from labelled("engines", [str(path) for path in engines_built_from(entry, catalog)] or ["none"])


def _network_facts(entry: ModelEntry, settings: Settings) -> Iterator[Tuple[str, str]]:
    """Facts about the file itself, if it is valid."""
    from app.models.families import can_run
    from app.models.loading import ModelLoader, describe_network

    if entry.file_state() is not FileState.VALID:
        yield "", entry.how_to_get
        return
    try:
        inputs, outputs = describe_network(entry)
        runs_on = ModelLoader(settings).runs_on(entry) if can_run(entry) else ""
    except ModelError as error:
        yield "network", str(error)
        return
    yield from labelled("inputs", inputs)
    yield from labelled("outputs", outputs)
    if runs_on:
        yield "runs on", f"{runs_on}; measure again: {program()} engines measure {entry.name}"


def _input_text(entry: ModelEntry) -> str:
    pixels = entry.preprocessing
    size = f"{entry.crop[0]} x {entry.crop[1]} pixels, " if all(entry.crop) else ""
    mean = ", ".join(f"{value:g}" for value in pixels.mean)
    anchors = (
        f"; anchors {', '.join('/'.join(map(str, sides)) for sides in entry.min_sizes)}" if entry.min_sizes else ""
    )
    view = f"; face box enlarged {entry.enlarge:g} times" if entry.enlarge else ""
    return f"{size}{pixels.channels.upper()}, (pixel - ({mean})) / {pixels.divisor:g}{anchors}{view}"
