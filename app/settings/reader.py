"""Filling the tree of settings: defaults, then settings files, then the command line, each value checked.

All mistakes are reported together, each with its place (file and line, or option), what was expected, and for an
unknown key the nearest known one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    Collection,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from app.credentials import HIDDEN, masked, references_from
from app.errors import AppError, SettingsError, raise_all
from app.settings.channels import why_not_per_channel, why_section_is_shared
from app.settings.declaration import SettingInfo, as_yaml
from app.settings.schema import Settings, all_settings, sections
from app.settings.yaml_lines import YamlNode, read_yaml
from app.text import bounds, from_here, shortened, suggestion

T = TypeVar("T")

DEFAULT = "default"
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Assignment:
    """A value and where it was given, e.g. `config.local.yaml:12` or `--threshold`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Layer:
    """The values from one place: a settings file or the command line."""

    values: Mapping[str, Assignment] = field(default_factory=dict)
    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    sources_origin: str = DEFAULT
    channels: Mapping[str, Mapping[str, Assignment]] = field(default_factory=dict)
    """What single channels have of their own."""
    channel_places: Mapping[str, str] = field(default_factory=dict)
    errors: Tuple[AppError, ...] = ()
    """What is wrong with the file; `resolve` raises them together with those of the values."""


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings of a run, and where each one comes from."""

    settings: Settings
    origins: Mapping[str, str]
    """By key; that of a channel's own value begins with `channels.NAME.`."""
    channel_places: Mapping[str, str] = field(default_factory=dict)
    """Where channels have values of their own. A run need not have a source for each of them."""
    replaced_sources: Optional[str] = None
    """The settings file whose sources those of the command line replace."""


_COVER, _SERVE = "--cover: strangers, all or a name", "--serve, or the command serve"
_NEEDED = {
    "output.cover_with": ("output.cover", _COVER),
    "output.cover_style": ("output.cover", _COVER),
    "record.when": ("record.folder", "--record DIR"),
    **dict.fromkeys(
        (f"serve.{name}" for name in ("host", "port", "also_ports", "insecure", "root_images")),
        ("serve.enabled", _SERVE),
    ),
}
"""What an option does nothing without: a setting, and how to set it."""
_EXCLUSIVE = (("recognition.threshold", "recognition.false_accept_rate"),)


def resolve(layers: Iterable[Layer]) -> EffectiveSettings:
    """The tree that results when each layer overrides the ones before it.

    A channel's own value is kept when a later file sets the same key for all channels, but not when an option does.
    """
    layers = list(layers)
    chosen: Dict[str, Assignment] = {info.key: Assignment(info.default, DEFAULT) for info in all_settings()}
    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    sources_origin = DEFAULT
    replaced_sources: Optional[str] = None
    own: Dict[str, Dict[str, Assignment]] = {}
    errors: List[AppError] = [error for layer in layers for error in layer.errors]
    for layer in layers:
        for key, other in _EXCLUSIVE:
            # The later layer decides between two settings that exclude each other.
            for chosen_here, replaced in ((key, other), (other, key)):
                if chosen_here in layer.values and layer.values[chosen_here].value is not None:
                    chosen[replaced] = Assignment(None, layer.values[chosen_here].origin)
        chosen.update(layer.values)
        for channel, values in layer.channels.items():
            own.setdefault(channel, {}).update(values)
        options = {key for key, given in layer.values.items() if given.origin.startswith("--")}
        own = {channel: _without(values, options) for channel, values in own.items()}
        if layer.sources:
            replaced_sources = sources_origin if sources and layer.sources_origin == COMMAND_LINE else None
            sources, sources_origin = layer.sources, layer.sources_origin
    cover, attention = chosen["output.cover"], chosen["attention.mode"]
    if cover.value is not None and attention.origin == DEFAULT:
        # A face is visible until it is found: someone who comes in would be, for a frame or two.
        chosen["attention.mode"] = Assignment("off", cover.origin)
    values = _checked(chosen, "", errors)
    own_values = {channel: _checked(given, f"channels.{channel}.", errors) for channel, given in own.items()}
    if not errors:
        errors += _contradictions(values, chosen)
        errors += _uncovered(chosen, own)
        if len(sources) > 1 and chosen["capture.substream"].value is not None:
            place = chosen["capture.substream"].origin
            errors.append(
                SettingsError(f"{place}: capture.substream belongs to one source: write it under channels.NAME")
            )
        for channel in own:
            errors += _too_many_votes({**values, **own_values[channel]}, {**chosen, **own[channel]})
    named = {name for layer in layers for name, _ in layer.sources if name is not None}
    places = {channel: place for layer in layers for channel, place in layer.channel_places.items()}
    if any(layer.sources and layer.sources_origin != COMMAND_LINE for layer in layers):
        errors += [
            SettingsError(f"{place}: channels.{channel}: no source has this name{suggestion(channel, named)}")
            for channel, place in _without(places, named).items()
        ]
    raise_all(errors)
    tree = {
        section: section_class(**{info.name: values[info.key] for info in all_settings() if info.section == section})
        for section, section_class in sections().items()
    }
    channels = tuple((channel, tuple(given.items())) for channel, given in own_values.items())
    origins = {"sources": sources_origin, **{key: given.origin for key, given in chosen.items()}}
    for channel, given in own.items():
        origins.update({f"channels.{channel}.{key}": one.origin for key, one in given.items()})
    return EffectiveSettings(Settings(sources=sources, channels=channels, **tree), origins, places, replaced_sources)


