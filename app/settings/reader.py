"""Filling the tree of settings: built-in defaults, then the file, then the command line, each value checked.

A wrong key or value is answered with where it stands (file and line, or option), what was expected, and, for a key
that does not exist, the nearest one that does.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import yaml

from app.errors import SettingsError
from app.settings.schema import Leaf, Settings, leaves, sections

DEFAULT = "default"


@dataclass(frozen=True)
class Assignment:
    """A value and where it was given, e.g. `config.yaml:12` or `--threshold`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Layer:
    """What one place, the file or the command line, says."""

    values: Mapping[str, Assignment] = field(default_factory=dict)
    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    sources_origin: str = DEFAULT


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings that hold, and where each one comes from."""

    settings: Settings
    origins: Mapping[str, str]


def resolve(layers: Iterable[Layer]) -> EffectiveSettings:
    """The tree that results when each layer overrides the ones before it."""
    chosen: Dict[str, Assignment] = {leaf.key: Assignment(leaf.default, DEFAULT) for leaf in leaves()}
    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    sources_origin = DEFAULT
    for layer in layers:
        chosen.update(layer.values)
        if layer.sources:
            sources, sources_origin = layer.sources, layer.sources_origin
    parts: Dict[str, Dict[str, Any]] = {section: {} for section in sections()}
    for leaf in leaves():
        given = chosen[leaf.key]
        parts[leaf.section][leaf.name] = given.value if given.origin == DEFAULT else check(leaf, given)
    _check_together(parts, chosen)
    tree = {section: section_class(**parts[section]) for section, section_class in sections().items()}
    origins = {"sources": sources_origin, **{key: given.origin for key, given in chosen.items()}}
    return EffectiveSettings(Settings(sources=sources, **tree), origins)


def _check_together(parts: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Assignment]) -> None:
    """What no setting by itself can get wrong."""
    min_votes, window = parts["recognition"]["min_votes"], parts["recognition"]["vote_window"]
    if min_votes > window:
        keys = ("recognition.min_votes", "recognition.vote_window")
        origins = ", ".join(sorted({chosen[key].origin for key in keys} - {DEFAULT}))
        raise SettingsError(f"{origins}: {keys[0]} = {min_votes} cannot be more than {keys[1]} = {window}")


def check(leaf: Leaf, given: Assignment) -> Any:
    """The value in the setting's own type, or an error that says what was expected."""
    value = given.value
    if value is None:
        if leaf.optional:
            return None
        raise _wrong(leaf, given)
    if leaf.kind is Path and isinstance(value, (str, Path)) and str(value):
        return Path(value)
    if leaf.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, leaf.kind) or (leaf.kind is not bool and isinstance(value, bool)):
        raise _wrong(leaf, given)
    if leaf.choices is not None and value not in leaf.choices:
        raise _wrong(leaf, given)
    if isinstance(value, (int, float)) and not _within(value, leaf.minimum, leaf.maximum):
        raise _wrong(leaf, given)
    return value


def _within(value: float, minimum: Optional[float], maximum: Optional[float]) -> bool:
    # Asked this way round, so that NaN, which compares as false, is refused.
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _wrong(leaf: Leaf, given: Assignment) -> SettingsError:
    return SettingsError(
        f"{given.origin}: {leaf.key} = {given.value!r}: expected {expectation(leaf)}\n  {leaf.key}: {leaf.help}"
    )


def expectation(leaf: Leaf) -> str:
    """What may be put there, in words."""
    if leaf.choices is not None:
        text = "one of " + ", ".join(leaf.choices)
    else:
        text = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "a text"}[
            leaf.kind
        ]
        if leaf.minimum is not None and leaf.maximum is not None:
            text += f" from {leaf.minimum:g} to {leaf.maximum:g}"
        elif leaf.minimum is not None:
            text += f", at least {leaf.minimum:g}"
    return text + (" (or nothing)" if leaf.optional else "")


