"""Names of people: derived from the paths of their photos, and replaced by `people.yaml`."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePath
from typing import Dict, Mapping

from app.errors import GalleryError
from app.settings.yaml_lines import YamlNode, read_yaml
from app.text import without_controls

DISPLAY_NAMES_FILE = "people.yaml"

_PHOTO_NUMBER = re.compile(r"[ _-]?\d+$")


def person_of(relative_path: PurePath, display_names: Mapping[str, str]) -> str:
    """The person whose photo has this path inside the gallery.

    - `NAME/anything.jpg`, also `NAME/2023/x.jpg`: the name of the first folder.
    - `NAME.jpg`, `NAME_0.jpg`, `NAME0.jpg`, `NAME-2.jpg`, `NAME 3.jpg`: the file name without its suffix and without a
      number at its end. Only the last number is removed: photos named by date need a folder.
    - A name that is only a number (`007.jpg`) and any other `_` in a name are kept.
    - Letters are composed (NFC), so that a José from a Mac and a José from Linux are the same person.

    `display_names` replaces the result. Its keys are the folder, or the file name: in full, without its suffix, or
    without its number. The longest key counts, so `agent_47: Agent 47` keeps a number that is part of a name.
    """
    if len(relative_path.parts) > 1:
        folder = normalize(relative_path.parts[0])
        return display_names.get(folder, folder)
    stem = normalize(relative_path.stem)
    name = _PHOTO_NUMBER.sub("", stem).strip() or stem
    for key in (normalize(relative_path.name), stem, name):
        if key in display_names:
            return display_names[key]
    return name


def normalize(name: str) -> str:
    """The form in which names are compared and shown: composed letters, no surrounding or repeated spaces, and nothing
    that a terminal takes as a command."""
    text = name.encode("utf-8", "replace").decode("utf-8")
    return " ".join(without_controls(" ".join(unicodedata.normalize("NFC", text).split())).split())


def read_display_names(path: Path) -> Dict[str, str]:
    """Folder or file name -> name to show, from `people.yaml`; empty if there is no such file.

    Names are taken as they are written: a person called 007 is not the number 7.
    """
    if not path.exists():
        return {}
    root = read_yaml(path, GalleryError)
    names: Dict[str, str] = {}
    for key_node, value_node in root.entries("display names") if root is not None else ():
        key = _name(key_node, "the name of a folder or photo")
        if key in names:
            raise key_node.wrong(f"{key} occurs twice; keep one of the two lines")
        names[key] = _name(value_node, f"the name to show for {key}")
    return names


def _name(node: YamlNode, expected: str) -> str:
    name = normalize(node.text)
    if not name:
        raise node.wrong(f"expected {expected}")
    return name
