"""Who is in a photo, told by where it lies in the gallery and what it is called."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePath
from typing import Dict, Mapping

import yaml

from app.errors import GalleryError

DISPLAY_NAMES_FILE = "people.yaml"

_PHOTO_NUMBER = re.compile(r"[ _-]?\d+$")


def person_of(relative_path: PurePath, display_names: Mapping[str, str]) -> str:
    """The person whose photo lies at `relative_path` inside the gallery.

    - `NAME/anything.jpg`, also `NAME/2023/x.jpg`: the first folder is the person, exactly as it is written.
    - `NAME.jpg`, `NAME_0.jpg`, `NAME0.jpg`, `NAME-2.jpg`, `NAME 3.jpg`: the file's name without its suffix, without
      the digits at its end and without one `_`, `-` or space before them. Only the last number goes: photos named by
      date belong into a folder.
    - A name that is nothing but a number stays (`007.jpg` is 007), and so does every other `_` in a name.
    - Letters are composed (NFC), so that a José from a Mac and a José from Linux are one person.

    `display_names` replaces the result. Its key is the folder, or the file's name as it is, without its suffix, or
    without its number; the most exact one counts, so `agent_47: Agent 47` keeps a number that belongs to the name.
    """
    if len(relative_path.parts) > 1:
        folder = normalised(relative_path.parts[0])
        return display_names.get(folder, folder)
    stem = normalised(relative_path.stem)
    name = _PHOTO_NUMBER.sub("", stem).strip() or stem
    for key in (normalised(relative_path.name), stem, name):
        if key in display_names:
            return display_names[key]
    return name


def normalised(name: str) -> str:
    """`name` in the one form in which names are compared: composed letters, printable, no outer or doubled spaces."""
    printable = name.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", printable).split())


def read_display_names(path: Path) -> Dict[str, str]:
    """What `people.yaml` says: folder or file name -> name to show. A file that is not there says nothing.

    The texts are taken as they are written: YAML's own reading would make the number 7 of a person called 007.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise GalleryError(f"{path}:{line}: not valid YAML: {problem}; expected lines like  folder: Name") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise GalleryError(f"{path}:{_line(root)}: expected lines like  folder: Name")
    return _display_names(path, root)


def _display_names(path: Path, root: yaml.MappingNode) -> Dict[str, str]:
    names: Dict[str, str] = {}
    lines: Dict[str, int] = {}
    for key_node, value_node in root.value:
        key = _text(path, key_node, "a folder's or a photo's name")
        if key in names:
            raise GalleryError(f"{path}:{_line(key_node)}: {key} is already named in line {lines[key]}; keep one")
        names[key] = _text(path, value_node, f"the name to show for {key}")
        lines[key] = _line(key_node)
    return names


def _text(path: Path, node: yaml.Node, wanted: str) -> str:
    text = normalised(node.value) if isinstance(node, yaml.ScalarNode) else ""
    if not text:
        raise GalleryError(f"{path}:{_line(node)}: expected {wanted}, a text in one line")
    return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