def read_file(path: Path) -> Layer:
    """The settings that a YAML file gives. Paths in it are meant from the file's own folder."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: the settings cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: the settings cannot be read: this is no UTF-8 text") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SettingsError(_not_yaml(path, error)) from error
    if root is None:
        return Layer()
    return _FileReader(path).read(root)


def _not_yaml(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
    problem = getattr(error, "problem", None) or str(error)
    hint = "; indent with spaces, not with tabs" if "\\t" in problem else ""
    return f"{place}: this is not valid YAML: {problem}{hint}"


class _FileReader:
    """Walks the parsed file node by node, because only the nodes know their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.leaves = {leaf.key: leaf for leaf in leaves()}

    def read(self, root: yaml.Node) -> Layer:
        values: Dict[str, Assignment] = {}
        sources: List[Tuple[Optional[str], str]] = []
        sources_origin = DEFAULT
        for name, key_node, node in self._entries(root, "the file"):
            if name == "sources":
                sources_origin = self._place(key_node)
                sources = [(source, self._text(source, value)) for source, _, value in self._entries(node, "sources")]
            elif name in sections():
                for key, inner_key_node, value in self._entries(node, name):
                    leaf = self._leaf(f"{name}.{key}", inner_key_node)
                    values[leaf.key] = Assignment(self._value(leaf, value), self._place(inner_key_node))
            else:
                raise self._unknown(name, key_node, ["sources", *sections()])
        return Layer(values, tuple(sources), sources_origin)

    def _entries(self, node: yaml.Node, what: str) -> Iterable[Tuple[str, yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return []
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(f"{self._place(node)}: {what} must consist of lines 'key: value'")
        seen: Dict[str, yaml.Node] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise SettingsError(f"{self._place(key_node)}: {what} must consist of lines 'key: value'")
            if key_node.value in seen:
                first = seen[key_node.value].start_mark.line + 1
                raise SettingsError(
                    f"{self._place(key_node)}: {key_node.value!r} stands here a second time (first in line {first})"
                )
            seen[key_node.value] = key_node
        return [(str(key_node.value), key_node, value) for key_node, value in node.value]

    def _leaf(self, key: str, key_node: yaml.Node) -> Leaf:
        if key not in self.leaves:
            raise self._unknown(key, key_node, list(self.leaves))
        return self.leaves[key]

    def _unknown(self, key: str, key_node: yaml.Node, known: List[str]) -> SettingsError:
        written = str(key_node.value)
        if "." in written:
            return self._dotted(written, key_node)
        # The same name in another section is a better guess than a similar name in this one.
        name = key.rpartition(".")[2]
        if key == name and any(other.endswith(f".{key}") for other in self.leaves):
            section = next(other for other in self.leaves if other.endswith(f".{key}")).partition(".")[0]
            return SettingsError(
                f"{self._place(key_node)}: {key!r} belongs into the section {section!r}: "
                f"the line '{section}:' above it must be there too, and {key!r} be indented"
            )
        near = [other for other in known if other.rpartition(".")[2] == name] or difflib.get_close_matches(
            key, known, n=1, cutoff=0.0
        )
        return SettingsError(f"{self._place(key_node)}: there is no setting {key!r}; did you mean {near[0]!r}?")

    def _dotted(self, key: str, key_node: yaml.Node) -> SettingsError:
        """Tables and messages name settings like that; the file nests them."""
        section, _, name = key.partition(".")
        if key not in self.leaves and section != "sources":
            (near,) = difflib.get_close_matches(key, self.leaves, n=1, cutoff=0.0)
            return SettingsError(f"{self._place(key_node)}: there is no setting {key!r}; did you mean {near!r}?")
        lines = f"'{section}:', and below it, indented, '{name}: …'"
        return SettingsError(f"{self._place(key_node)}: {key!r} is written in two lines: {lines}")

    def _value(self, leaf: Leaf, node: yaml.Node) -> Any:
        try:
            value = yaml.SafeLoader("").construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            raise SettingsError(
                f"{self._place(node)}: {leaf.key}: this value is not understood; expected {expectation(leaf)}"
            ) from error
        if leaf.kind is Path and isinstance(value, str) and value:
            return self.path.parent / value
        return value

    def _text(self, name: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise SettingsError(f"{self._place(node)}: sources.{name} must be an address, such as rtsp://… or camera:0")
        return str(node.value)

    def _place(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"


def show(effective: EffectiveSettings, masked_sources: Iterable[str], meanings: Mapping[str, str]) -> str:
    """The table of `--show-settings`: key, value, origin. `meanings` tells what values left open come to, by key."""
    rows = [("sources", ", ".join(masked_sources) or "(none)", effective.origins["sources"])]
    for section in fields(Settings):
        part = getattr(effective.settings, section.name)
        if is_dataclass(part):
            for declared in fields(part):
                key = f"{section.name}.{declared.name}"
                value = _as_yaml(getattr(part, declared.name))
                meaning = f" ({meanings[key]})" if value == "null" and key in meanings else ""
                rows.append((key, value + meaning, effective.origins[key]))
    key_width = max(len(key) for key, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows)
    return "\n".join(f"{key:<{key_width}}  {value:<{value_width}}  {origin}" for key, value, origin in rows)


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
