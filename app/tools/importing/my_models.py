"""The user's own models: a catalogue beside the shipped one, which `git pull` never touches."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional

import yaml

from app.errors import ModelError
from app.files import write_whole
from app.models.catalog import Catalog
from app.models.entry import MY_MODELS
from app.text import megabytes

HEADING = """# Your own models: what `python -m app engines import` has written, and what you add by hand.
# The same keys as in catalog.yaml, which explains them. This file is yours: updates leave it alone.
"""


def name_for(stem: str, catalog: Catalog) -> str:
    """A name for the catalogue from a file's name; `my_` in front where a shipped model has it already."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "model"
    return f"my_{name}" if name in shipped_names(catalog) else name


class NameTakenError(ModelError):
    """There is such a model of the user's already, and no word that it may be replaced."""


def check_name(name: str, catalog: Catalog, replace: bool, brought: Optional[Path] = None) -> None:
    """Raises unless a model may be installed under this name; the file that was `brought` is not in its own way."""
    _require_readable(catalog)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ModelError(f"{name!r} cannot be a model's name: letters, digits, _ and - are allowed")
    if name in shipped_names(catalog):
        raise ModelError(f"{catalog.path.name} has a model {name!r} already: choose another name with --name")
    target = model_file(catalog, name)
    is_in_the_way = target.exists() and not is_in_place(brought, catalog, name)
    if not replace and is_in_the_way and name not in catalog.entries and name not in catalog.invalid:
        raise ModelError(
            f"{target} is there but is no model yet: import that file itself, or --replace overwrites it, or --name "
            "gives another name"
        )
    if not replace and (name in catalog.entries or name in catalog.invalid):
        raise NameTakenError(f"there is a model {name!r} already ({target}): say --replace, or --name for another name")


def _require_readable(catalog: Catalog) -> None:
    """What the user wrote is left alone where it is not understood."""
    if catalog.file_error:
        raise ModelError(catalog.file_error)


def shipped_names(catalog: Catalog) -> List[str]:
    return [name for name, entry in catalog.entries.items() if entry.source_file != my_models_file(catalog)]


def my_models_file(catalog: Catalog) -> Path:
    return catalog.path.with_name(MY_MODELS)


def model_file(catalog: Catalog, name: str) -> Path:
    return catalog.path.with_name(f"{name}.onnx")


def is_in_place(brought: Optional[Path], catalog: Catalog, name: str) -> bool:
    """Whether a file lies already where the model of this name belongs."""
    return brought is not None and brought.resolve() == model_file(catalog, name).resolve()


def require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(f"{folder.resolve()} has {megabytes(free)} free, {megabytes(size)} are needed")


def install_model(catalog: Catalog, name: str, network: Path, facts: Mapping[str, Any]) -> None:
    """Moves the network's file into its place and writes its entry, instead of an older one of this name.

    Everything else in the file of entries stays as it is, comments too. If the entry cannot be written, the older
    network is put back. Whoever kills the program between the two finds an entry that does not fit its file; importing
    again mends that.
    """
    _require_readable(catalog)
    path = my_models_file(catalog)
    text = path.read_text(encoding="utf-8") if path.is_file() else HEADING
    entry = yaml.safe_dump({name: dict(facts)}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    extended = f"{_without(text, name).rstrip()}\n\n{entry}"
    if name not in _parsed(path, extended):
        raise ModelError(f"{path}: an entry cannot be added at its end; are all its lines 'name:' with indented ones?")
    with _moved_into_place(network, model_file(catalog, name)):
        write_model_file(path, extended.encode())


@contextlib.contextmanager
def _moved_into_place(network: Path, target: Path) -> Iterator[None]:
    """`network` stands in the place of `target` from then on, unless the block fails."""
    before = target.with_name(f".{target.name}.before")
    if network.resolve() == target.resolve():
        yield
        return
    before.unlink(missing_ok=True)  # of a program that was killed
    try:
        if target.exists():
            target.replace(before)
        network.replace(target)
        yield
    except BaseException:
        if before.exists():
            before.replace(target)
        elif not network.exists():
            target.unlink()
        raise
    before.unlink(missing_ok=True)


def write_model_file(path: Path, content: bytes) -> None:
    """All of it or nothing, even if the power fails."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from error


def _without(text: str, name: str) -> str:
    """The file without the entry of this name: from its line up to the next one that is not indented."""
    kept, is_inside = [], False
    for line in text.splitlines():
        if line and not line[0].isspace():
            is_inside = line.startswith((f"{name}:", f'"{name}":', f"'{name}':"))
        if not is_inside:
            kept.append(line)
    return "\n".join(kept)


def _parsed(path: Path, text: str) -> Dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelError(f"{path}: with the new entry this would not be valid YAML: {error}") from error
    return content if isinstance(content, dict) else {}
