"""The program's own things: settings, networks and what runs them, engines, gallery, display."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Optional

from app.errors import GalleryError, ModelError
from app.gallery.files import photos_by_person
from app.gallery.folder import scan
from app.inference.build import find_engine
from app.inference.choice import open_network, remembered_choice
from app.inference.engine_card import card_of
from app.inference.network import Network
from app.inference.place import place_here
from app.models.built_engines import engines_built_from
from app.models.catalog import read_catalog
from app.models.entry import FileState, ModelEntry
from app.models.families import can_run
from app.models.int8_pictures import inputs_for_int8
from app.models.loading import attribute_entry, network_of
from app.output.display import display_available
from app.settings import Settings
from app.text import counted, program
from app.tools.doctor.findings import Finding, note, ok, problem, warning


def check_settings(error: Optional[str], origin: str) -> List[Finding]:
    """`error` is what is wrong with them, if anything is."""
    if error:
        return [problem(error, "mend it; what follows holds for the built-in settings")]
    return [ok(f"settings are valid ({origin})")]


def check_networks(settings: Settings) -> List[Finding]:
    """Whether the chosen networks are here, whole, and what runs them. Nothing is built for this."""
    findings: List[Finding] = []
    catalog = read_catalog(settings.models.catalog)
    lookups: List[Callable[[], ModelEntry]] = [
        partial(catalog.entry, settings.models.detector, "detection"),
        partial(catalog.entry, settings.models.embedder, "embedding"),
        *(partial(attribute_entry, catalog, name, family) for family, name in settings.attributes.models.items()),
    ]
    for look_up in lookups:
        try:
            entry = look_up()
        except ModelError as error:
            findings.append(problem(str(error), f"{program()} engines list"))
        else:
            findings += _network(entry, settings)
    told = {finding.text for finding in findings}
    return findings + [warning(error) for error in catalog.complaints if error not in told]


def _asked(entry: ModelEntry, settings: Settings) -> Network:
    """The network as a run asks for it."""
    return network_of(entry, settings.models, settings.detection, inputs_for_int8(settings))


def _network(entry: ModelEntry, settings: Settings) -> Iterator[Finding]:
    state = entry.file_state()
    if state is not FileState.RIGHT:
        yield problem(
            f"{entry.name}: {entry.file} is {'missing' if state is FileState.MISSING else 'altered'}", entry.how_to_get
        )
        return
    if not can_run(entry):
        yield problem(
            f"{entry.name}: no class reads networks of the family {entry.family!r}", f"{program()} engines list"
        )
        return
    yield ok(f"{entry.name}: {entry.file}, SHA-256 is right")
    try:
        choice = open_network(_asked(entry, settings), settings.models.backend, build_missing=False)
    except ModelError as error:
        yield problem(str(error))
        return
    with contextlib.closing(choice.engine):
        yield ok(f"{entry.name} runs on {choice}")
    if remembered_choice(_asked(entry, settings), settings.models.backend):
        yield note(
            "this backend was measured to be the fastest; to measure again:",
            f"{program()} engines measure {entry.name}",
        )


def check_engines(settings: Settings) -> List[Finding]:
    """The engines that were built on this device for the chosen networks, and whether they still fit."""
    catalog = read_catalog(settings.models.catalog)
    chosen = (settings.models.detector, settings.models.embedder, *settings.attributes.models.values())
    findings = [
        _engine(path, _asked(entry, settings))
        for entry in catalog.entries.values()
        if entry.name in chosen
        for path in engines_built_from(entry, catalog)
    ]
    return findings or [note("none was built for the chosen networks; TensorRT needs them, nothing else does")]


def _engine(path: Path, network: Network) -> Finding:
    card = card_of(path)
    text = f"{path.name}: " + (
        f"{card.precision}, built {card.built_at}, TensorRT {card.tensorrt}" if card else "no card"
    )
    try:
        here, _ = place_here()
        found, unfit = find_engine(network, here)
    except ModelError as error:
        return note(f"{text}; whether it fits cannot be told here: {error}")
    if path.name not in unfit:
        return ok(f"{text}, fits")
    if found:
        return note(f"{text}; it is not used: {unfit[path.name]}")
    return warning(f"{text}; it is not used: {unfit[path.name]}", network.build_command)


def check_gallery(folder: Path) -> List[Finding]:
    """Counted only; whether each photo is good enough is told by `people check`."""
    try:
        people, problems = photos_by_person(folder), scan(folder).problems
    except GalleryError as error:
        return [warning(str(error), f"{program()} people add NAME PHOTO")]
    photos = sum(map(len, people.values()))
    if not photos:
        return [note("nobody is enrolled: everyone will be unknown", f"{program()} people add NAME PHOTO")]
    text = f"{counted(len(people), 'person', 'people')} in {counted(photos, 'photo')}"
    if problems:
        return [warning(f"{text}; {counted(len(problems), 'thing')} not read", f"{program()} people check")]
    return [ok(f"{text}; {program()} people check tells whether they are good enough")]


def check_display() -> List[Finding]:
    available, reason = display_available()
    return [ok("a window can be shown") if available else note(f"no window: {reason}")]
