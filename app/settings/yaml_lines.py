"""YAML whose every value knows its file and line, for messages such as `config.yaml:12: ...`.

Settings, the model catalogue and the gallery's display names are read with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple, Type

import yaml

from app.errors import AppError


def read_yaml(path: Path, error: Type[AppError]) -> Optional[YamlNode]:
    """The root of a file; None when there is nothing in it. Raises `error` with the line of what cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise error(f"{path} cannot be read: {failure.strerror}") from failure
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise error(f"{path}:{line}: not UTF-8 text: {failure.reason}") from failure
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as failure:
        raise error(_not_yaml(path, text, failure)) from failure
    return None if root is None else YamlNode(path, root, error)


@dataclass(frozen=True)
class YamlNode:
    """A value in a file."""

    path: Path
    node: yaml.Node
    error: Type[AppError]
    """What `wrong` makes."""

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def is_null(self) -> bool:
        return bool(self.node.tag == "tag:yaml.org,2002:null")

    @property
    def text(self) -> str:
        """A scalar as it is written: 007 stays 007. Empty for anything else."""
        return str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else ""

    def value(self) -> Any:
        """What YAML makes of it: numbers, booleans, lists, dictionaries."""
        try:
            return yaml.SafeLoader("").construct_object(self.node, deep=True)
        except (yaml.YAMLError, ValueError) as failure:
            raise self.wrong(f"this value is not valid YAML: {failure}") from failure

    def entries(self, what: str) -> Iterator[Tuple[YamlNode, YamlNode]]:
        """Keys and values of a mapping, each key once; nothing for null. `what` names the mapping in messages."""
        if self.is_null:
            return
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"{what} must consist of lines 'key: value'")
        seen: List[YamlNode] = []
        for key_node, value_node in self.node.value:
            key = YamlNode(self.path, key_node, self.error)
            if not isinstance(key_node, yaml.ScalarNode):
                raise key.wrong(f"{what} must consist of lines 'key: value'")
            first = next((other for other in seen if other.text == key.text), None)
            if first is not None:
                raise key.wrong(f"duplicate key {key.text!r} (first in line {first.line})")
            seen.append(key)
            yield key, YamlNode(self.path, value_node, self.error)

    def wrong(self, what: str) -> AppError:
        return self.error(f"{self.place}: {what}")


def _not_yaml(path: Path, text: str, failure: yaml.YAMLError) -> str:
    place, problem = str(path), str(failure).splitlines()[0]
    if isinstance(failure, yaml.MarkedYAMLError):
        problem = failure.problem or problem
        if failure.problem_mark is not None:
            place += f":{failure.problem_mark.line + 1}"
    elif isinstance(failure, yaml.reader.ReaderError):
        place += f":{text.count(chr(10), 0, failure.position) + 1}"
    hint = "; indent with spaces, not with tabs" if "\\t" in problem else ""
    return f"{place}: not valid YAML: {problem}{hint}"
