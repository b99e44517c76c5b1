"""The models to choose from: `engines/catalog.yaml`, and `my_models.yaml` next to it for the user's own.

Adding a model of a known family means adding an entry there, no code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Tuple

from app.errors import ModelError
from app.files import PROGRAM_FOLDER, lay_out_program_folder
from app.models.entry import MY_MODELS, ModelEntry
from app.settings.yaml_lines import YamlNode, read_yaml
from app.text import program, suggestion
from app.vision.preprocessing import Preprocessing

TASKS = ("detection", "embedding", "attributes", "landmarks", "antispoof", "quality")

DEFAULT_ENLARGE: Mapping[str, float] = {"gender_age": 1.5, "mask": 0, "landmarks106": 1.5, "antispoof": 2.7}
"""By family of attribute models: how much larger than the face's box their input usually is."""

DEFAULT_SCORES = (0.6, 0.8)
FAMILY_SCORES: Mapping[str, Tuple[float, float]] = {"scrfd": (0.5, 0.6), "centerface": (0.5, 0.8), "dsfd": (0.5, 0.8)}
"""min_score and photo_score of detectors whose entry gives none; these families' scores are lower than others'."""

MAX_NAMES_LISTED = 4


@dataclass(frozen=True)
class Catalog:
    """All entries of one catalogue file and of the user's own file, by name."""

    path: Path
    entries: Mapping[str, ModelEntry] = field(default_factory=dict)
    without_file: Mapping[str, ModelEntry] = field(default_factory=dict)
    """Known models that this program cannot download, by name: `engines import` takes their preprocessing and licence
    from here."""
    invalid: Mapping[str, str] = field(default_factory=dict)
    """The user's own entries that cannot be used, by name: the error."""
    file_error: str = ""
    """Why the whole file of the user's own entries cannot be read; empty if it can. Nothing is written into it then."""

    @property
    def errors(self) -> Tuple[str, ...]:
        """All errors in the user's own entries."""
        return (*self.invalid.values(), *([self.file_error] if self.file_error else []))

    def find(self, name: str) -> ModelEntry:
        """What is known about a model, even one without a file."""
        self._require_valid(name)
        everything = {**self.without_file, **self.entries}
        if name not in everything:
            raise ModelError(f"{self.path} has no model {name!r}{_suggestion(name, everything)}")
        return everything[name]

    def require(self, name: str, task: Optional[str] = None) -> ModelEntry:
        """A model that has a file to install and run, and is for `task` if one is given."""
        self._require_valid(name)
        everything = {**self.without_file, **self.entries}
        suitable = [entry.name for entry in everything.values() if task in (None, entry.task)]
        if name not in everything and not suitable:
            raise ModelError(
                f"{self.path} has no model for {task}, and so not {name!r}; add one with {program()} engines import "
                "FILE, or remove models.catalog from your settings to use the program's own catalogue"
            )
        if name not in everything:
            wanted = f"model {name!r} for {task}" if task else f"model {name!r}"
            raise ModelError(f"{self.path} has no {wanted}{_suggestion(name, suitable)}")
        entry = everything[name]
        if task not in (None, entry.task):
            choices = " or ".join(sorted(other for other in suitable if other in self.entries))
            raise ModelError(
                f"model {name!r} is for {entry.task}, not for {task}" + (f"; choose {choices}" if choices else "")
            )
        if not entry.sha256:
            raise ModelError(
                f"model {name!r} has no file, and the catalogue has no download address for it; if you have its file: "
                f"{program()} engines import FILE --like {name}\n  source: {entry.source}"
            )
        return entry

    def _require_valid(self, name: str) -> None:
        error = self.invalid.get(name, self.file_error)
        if error and name not in self.entries:
            raise ModelError(error)


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    choices = f"; choose {' or '.join(names)}" if len(names) <= MAX_NAMES_LISTED else ""
    return suggestion(name, names, choices or f"; {program()} engines list shows all", cutoff=0.5)


