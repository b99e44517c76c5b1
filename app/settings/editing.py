"""Setting one value in a settings file, and leaving everything else in it as the user wrote it."""

from __future__ import annotations

from typing import List, Optional, Tuple

import yaml

from app.errors import SettingsError
from app.settings.yaml_lines import composed


def with_setting(text: str, key: str, value: str, comment: str, mark: str) -> str:
    """The text of a YAML file with `key` (`section.name`) set to `value`, below a line with the comment.

    `mark` is what the comment begins with, so that the next edit replaces it. Raises SettingsError for a file whose
    structure is too unusual to be edited.
    """
    section, _, name = key.partition(".")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    root = _compose(text)
    place = None if root is None else _entry(root, section)
    written = f"{name}: {value}{newline}"
    if place is None:
        lines += [f"{section}:{newline}", f"  # {comment}{newline}", f"  {written}"]
    else:
        section_key, values = place
        found = _entry(values, name) if isinstance(values, yaml.MappingNode) else None
        at = section_key.start_mark.line
        if isinstance(values, yaml.MappingNode) and values.flow_style:
            start = values.start_mark
            if found is not None:
                lines[found[1].start_mark.line] = _replaced(lines, found[1], value)
            else:
                more = ", " if values.value else ""
                line, column = lines[start.line], start.column + 1
                lines[start.line] = f"{line[:column]}{written.rstrip()}{more}{line[column:]}"
            _comment(lines, at, " " * section_key.start_mark.column, comment, mark, newline)
        elif found is not None:
            row = found[0].start_mark.line
            lines[found[1].start_mark.line] = _replaced(lines, found[1], value)
            _comment(lines, row, " " * found[0].start_mark.column, comment, mark, newline)
        else:
            column = values.value[0][0].start_mark.column if isinstance(values, yaml.MappingNode) else 2
            row = values.value[0][0].start_mark.line if isinstance(values, yaml.MappingNode) else at + 1
            lines.insert(row, " " * column + written)
            _comment(lines, row, " " * column, comment, mark, newline)
    edited = "".join(lines)
    if _value(edited, section, name) != yaml.safe_load(value):
        raise SettingsError(f"the file cannot be edited: write {key}: {value} into it yourself")
    return edited


def _compose(text: str) -> Optional[yaml.Node]:
    try:
        return composed(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"the file is not valid YAML: {error}") from error


def _entry(node: yaml.Node, key: str) -> Optional[Tuple[yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError("the file cannot be edited: it must consist of sections with lines 'key: value'")
    return next(((name, value) for name, value in node.value if name.value == key), None)


def _replaced(lines: List[str], node: yaml.Node, value: str) -> str:
    """The line of a scalar with another value; an empty scalar begins where its key's colon ends."""
    start, end = node.start_mark, node.end_mark
    line = lines[start.line]
    if end.line != start.line:
        raise SettingsError("the file cannot be edited: a value there spans several lines")
    gap = "" if start.column and line[start.column - 1] == " " else " "
    return f"{line[: start.column]}{gap}{value}{line[end.column :]}"


def _comment(lines: List[str], row: int, indent: str, comment: str, mark: str, newline: str) -> None:
    """Puts the comment above a line, in place of the one with the same mark."""
    written = f"{indent}# {comment}{newline}"
    if row and lines[row - 1].lstrip().startswith(f"# {mark}"):
        lines[row - 1] = written
    else:
        lines.insert(row, written)


def _value(text: str, section: str, name: str) -> object:
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    values = tree.get(section) if isinstance(tree, dict) else None
    return values.get(name) if isinstance(values, dict) else None
