"""`engines list`: lists all models."""

from __future__ import annotations

import argparse
import textwrap
from typing import Iterable

from app.commands.options import add_settings_options, effective_settings
from app.models.catalog import read_catalog
from app.models.entry import FileState, ModelEntry
from app.settings import Settings
from app.text import megabytes, program, table

DESCRIPTION = EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    from app.models.engines import remembered_backend
    from app.models.loading import ModelLoader

    settings = effective_settings(arguments).settings
    catalog = read_catalog(settings.models.catalog)
    print(models_table(catalog.entries.values(), settings))
    loader = ModelLoader(settings)
    choices = {entry.name: remembered_backend(loader, entry) for entry in catalog.entries.values()}
    measured = [
        f"  {name}: {choice.label}, {choice.precision}: {choice}"
        for name, choice in choices.items()
        if choice is not None
    ]
    if measured:
        print(f"\nFastest backends on this machine (to measure again: {program()} engines measure):")
        print("\n".join(measured))
    print("\nNC: non-commercial use only. (*): family not supported yet.")
    without_file = [name for name in catalog.without_file if name not in catalog.entries]
    if without_file:
        names = textwrap.fill(", ".join(without_file), 110, initial_indent="  ", subsequent_indent="  ")
        print(f"\nSupported if you have the file ({program()} engines import FILE):\n{names}")
    for error in catalog.errors:
        print(f"\nNOT USABLE: {error}")
    return 0


def models_table(entries: Iterable[ModelEntry], settings: Settings) -> str:
    from app.models.families import can_run

    rows = [
        (
            entry.name,
            entry.task,
            entry.family + ("" if can_run(entry) else " (*)"),
            entry.licence + ("" if entry.commercial_use else " (NC)"),
            size_text(entry),
            state_text(entry),
            "yes" if is_chosen(entry, settings) else "",
        )
        for entry in entries
    ]
    return table(("name", "task", "family", "licence", "size", "state", "in use"), rows)


def state_text(entry: ModelEntry) -> str:
    state = entry.file_state()
    if state is FileState.VALID:
        return "built in" if entry.built_in else "installed"
    if state is FileState.MISSING:
        return "not downloaded" if entry.url else "missing"
    return str(state.value)


def size_text(entry: ModelEntry) -> str:
    if entry.file.is_file():
        return megabytes(entry.file.stat().st_size)
    return megabytes(entry.size_bytes) if entry.size_bytes else entry.figures.get("download", "-")


def is_chosen(entry: ModelEntry, settings: Settings) -> bool:
    return entry.name in (settings.models.detector, settings.models.embedder, *settings.attributes.models.values())