def read_catalog(path: Path) -> Catalog:
    """The entries of this file, and the user's own from `my_models.yaml` next to it.

    An error in this file raises ModelError. An error in one of the user's own entries makes only that one unusable.
    """
    if path.absolute().parent == PROGRAM_FOLDER / "engines":
        lay_out_program_folder()
    if not path.is_file():
        raise ModelError(f"there is no catalogue of models {path}; check models.catalog in your settings")
    described: Dict[str, ModelEntry] = {}
    for key, value in _models_in(path):
        entry = read_entry(path, key.text, value.value(), key.place)
        described[entry.name] = entry
    for entry in list(described.values()):
        for alias in entry.aliases:
            if alias in described:
                raise ModelError(f"{path}: model {entry.name!r}: aliases: there is already a model {alias!r}")
            described[alias] = replace(entry, name=alias, file=entry.file.with_name(f"{alias}.onnx"), aliases=())
    entries = {name: entry for name, entry in described.items() if entry.sha256}
    without_file = {name: entry for name, entry in described.items() if not entry.sha256}
    own_file = path.with_name(MY_MODELS)
    if not own_file.is_file() or own_file == path:
        return Catalog(path, entries, without_file)
    own: Dict[str, ModelEntry] = {}
    invalid: Dict[str, str] = {}
    try:
        for key, value in _models_in(own_file):
            name = key.text
            if name in entries:
                invalid[name] = f"{key.place}: model {name!r}: the catalogue has a model of this name; rename yours"
                continue
            try:
                own[name] = read_entry(own_file, name, value.value(), key.place)
            except ModelError as error:
                invalid[name] = f"{error}; fix the entry, or import the model again with --replace"
    except ModelError as error:
        file_error = f"{error}; fix it to use your own models and to add others"
        return Catalog(path, entries, without_file, file_error=file_error)
    return Catalog(path, {**entries, **own}, without_file, invalid)


def _models_in(path: Path) -> Iterator[Tuple[YamlNode, YamlNode]]:
    root = read_yaml(path, ModelError)
    if root is not None:
        yield from root.entries("the catalogue")
    elif path.name != MY_MODELS:
        raise ModelError(f"{path} contains no models")


def read_entry(path: Path, name: str, values: Any, place: str = "") -> ModelEntry:
    """The entry `name: values` of the catalogue file `path`; `place` is its place for messages, such as FILE:LINE."""
    return _EntryReader(path, name, values, place or str(path)).read()


