"""The user's own models: a catalogue next to the shipped one, which updates never touch."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional

import yaml

from app.errors import ModelError
from app.files import write_whole
from app.models.catalog import Catalog
from app.models.entry import MY_MODELS
from app.text import megabytes

HEADING = """# Your own models, written by `python -m app engines import` or added by hand.
# The keys are those of catalog.yaml, which explains them. Updates do not change this file.
"""


def name_for(stem: str, catalog: Catalog) -> str:
    """A model name from a file name, with the prefix `my_` if a shipped model has that name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "model"
    return f"my_{name}" if name in shipped_names(catalog) else name


class NameTakenError(ModelError):
    """The user has a model with this name, and did not ask to replace it."""


def check_name(name: str, catalog: Catalog, replace: bool, original: Optional[Path] = None) -> None:
    """Raises if a model may not be installed under this name. `original`: the file that is imported."""
    if catalog.file_error:
        raise ModelError(catalog.file_error)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ModelError(f"{name!r}: invalid name for a model; letters, digits, _ and - are allowed")
    if name in shipped_names(catalog):
        raise ModelError(f"{catalog.path.name} already has a model {name!r}: choose another name with --name")
    target = model_file(catalog, name)
    is_in_the_way = target.exists() and not is_in_place(original, catalog, name)
    if not replace and is_in_the_way and name not in catalog.entries and name not in catalog.invalid:
        raise ModelError(
            f"{target} exists, but is not in the catalogue: import that file itself, overwrite it with --replace, or "
            "choose another name with --name"
        )
    if not replace and (name in catalog.entries or name in catalog.invalid):
        raise NameTakenError(f"the model {name!r} already exists ({target}): use --replace, or another --name")


def shipped_names(catalog: Catalog) -> List[str]:
    return [name for name, entry in catalog.entries.items() if entry.source_file != my_models_file(catalog)]


def my_models_file(catalog: Catalog) -> Path:
    return catalog.path.with_name(MY_MODELS)


def model_file(catalog: Catalog, name: str) -> Path:
    return catalog.path.with_name(f"{name}.onnx")


def is_in_place(original: Optional[Path], catalog: Catalog, name: str) -> bool:
    """Whether a file is already where the model of this name belongs."""
    return original is not None and original.resolve() == model_file(catalog, name).resolve()


def require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ModelError(f"{folder.resolve()}: {megabytes(free)} free, {megabytes(size)} needed")


def install_model(catalog: Catalog, name: str, network: Path, facts: Mapping[str, Any]) -> None:
    """Moves the file of the network into place and writes its entry, replacing an older one of this name.

    The rest of the file of entries, including comments, is not changed. If the entry cannot be written, the older
    network is restored. If the program is killed in between, the entry does not match its file; importing again fixes
    that.
    """
    if catalog.file_error:
        raise ModelError(catalog.file_error)
    path = my_models_file(catalog)
    text = path.read_text(encoding="utf-8") if path.is_file() else HEADING
    entry = yaml.safe_dump({name: dict(facts)}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    extended = f"{_without(text, name).rstrip()}\n\n{entry}"
    try:
        content = yaml.safe_load(extended)
    except yaml.YAMLError as error:
        raise ModelError(f"{path}: with the new entry this would not be valid YAML: {error}") from error
    if not isinstance(content, dict) or name not in content:
        raise ModelError(f"{path}: an entry cannot be appended; is the file a mapping, with one name per entry?")
    with _moved_into_place(network, model_file(catalog, name)):
        write_model_file(path, extended.encode())


@contextlib.contextmanager
def _moved_into_place(network: Path, target: Path) -> Iterator[None]:
    """Moves `network` to `target`, and restores the old file if the block fails."""
    before = target.with_name(f".{target.name}.before")
    if network.resolve() == target.resolve():
        yield
        return
    before.unlink(missing_ok=True)  # left by a program that was killed
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
    """Writes the file atomically."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from error


def _without(text: str, name: str) -> str:
    """The text without the entry of this name, which ends before the next line that is not indented."""
    kept, is_inside = [], False
    for line in text.splitlines():
        if line and not line[0].isspace():
            is_inside = line.startswith((f"{name}:", f'"{name}":', f"'{name}':"))
        if not is_inside:
            kept.append(line)
    return "\n".join(kept)
