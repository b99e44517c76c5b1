"""The models: which there are, what is known of them, and getting more."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Tuple

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError, SettingsError
from app.settings import ModelSettings
from app.summary import table
from app.vision.catalog import Catalog, FileState, ModelEntry, read_catalog

DESCRIPTION = """Lists the models of the catalogue (engines/catalog.yaml), tells what is known of each, and downloads
those that do not come with the program. Two are built in and need no download."""

EXAMPLES = """examples:
  python -m app engines list
  python -m app engines show retinaface_mv2
  python -m app engines pull --list                        # what can be downloaded
  python -m app engines pull retinaface_mv2
  python -m app --detector retinaface_mv2 --camera 0       # use it
  python -m app engines pull --help                        # licences, mirrors, machines without a network"""

PULL_EXAMPLES = """Licence and source are told before the first byte. Models for non-commercial use only are not
downloaded unless you say --accept-licence. Every file is checked against the SHA-256 in the catalogue; a download
that breaks off goes on where it stopped when the same command is given again.

examples:
  python -m app engines pull retinaface_mv2 sface_2021dec
  python -m app engines pull w600k_mbf --accept-licence    # non-commercial use only
  python -m app engines pull retinaface_mv2 --from https://mirror.example.org/retinaface_mv2.onnx
  python -m app engines pull retinaface_mv2 --from ~/Downloads/retinaface_mv2.onnx"""

ACTIONS = {
    "list": "all models: what for, under which licence, whether they are here, and which are in use",
    "show": "everything that is known of one model",
    "pull": "download models",
}