def _without(values: Mapping[str, T], keys: Collection[str]) -> Dict[str, T]:
    return {key: value for key, value in values.items() if key not in keys}


def _checked(chosen: Mapping[str, Assignment], prefix: str, errors: List[AppError]) -> Dict[str, Any]:
    """The values by key, each in its own type; what is wrong is added to the errors."""
    values: Dict[str, Any] = {}
    for info in all_settings():
        if info.key in chosen:
            given = chosen[info.key]
            try:
                values[info.key] = given.value if given.origin == DEFAULT else check(info, given, prefix)
            except SettingsError as error:
                errors.append(error)
    return values


def _contradictions(values: Mapping[str, Any], chosen: Mapping[str, Assignment]) -> Iterator[AppError]:
    """Settings that do not go together."""
    yield from _too_many_votes(values, chosen)
    threshold, rate = (chosen[f"recognition.{name}"] for name in ("threshold", "false_accept_rate"))
    if threshold.value is not None and rate.value is not None and rate.origin != DEFAULT:
        yield SettingsError(
            f"{threshold.origin}: recognition.threshold = {threshold.value} and {rate.origin}: "
            f"recognition.false_accept_rate = {rate.value} exclude each other: the rate makes the threshold "
            "follow from the gallery; remove one of them"
        )
    for key, (needed, option) in _NEEDED.items():
        if chosen[key].origin.startswith("--") and not chosen[needed].value:
            yield SettingsError(f"{chosen[key].origin} needs {option}")


def _uncovered(chosen: Mapping[str, Assignment], own: Mapping[str, Mapping[str, Assignment]]) -> Iterator[AppError]:
    """Where no faces are looked for, none can be covered."""
    cover = chosen["output.cover"]
    every = {"": chosen, **{f"channels.{channel}.": given for channel, given in own.items()}}
    for prefix, given in every.items():
        for key in ("view.watch", "view.ignore"):
            if cover.value is not None and key in given and given[key].value is not None:
                yield SettingsError(
                    f"{given[key].origin}: {prefix}{key} cannot be used with output.cover = {cover.value} "
                    f"({cover.origin}): faces that are not reported would not be covered"
                )


def _too_many_votes(values: Mapping[str, Any], chosen: Mapping[str, Assignment]) -> Iterator[AppError]:
    keys = ("recognition.min_votes", "recognition.vote_window")
    if values[keys[0]] > values[keys[1]]:
        places = ", ".join(sorted({chosen[key].origin for key in keys} - {DEFAULT}))
        yield SettingsError(
            f"{places}: {keys[0]} = {values[keys[0]]} cannot be more than {keys[1]} = {values[keys[1]]}"
        )


def load_settings(*paths: Union[str, Path]) -> Settings:
    """The defaults, overridden by the values in these YAML files, the later ones first.

    Example:
        >>> load_settings().detection.input_size
        640
    """
    return resolve([read_file(Path(path)) for path in paths]).settings


