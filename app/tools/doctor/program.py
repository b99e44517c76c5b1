"""The program's own data: settings, networks and what runs them, engines, gallery, display."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Optional

from app.errors import GalleryError, ModelError, SettingsError
from app.gallery.files import photos_by_person
from app.gallery.folder import scan
from app.identity.index import why_kind
from app.inference.backends import open_network, remembered_choice
from app.inference.build import find_engine
from app.inference.engine import NetworkSpec
from app.inference.engine_files import read_engine_file
from app.inference.tensorrt_api import current_target
from app.models.engines import engines_built_from
from app.models.entry import FileState, ModelEntry
from app.models.families import can_run
from app.models.loading import ModelLoader
from app.output.display import display_available
from app.settings import RecognitionSettings, Settings
from app.text import counted, program
from app.tools.doctor.checks import Finding, note, ok, problem, warning


def check_settings(error: Optional[str], origin: str) -> List[Finding]:
    """`error`: the message of the SettingsError, if the settings are invalid."""
    if error:
        return [problem(error, "fix it; the checks below use the default settings")]
    return [ok(f"settings are valid ({origin})")]


def check_networks(settings: Settings) -> List[Finding]:
    """Whether the files of the chosen networks are present and intact, and what runs them. No engine is built."""
    findings: List[Finding] = []
    loader = ModelLoader(settings)
    lookups: List[Callable[[], ModelEntry]] = [
        lambda: loader.detector_entry,
        lambda: loader.embedder_entry,
        *(partial(loader.attribute_entry, family) for family in settings.attributes.models),
    ]
    for look_up in lookups:
        try:
            entry = look_up()
        except ModelError as error:
            findings.append(problem(str(error), f"{program()} engines list"))
        else:
            findings += _check_network(entry, loader)
    findings += _check_remote(loader)
    reported = {finding.text for finding in findings}
    return findings + [warning(error) for error in loader.catalog.errors if error not in reported]


def _check_remote(loader: ModelLoader) -> Iterator[Finding]:
    """Whether the server that embeds faces, if there is one, has the right model and is fast enough."""
    if loader.settings.remote.url is None:
        return
    try:
        with contextlib.closing(loader.open_embedder()) as embedder:
            status = embedder.remote
    except (ModelError, SettingsError) as error:
        yield problem(str(error))
        return
    assert status is not None
    text = f"{loader.embedder_entry.name} on {status.address}"
    if status.is_up:
        yield ok(f"{text}: the server has the same model as this machine")
    else:
        yield warning(f"{text}: {status.trouble}; this machine goes on without it (remote.fallback)")


def _check_network(entry: ModelEntry, loader: ModelLoader) -> Iterator[Finding]:
    state = entry.file_state()
    if state is not FileState.VALID:
        state_text = "missing" if state is FileState.MISSING else "altered"
        yield problem(f"{entry.name}: {entry.file} is {state_text}", entry.how_to_get)
        return
    if not can_run(entry):
        text = f"{entry.name}: the family {entry.family!r} is not supported"
        yield problem(text, f"{program()} engines list")
        return
    yield ok(f"{entry.name}: {entry.file}, SHA-256 matches")
    network, backend = loader.network(entry), loader.settings.models.backend
    remembered = remembered_choice(network, backend)  # before `open_network` measures and remembers
    try:
        choice = open_network(network, backend, build_missing=False)
    except ModelError as error:
        yield problem(str(error))
        return
    with contextlib.closing(choice.engine):
        yield ok(f"{entry.name} runs on {choice}")
    if remembered is not None:
        again = f"{program()} engines measure {entry.name}"
        yield note("the backend was chosen by an earlier measurement; to measure again:", again)


def check_engines(settings: Settings) -> List[Finding]:
    """The TensorRT engines that were built for the chosen networks, and whether they can still be used."""
    loader = ModelLoader(settings)
    chosen = (settings.models.detector, settings.models.embedder, *settings.attributes.models.values())
    findings = [
        _check_engine(path, loader.network(entry))
        for entry in loader.catalog.entries.values()
        if entry.name in chosen
        for path in engines_built_from(entry, loader.catalog)
    ]
    return findings or [note("no TensorRT engines yet (only needed with an NVIDIA GPU)")]


def _check_engine(path: Path, network: NetworkSpec) -> Finding:
    engine = read_engine_file(path)
    facts = f"{engine.precision}, built {engine.built_at}, {engine.target}" if engine else "no valid metadata"
    text = f"{path.name}: {facts}"
    try:
        found, unusable = find_engine(network, current_target())
    except ModelError as error:
        return note(f"{text}; cannot be checked on this machine: {error}")
    if path.name not in unusable:
        return ok(f"{text}, valid")
    text = f"{text}; not used: {unusable[path.name]}"
    return note(text) if found else warning(text, network.build_command)


def check_gallery(folder: Path, recognition: RecognitionSettings) -> List[Finding]:
    """Counts only; `people check` examines each photo, `calibrate` the threshold."""
    try:
        people, problems = photos_by_person(folder), scan(folder).problems
    except GalleryError as error:
        return [warning(str(error), f"{program()} people add NAME PHOTO")]
    photos = sum(map(len, people.values()))
    if not photos:
        return [note("the gallery is empty: all faces will be unknown", f"{program()} people add NAME PHOTO")]
    text = f"{counted(len(people), 'person', 'people')} in {counted(photos, 'photo')}"
    if problems:
        return [warning(f"{text}; {counted(len(problems), 'file')} not read", f"{program()} people check")]
    return [
        ok(f"{text}; to check their quality: {program()} people check"),
        _threshold(recognition),
        _index(recognition, photos),
    ]


def _index(recognition: RecognitionSettings, photos: int) -> Finding:
    return ok(f"faces are compared with the photos by the index {why_kind(recognition.index, photos)}")


def _threshold(recognition: RecognitionSettings) -> Finding:
    rate = recognition.rate_to_follow
    if rate is not None:
        return ok(f"the threshold follows the gallery: {rate:g} of strangers' visits may get a name")
    chosen = "the embedder's default" if recognition.threshold is None else f"fixed at {recognition.threshold:g}"
    return ok(f"the threshold is {chosen}; how often strangers would get a name: {program()} calibrate")


def check_display() -> List[Finding]:
    available, reason = display_available()
    return [ok("a window can be shown") if available else note(f"no window: {reason}")]