_OPTION = {"detection": "--detector", "embedding": "--embedder"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="|".join(ACTIONS), required=True)
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(
            name,
            help=purpose,
            description=purpose,
            epilog=PULL_EXAMPLES if name == "pull" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == "show":
            action.add_argument("name", metavar="NAME", help="a model of the catalogue")
        if name == "pull":
            _add_pull_arguments(action)
        add_settings_options(action, sections=("models",))


def _add_pull_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("names", metavar="NAME", nargs="*", help="models of the catalogue")
    action.add_argument("--list", action="store_true", help="only list the models that can be downloaded")
    action.add_argument(
        "--accept-licence", action="store_true", help="I keep to the terms of models for non-commercial use only"
    )
    action.add_argument(
        "--from",
        dest="origin",
        metavar="URL_OR_FILE",
        default="",
        help="take it from a mirror or from a file downloaded before; the hash must be the same",
    )


def execute(arguments: argparse.Namespace) -> int:
    models = effective_settings(arguments).settings.models
    action: Callable[[argparse.Namespace, Catalog, ModelSettings], int]
    action = {"list": _list, "show": _show, "pull": _pull}[arguments.action]
    return action(arguments, read_catalog(models.catalog), models)


def _list(arguments: argparse.Namespace, catalog: Catalog, models: ModelSettings) -> int:
    print(_table(catalog.entries.values(), models))
    print("\nNC: non-commercial use only. (*): this version cannot run the family yet.")
    return 0


def _table(entries: Iterable[ModelEntry], models: ModelSettings) -> str:
    from app.vision.loading import can_run

    rows = [
        (
            entry.name,
            entry.task,
            entry.family + ("" if can_run(entry) else " (*)"),
            entry.licence + ("" if entry.commercial_use else " (NC)"),
            _size(entry),
            _state(entry),
            "yes" if _is_chosen(entry, models) else "",
        )
        for entry in entries
    ]
    return table(("name", "task", "family", "licence", "size", "state", "in use"), rows)


def _state(entry: ModelEntry) -> str:
    state = entry.file_state()
    if state is FileState.RIGHT:
        return "built in" if entry.built_in else "installed"
    if state is FileState.MISSING:
        return "not downloaded" if entry.url else "missing"
    return str(state.value)


def _size(entry: ModelEntry) -> str:
    from app.vision.http_get import megabytes

    if entry.file.is_file():
        return megabytes(entry.file.stat().st_size)
    return megabytes(entry.size_bytes) if entry.size_bytes else entry.figures.get("download", "-")


def _is_chosen(entry: ModelEntry, models: ModelSettings) -> bool:
    chosen = {"detection": models.detector, "embedding": models.embedder}
    return chosen.get(entry.task) == entry.name


def _show(arguments: argparse.Namespace, catalog: Catalog, models: ModelSettings) -> int:
    entry = catalog.named(arguments.name)
    print(entry.name)
    for what, text in _facts(entry, catalog, models):
        print(f"  {what:<11}{text}")
    return 0


def _facts(entry: ModelEntry, catalog: Catalog, models: ModelSettings) -> Iterator[Tuple[str, str]]:
    """What is known, as pairs of a heading and a line; the heading is empty for further lines."""
    from app.vision.loading import FAMILIES, can_run

    option = _OPTION.get(entry.task)
    usable = f" (python -m app {option} {entry.name})" if option and can_run(entry) else ""
    yield "task", f"{entry.task}{usable}{'; in use' if _is_chosen(entry, models) else ''}"
    working = ", ".join(FAMILIES.get(entry.task, ())) or "none"
    yield "family", entry.family + ("" if can_run(entry) else f"; cannot be run yet (for {entry.task}: {working})")
    yield "input", _input_text(entry)
    if entry.task == "embedding":
        yield "output", f"{entry.dimensions} numbers; the same person from a cosine of {entry.threshold:g} on"
    yield "licence", entry.licence_text
    yield "source", entry.source
    if entry.url:
        yield "address", entry.url
    if entry.card:
        yield "card", entry.card
    yield from _under("figures", [f"{what}: {text}" for what, text in entry.figures.items()])
    if entry.notes:
        yield "notes", entry.notes
    yield "file", f"{entry.file}, {_size(entry)}: {_state(entry)}"
    yield "SHA-256", f"{entry.sha256} expected"
    yield from _network_facts(entry)
    yield from _under("engines", [str(path) for path in catalog.engines_built_from(entry)] or ["none built here"])


def _network_facts(entry: ModelEntry) -> Iterator[Tuple[str, str]]:
    """Of the file itself, where the right one is here."""
    from app.vision.loading import describe_network

    if entry.file_state() is not FileState.RIGHT:
        yield "", entry.how_to_get
        return
    try:
        inputs, outputs = describe_network(entry)
    except ModelError as error:
        yield "network", str(error)
        return
    yield from _under("inputs", inputs)
    yield from _under("outputs", outputs)


def _under(heading: str, lines: Iterable[str]) -> Iterator[Tuple[str, str]]:
    for line in lines:
        yield heading, line
        heading = ""


def _input_text(entry: ModelEntry) -> str:
    pixels = entry.preprocessing
    size = f"{entry.crop[0]} x {entry.crop[1]} pixels, " if all(entry.crop) else ""
    mean = ", ".join(f"{value:g}" for value in pixels.mean)
    anchors = (
        f"; anchors {', '.join('/'.join(map(str, sides)) for sides in entry.min_sizes)}" if entry.min_sizes else ""
    )
    return f"{size}{pixels.channels.upper()}, (pixel - ({mean})) / {pixels.divisor:g}{anchors}"


def _pull(arguments: argparse.Namespace, catalog: Catalog, models: ModelSettings) -> int:
    from app.vision.model_store import require_acceptance

    if arguments.list:
        print(_table([entry for entry in catalog.entries.values() if entry.url], models))
        return 0
    if not arguments.names:
        raise SettingsError("name the models to download; python -m app engines pull --list shows them")
    if arguments.origin and len(arguments.names) != 1:
        raise SettingsError("--from is for one model: name one")
    wanted: Dict[str, ModelEntry] = {name: catalog.named(name) for name in arguments.names}
    missing: List[ModelEntry] = []
    for entry in wanted.values():
        state = entry.file_state()
        if state is FileState.RIGHT:
            print(f"{entry.name}: is there already, {entry.file}, and its SHA-256 is right")
            continue
        if state is FileState.WRONG_HASH:
            print(f"{entry.name}: {entry.file} has another SHA-256 and will be replaced")
        _print_terms(entry, arguments.origin)
        require_acceptance(entry, arguments.accept_licence)
        missing.append(entry)
    for entry in missing:
        _install(entry, arguments.origin)
    return 0


def _print_terms(entry: ModelEntry, origin: str) -> None:
    print(f"{entry.name}: {entry.task}, {entry.family}")
    print(f"  licence  {entry.licence_text}")
    print(f"  source   {entry.source}")
    if entry.notes:
        print(f"  notes    {entry.notes}")
    print(f"  from     {origin or entry.url or '-'}", flush=True)


def _install(entry: ModelEntry, origin: str) -> None:
    from app.vision.loading import can_run
    from app.vision.model_store import install

    progress = configure_logging("info")
    count = progress.counter(f"{entry.name}, kB")
    if "://" not in origin and origin:
        origin = str(Path(origin).expanduser())
    try:
        install(entry, origin, progress=lambda done, total: count(done // 1000, total // 1000))
    except KeyboardInterrupt:
        raise ModelError(
            f"{entry.name}: interrupted; what has arrived is kept, and the same command goes on from there"
        ) from None
    finally:
        progress.clear()
    option = _OPTION.get(entry.task)
    use = f"; use it: python -m app {option} {entry.name}" if option and can_run(entry) else ""
    remark = "" if can_run(entry) else f"; this version cannot run its family, {entry.family}, yet"
    print(f"{entry.name}: installed as {entry.file}, SHA-256 verified{use}{remark}")