def check(info: SettingInfo, given: Assignment, prefix: str = "") -> Any:
    """The value in the setting's own type, or an error that says what was expected. `prefix` is `channels.NAME.`."""
    value = given.value
    if value is None and info.optional:
        return None
    if info.value_type is Path and isinstance(value, (str, Path)) and str(value):
        return Path(value)
    if info.value_type is float and isinstance(value, int) and not isinstance(value, bool):
        # A whole number may be larger than any float.
        value = float(value) if abs(value) < 1e300 else value
    if info.choices is not None and isinstance(value, (bool, int)):
        # YAML reads the words on and off as true and false, and 2 as a number.
        value = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    is_valid = isinstance(value, info.value_type) and isinstance(value, bool) == (info.value_type is bool)
    is_valid = is_valid and (info.choices is None or value in info.choices)
    if is_valid and isinstance(value, (int, float)):
        # NaN fails every comparison.
        is_valid = (info.minimum is None or value >= info.minimum) and (info.maximum is None or value <= info.maximum)
    if not is_valid:
        shown = HIDDEN if info.secret else shortened(masked(repr(given.value)))
        raise SettingsError(
            f"{given.origin}: {prefix}{info.key} = {shown}: expected {expectation(info)}\n  {info.key}: {info.help}"
        )
    if info.parse is not None:
        try:
            info.parse(value)
        except ValueError as error:
            raise SettingsError(f"{given.origin}: {prefix}{info.key}: {error}\n  {info.key}: {info.help}") from None
    return value


def expectation(info: SettingInfo) -> str:
    """The values that a setting takes, in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "a text"}
    if info.choices is not None:
        text = "one of " + ", ".join(info.choices)
    else:
        text = words[info.value_type] + bounds(info.minimum, info.maximum)
    return text + (" (or nothing)" if info.optional else "")


def read_file(path: Path) -> Layer:
    """The settings in a YAML file. Relative paths in it count from the file's folder."""
    return _FileReader(path).read()