class _EntryReader:
    """Takes the values out of one entry; raises ModelError for what is missing, invalid or unknown."""

    def __init__(self, path: Path, name: str, values: Any, place: str) -> None:
        self._path, self._name, self._place = path, name, place
        self._require(isinstance(values, dict), "expected lines 'key: value'")
        self._values: Dict[str, Any] = dict(values)

    def read(self) -> ModelEntry:
        task = self._one_of("task", TASKS)
        family = self._take("family", str)
        has_file = self._path.name == MY_MODELS or bool({"file", "sha256"} & set(self._values))
        file = self._take("file", str) if has_file else f"{self._name}.onnx"
        sha256 = self._hash("sha256") if has_file else ""
        int8_file, int8_sha256 = self._int8() if {"int8_file", "int8_sha256"} & set(self._values) else (None, "")
        size_bytes = self._take("size_bytes", int) if "size_bytes" in self._values else None
        self._require(size_bytes is None or size_bytes > 0, f"size_bytes must be a number of bytes, not {size_bytes}")
        figures = self._take("figures", dict, default={})
        self._require(
            all(isinstance(text, str) for figure in figures.items() for text in figure),
            f"figures must be lines 'what: text', not {figures!r}",
        )
        aliases = self._take("aliases", list, default=[]) if not has_file else []
        self._require(all(isinstance(alias, str) for alias in aliases), f"aliases must be names, not {aliases!r}")
        entry = ModelEntry(
            name=self._name,
            task=task,
            family=family,
            file=self._path.parent / file,
            sha256=sha256,
            int8_file=int8_file,
            int8_sha256=int8_sha256,
            preprocessing=self._preprocessing(),
            licence=self._take("licence", str),
            source=self._take("source", str),
            notes=self._take("notes", str, default=""),
            source_file=self._path,
            built_in=self._take("built_in", bool, default=False),
            url=self._take("url", str, default=""),
            size_bytes=size_bytes,
            commercial_use=self._take("commercial_use", bool, default=True),
            figures=dict(figures),
            card=self._take("card", str, default=""),
            aliases=tuple(aliases),
            **(self._detection(family) if task == "detection" else self._face_input(task, family)),
        )
        self._require(not self._values, f"unknown: {', '.join(map(str, self._values))}")
        return entry

    def _hash(self, key: str) -> str:
        found: str = self._take(key, str).lower()
        self._require(
            re.fullmatch("[0-9a-f]{64}", found) is not None,
            f"{key} must be 64 hexadecimal digits, as sha256sum prints them, not {found!r}",
        )
        return found

    def _int8(self) -> Tuple[Path, str]:
        return self._path.parent / self._take("int8_file", str), self._hash("int8_sha256")

    def _preprocessing(self) -> Preprocessing:
        channels = self._one_of("channels", ("bgr", "rgb"))
        first, second, third = self._numbers("mean", 3)
        divisor = float(self._take("divisor", (int, float)))
        self._require(divisor != 0, "divisor must not be 0")
        return Preprocessing(channels, (first, second, third), divisor)

    def _detection(self, family: str) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for key, default in zip(("min_score", "photo_score"), FAMILY_SCORES.get(family, DEFAULT_SCORES)):
            found[key] = float(self._take(key, (int, float), default=default))
            self._require(0 < found[key] <= 1, f"{key} must be above 0 and no more than 1, not {found[key]:g}")
        if family == "retinaface":
            levels = self._take("min_sizes", list)
            self._require(
                all(isinstance(sides, list) and all(isinstance(side, int) for side in sides) for sides in levels),
                f"min_sizes must be lists of whole numbers, one list per stride, not {levels!r}",
            )
            self._require_finite("min_sizes", *(side for sides in levels for side in sides))
            found["min_sizes"] = tuple(tuple(sides) for sides in levels)
        if family == "retinaface_mxnet":
            found["landmark_scale"] = float(self._take("landmark_scale", (int, float), default=1.0))
        return found

    def _face_input(self, task: str, family: str) -> Dict[str, Any]:
        """For models that take a picture of one face."""
        found: Dict[str, Any] = {}
        if task == "embedding" or family in DEFAULT_ENLARGE or "crop" in self._values:
            width, height = self._numbers("crop", 2)
            found["crop"] = int(width), int(height)
        if task == "embedding":
            found["dimensions"] = self._take("dimensions", int)
            found["threshold"] = float(self._take("threshold", (int, float)))
            if "reference" in self._values:
                found["reference"] = self._path.parent / self._take("reference", str)
        elif family in DEFAULT_ENLARGE:
            factor = float(self._take("enlarge", (int, float), default=DEFAULT_ENLARGE[family]))
            if family == "mask":
                valid, expected = factor == 0, "0, the aligned face,"
            elif family == "gender_age":
                valid, expected = factor >= 0, "0 or more"
            else:
                valid, expected = factor > 0, "above 0"
            self._require(valid, f"enlarge must be {expected} for the family {family}, not {factor:g}")
            found["enlarge"] = factor
        return found

    def _numbers(self, key: str, count: int) -> Tuple[float, ...]:
        values = self._take(key, list)
        self._require(
            len(values) == count and all(isinstance(value, (int, float)) for value in values),
            f"{key} must be {count} numbers, not {values!r}",
        )
        self._require_finite(key, *values)
        return tuple(float(value) for value in values)

    def _one_of(self, key: str, choices: Tuple[str, ...]) -> str:
        value = str(self._take(key, str))
        self._require(value in choices, f"{key} must be {' or '.join(choices)}, not {value!r}")
        return value

    def _take(self, key: str, kind: Any, default: Optional[Any] = None) -> Any:
        value = self._values.pop(key, default)
        self._require(value is not None, f"{key} is missing")
        # A bool is an int to Python, but not a number in a catalogue.
        is_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        self._require(is_kind, f"{key} must not be {value!r}")
        self._require_finite(key, value)
        return value

    def _require_finite(self, key: str, *values: Any) -> None:
        """Raises for NaN, infinity, and whole numbers too large for a float."""
        for value in values:
            try:
                number = float(value) if isinstance(value, (int, float)) else 0
            except OverflowError:
                number = math.inf
            self._require(math.isfinite(number), f"{key} must be a finite number, not {number:g}")

    def _require(self, is_valid: bool, error: str) -> None:
        if not is_valid:
            raise ModelError(f"{self._place}: model {self._name!r}: {error}")
