"""YAML whose every value knows its file and line, for messages such as `config.yaml:12: ...`.

Settings, the model catalogue and the gallery's display names are read with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple, Type

import yaml

from app.errors import AppError
from app.text import megabytes, shortened

MAX_BYTES = 4_000_000
"""Of a file; enough for the names of 100,000 people."""
MAX_CHARACTERS = 10_000
"""Of a value."""
MAX_KEY_CHARACTERS = 300
MAX_BITS = 14_000
"""Of a whole number."""
MAX_REPEATED = 10_000
"""Values that aliases add."""


def read_yaml(path: Path, error: Type[AppError]) -> Optional[YamlNode]:
    """The root of a file; None when there is nothing in it. Raises `error` with the line of what cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as failure:
        raise error(f"{path} cannot be read: {failure.strerror}") from failure
    if len(content) > MAX_BYTES:
        raise error(f"{path} is larger than {megabytes(MAX_BYTES)}; is it the right file?")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise error(f"{path}:{line}: not UTF-8 text: {failure.reason}") from failure
    try:
        root = composed(text)
    except yaml.YAMLError as failure:
        raise error(_not_yaml(path, text, failure)) from failure
    return None if root is None else YamlNode(path, root, error)


def composed(text: str) -> Optional[yaml.Node]:
    """The root of a text, which can be handled in reasonable time. Raises YAMLError with a mark."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            _check(root, {})
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="too deeply nested", problem_mark=loader.get_mark()) from None
    finally:
        loader.dispose()
    return root


def _check(node: yaml.Node, sizes: Dict[int, int]) -> int:
    """How many values a node has when its aliases are written out. Raises for one that is too large.

    `sizes` has them for the nodes seen so far, by identity; 0 for those that are being counted.
    """
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise _refused(node, "an alias that contains itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if len(node.value) > MAX_CHARACTERS:
            raise _refused(node, f"a value of {len(node.value)} characters; at most {MAX_CHARACTERS} are allowed")
    else:
        pairs = isinstance(node, yaml.MappingNode)
        for part in [part for pair in node.value for part in pair] if pairs else node.value:
            size += _check(part, sizes)
    sizes[id(node)] = size
    if size > len(sizes) + MAX_REPEATED:
        raise _refused(node, "too many values from aliases")
    return size


def _refused(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Refuses numbers that Python would not show: from 4300 digits on, `str` raises ValueError."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > MAX_BITS:
            raise _refused(node, "the number is too large")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


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
            return _Loader("").construct_object(self.node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError) as failure:
            problem = getattr(failure, "problem", None) or str(failure)
            raise self.wrong(f"this value is not valid YAML: {shortened(problem)}") from failure

    def entries(self, what: str) -> Iterator[Tuple[YamlNode, YamlNode]]:
        """Keys and values of a mapping, each key once; nothing for null. `what` names the mapping in messages."""
        if self.is_null:
            return
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"{what} must consist of lines 'key: value'")
        seen: Dict[str, int] = {}
        for key_node, value_node in self.node.value:
            key = YamlNode(self.path, key_node, self.error)
            if not isinstance(key_node, yaml.ScalarNode):
                raise key.wrong(f"{what} must consist of lines 'key: value'")
            if len(key.text) > MAX_KEY_CHARACTERS:
                raise key.wrong(f"a key of {len(key.text)} characters; at most {MAX_KEY_CHARACTERS} are allowed")
            if key.text in seen:
                raise key.wrong(f"duplicate key {key.text!r} (first in line {seen[key.text]})")
            seen[key.text] = key.line
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
    return f"{place}: not valid YAML: {shortened(problem)}{hint}"