class _FileReader:
    """Walks the parsed file node by node, because only the nodes know their lines. Goes on after a mistake."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = {info.key: info for info in all_settings()}
        self.errors: List[AppError] = []

    def read(self) -> Layer:
        values: Dict[str, Assignment] = {}
        channels: Dict[str, Dict[str, Assignment]] = {}
        channel_places: Dict[str, str] = {}
        sources: List[Tuple[Optional[str], str]] = []
        sources_origin = DEFAULT
        for key, node in self._top_entries():
            if key.text == "sources":
                sources_origin = key.place
                for name, address in self._entries(node, "sources"):
                    if address.text:
                        sources.append((name.text, references_from(self.path.parent, address.text)))
                    else:
                        self._wrong(address, f"sources.{name.text} must be an address, such as rtsp://… or camera:0")
            elif key.text == "channels":
                for name, content in self._entries(node, "channels"):
                    channel_places[name.text] = name.place
                    self._read_channel(name.text, content, channels.setdefault(name.text, {}))
            elif key.text in sections():
                self._read_section(key.text, node, values)
            else:
                self._wrong(key, self._unknown(key.text, key.text, ["sources", "channels", *sections()]))
        return Layer(values, tuple(sources), sources_origin, channels, channel_places, tuple(self.errors))

    def _read_section(self, section: str, node: YamlNode, values: Dict[str, Assignment]) -> None:
        for name, value in self._entries(node, section):
            info = self.known.get(f"{section}.{name.text}")
            if info is None:
                self._wrong(name, self._unknown(f"{section}.{name.text}", name.text, list(self.known)))
            else:
                self._read_value(info, name, value, values)

    def _read_channel(self, channel: str, node: YamlNode, values: Dict[str, Assignment]) -> None:
        """Sections inside `channels.NAME`. A value of null is that of all channels."""
        what = f"channels.{channel}"
        own = {key: info for key, info in self.known.items() if why_not_per_channel(info) is None}
        for section, content in self._entries(node, what):
            if section.text not in sections():
                known = list(dict.fromkeys(info.section for info in own.values()))
                self._wrong(section, f"{what}: {self._unknown(section.text, section.text, known)}")
            elif why_section_is_shared(section.text) is not None:
                why = why_section_is_shared(section.text)
                self._wrong(section, f"{what}: the section {section.text!r} cannot be set for one channel: {why}")
            else:
                for name, value in self._entries(content, f"{what}.{section.text}"):
                    key = f"{section.text}.{name.text}"
                    info = self.known.get(key)
                    if info is None:
                        self._wrong(name, f"{what}: {self._unknown(key, name.text, list(own))}")
                    elif key not in own:
                        self._wrong(name, f"{what}: {key} cannot be set for one channel: {why_not_per_channel(info)}")
                    elif not (info.optional and value.is_null):
                        self._read_value(info, name, value, values)

    def _top_entries(self) -> Iterator[Tuple[YamlNode, YamlNode]]:
        try:
            root = read_yaml(self.path, SettingsError)
        except SettingsError as error:
            self.errors.append(error)
            return
        if root is not None:
            yield from self._entries(root, "the file")

    def _entries(self, node: YamlNode, what: str) -> Iterator[Tuple[YamlNode, YamlNode]]:
        try:
            yield from node.entries(what)
        except SettingsError as error:
            self.errors.append(error)

    def _wrong(self, node: YamlNode, what: str) -> None:
        self.errors.append(node.wrong(what))

    def _read_value(self, info: SettingInfo, key: YamlNode, node: YamlNode, values: Dict[str, Assignment]) -> None:
        try:
            value = node.value()
        except SettingsError:
            self._wrong(node, f"{info.key}: invalid value; expected {expectation(info)}")
            return
        if info.value_type is Path and isinstance(value, str) and value not in ("", "-"):
            value = from_here(self.path.parent / value)
        elif info.choices is not None and node.text in info.choices:
            value = node.text  # YAML reads `off` as false, and `2` as a number
        elif isinstance(value, str) and "://" in value:
            value = references_from(self.path.parent, value)
        elif info.secret and isinstance(value, str) and value.startswith("file:"):
            value = f"file:{from_here(self.path.parent / value[len('file:') :])}"
        values[info.key] = Assignment(value, key.place)

    def _unknown(self, key: str, written: str, known: Sequence[str]) -> str:
        section, _, name = key.rpartition(".")
        if "." in written:
            # Tables and messages name settings like that; the file nests them.
            section, _, name = written.partition(".")
            if section == "channels":
                lines = ", ".join(f"'{part}:'" for part in written.split("."))
                return f"{written!r} is written in several lines, each indented below the one before: {lines}"
            if written in self.known or section == "sources":
                return f"{written!r} is written in two lines: '{section}:', and below it, indented, '{name}: …'"
            return f"unknown setting {written!r}{suggestion(written, self.known, cutoff=0.0)}"
        # The same name in another section is a better guess than a similar name in this one.
        same_name = [other for other in self.known if other.endswith(f".{name}")]
        if same_name and not section:
            section = same_name[0].partition(".")[0]
            return f"{key!r} belongs in the section '{section}': write it indented below a line '{section}:'"
        return f"unknown setting {key!r}{suggestion(key, same_name[:1] or known, cutoff=0.0)}"


def format_settings(effective: EffectiveSettings, sources: Iterable[str], resolved: Mapping[str, Assignment]) -> str:
    """The table of `--show-settings`: key, value, origin.

    `sources` are addresses without passwords. `resolved` holds, by key, what settings left open amount to.
    """
    rows = [("sources", ", ".join(sources) or "(none)", effective.origins["sources"])]
    for info in all_settings():
        given = Assignment(getattr(getattr(effective.settings, info.section), info.name), effective.origins[info.key])
        if given.value is None:
            given = resolved.get(info.key, given)
        value = HIDDEN if info.secret and given.value is not None else masked(as_yaml(given.value))
        rows.append((info.key, value, given.origin))
    for channel, values in effective.settings.channels:
        for key, own_value in values:
            name = f"channels.{channel}.{key}"
            rows.append((name, masked(as_yaml(own_value)), effective.origins[name]))
    key_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{key:<{key_width}}  {value:<{value_width}}  {origin}" for key, value, origin in rows)
