"""The models that can be chosen, as data: `engines/catalog.yaml`.

Another model of a known family is another entry there, and no code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

import yaml

from app.errors import ModelError
from app.models.entry import MY_MODELS, ModelEntry
from app.text import program, suggestion
from app.vision.preprocessing import Preprocessing

TASKS = ("detection", "embedding", "attributes", "landmarks", "antispoof", "quality")

FAMILIES_WITH_ANCHORS = ("retinaface",)
"""Families whose boxes are counted from anchors that differ from model to model."""

FAMILIES_WITH_LANDMARK_SCALE = ("retinaface_mxnet",)
"""Families whose landmark offsets differ by a factor from model to model."""

DEFAULT_ENLARGE: Mapping[str, float] = {"gender_age": 1.5, "mask": 0, "landmarks106": 1.5, "antispoof": 2.7}
"""Families that look at a face that was found, and how much of its surroundings their networks usually see."""

DEFAULT_MIN_SCORE = 0.6
MIN_SCORES: Mapping[str, float] = {"scrfd": 0.5, "centerface": 0.5}
"""Families whose scores run lower than others', and the score from which their makers count a face by default."""

MAX_NAMES_LISTED = 4


@dataclass(frozen=True)
class Catalog:
    """All entries of one catalogue file, by name."""

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


def read_catalog(path: Path) -> Catalog:
    """All entries, checked, and the user's own beside them; file names are meant from the catalogue's own folder."""
    everything = _with_other_names(path, _read_entries(path))
    entries = {name: entry for name, entry in everything.items() if entry.sha256}
    without_file = {name: entry for name, entry in everything.items() if not entry.sha256}
    own_file = path.with_name(MY_MODELS)
    if not own_file.is_file() or own_file == path:
        return Catalog(path, entries, without_file)
    try:
        facts = _content(own_file)
    except ModelError as error:
        file_error = f"{error}; mend it: until then your own models are left out, and none can be added"
        return Catalog(path, entries, without_file, file_error=file_error)
    own, invalid = _read_own(own_file, facts, entries)
    return Catalog(path, {**entries, **own}, without_file, invalid)


def _read_own(
    path: Path, content: Mapping[str, Any], shipped: Mapping[str, ModelEntry]
) -> Tuple[Dict[str, ModelEntry], Dict[str, str]]:
    """The user's entries, and what is wrong with those that cannot be used: a slip in one leaves the others alone."""
    own: Dict[str, ModelEntry] = {}
    invalid: Dict[str, str] = {}
    for name, facts in content.items():
        if name in shipped:
            invalid[name] = f"{path}: model {name!r}: the program's own of this name is used; give yours another name"
            continue
        try:
            own[name] = read_entry(path, name, facts)
        except ModelError as error:
            invalid[name] = f"{error}; mend the entry, or import the model again with --replace"
    return own, invalid


def read_entry(path: Path, name: str, facts: Any) -> ModelEntry:
    """The entry that these facts make in that file."""
    return _EntryReader(path, name, facts).read()


def _read_entries(path: Path) -> Dict[str, ModelEntry]:
    return {name: read_entry(path, name, facts) for name, facts in _content(path).items()}


def _content(path: Path) -> Dict[str, Any]:
    """Facts by name, not looked at."""
    content = _parsed(path, _text(path))
    if content is None and path.name == MY_MODELS:
        return {}
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected one entry a model, found {type(content).__name__}")
    return {str(name): facts for name, facts in content.items()}


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        if path.name == MY_MODELS:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        raise ModelError(
            f"{path}: the catalogue of models cannot be read: {error.strerror}\n"
            "  start the program in its own folder, or name the file in config.yaml: models.catalog"
        ) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ModelError(f"{path}:{line}: this is not UTF-8 text: {error.reason}") from error


def _parsed(path: Path, text: str) -> Any:
    place = str(path)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        problem = error.problem
        if error.problem_mark is not None:
            place = f"{path}:{error.problem_mark.line + 1}"
    except yaml.reader.ReaderError as error:
        problem = str(error).splitlines()[0]
        place = f"{path}:{text.count(chr(10), 0, error.position) + 1}"
    except ValueError as error:  # of a date that is none, for example
        problem = str(error)
    raise ModelError(f"{place}: this is not valid YAML: {problem}")


def _with_other_names(path: Path, entries: Mapping[str, ModelEntry]) -> Dict[str, ModelEntry]:
    """An entry for each name under which people have the same network, as if it stood in the file."""
    everything = dict(entries)
    for entry in entries.values():
        for name in entry.aliases:
            if name in everything:
                raise ModelError(f"{path}: model {entry.name!r}: aliases: there is a model {name!r} already")
            everything[name] = replace(entry, name=name, file=entry.file.with_name(f"{name}.onnx"), aliases=())
    return everything


class _EntryReader:
    """Takes one entry's facts out of its mapping and complains about what is missing, wrong or left over."""

    def __init__(self, path: Path, name: str, facts: Any) -> None:
        self.path, self.name = path, name
        if not isinstance(facts, dict):
            raise self._error("expected lines 'key: value'")
        self.facts: Dict[str, Any] = dict(facts)

    def read(self) -> ModelEntry:
        task = self._one_of("task", TASKS)
        family = self._take("family", str)
        is_described_only = self.path.name != MY_MODELS and not {"file", "sha256"} & set(self.facts)
        entry = ModelEntry(
            name=self.name,
            task=task,
            family=family,
            file=self.path.parent / (f"{self.name}.onnx" if is_described_only else self._take("file", str)),
            sha256="" if is_described_only else self._hash(),
            preprocessing=self._preprocessing(),
            licence=self._take("licence", str),
            source=self._take("source", str),
            notes=self._take("notes", str, default=""),
            source_file=self.path,
            built_in=self._take("built_in", bool, default=False),
            url=self._take("url", str, default=""),
            size_bytes=self._size(),
            commercial_use=self._take("commercial_use", bool, default=True),
            figures=self._figures(),
            card=self._take("card", str, default=""),
            aliases=self._other_names() if is_described_only else (),
            **self._facts_of_task(task, family),
        )
        if self.facts:
            raise self._error(f"unknown: {', '.join(map(str, self.facts))}")
        return entry

    def _facts_of_task(self, task: str, family: str) -> Dict[str, Any]:
        if task == "detection":
            return self._facts_of_detector(family)
        if task == "embedding":
            return {
                "crop": self._crop(),
                "dimensions": self._take("dimensions", int),
                "threshold": float(self._take("threshold", (int, float))),
            }
        if family in DEFAULT_ENLARGE:
            return {"crop": self._crop(), "enlarge": self._enlargement(family)}
        return {"crop": self._crop()} if "crop" in self.facts else {}

    def _enlargement(self, family: str) -> float:
        factor = float(self._take("enlarge", (int, float), default=DEFAULT_ENLARGE[family]))
        aligned_only, box_only = family == "mask", family in ("landmarks106", "antispoof")
        if factor < 0 or (aligned_only and factor) or (box_only and not factor):
            wanted = "0, the aligned face" if aligned_only else "a factor above 0" if box_only else "0 or more"
            raise self._error(f"enlarge must be {wanted} for the family {family}, not {factor:g}")
        return factor

    def _facts_of_detector(self, family: str) -> Dict[str, Any]:
        facts: Dict[str, Any] = {"min_score": self._min_score(family)}
        if family in FAMILIES_WITH_ANCHORS:
            facts["min_sizes"] = self._min_sizes()
        if family in FAMILIES_WITH_LANDMARK_SCALE:
            facts["landmark_scale"] = float(self._take("landmark_scale", (int, float), default=1.0))
        return facts

    def _min_score(self, family: str) -> float:
        usual = MIN_SCORES.get(family, DEFAULT_MIN_SCORE)
        score = float(self._take("min_score", (int, float), default=usual))
        if not 0 < score <= 1:
            raise self._error(f"min_score must be above 0 and at most 1, not {score:g}")
        return score

    def _other_names(self) -> Tuple[str, ...]:
        names = self._take("aliases", list, default=[])
        if not all(isinstance(name, str) for name in names):
            raise self._error(f"aliases must be names, not {names!r}")
        return tuple(names)

    def _hash(self) -> str:
        text = self._take("sha256", str).lower()
        if len(text) != 64 or set(text) - set("0123456789abcdef"):
            raise self._error(f"sha256 must be 64 hexadecimal digits, as sha256sum prints them, not {text!r}")
        return str(text)

    def _size(self) -> Optional[int]:
        if "size_bytes" not in self.facts:
            return None
        size: int = self._take("size_bytes", int)
        if size <= 0:
            raise self._error(f"size_bytes must be a number of bytes, not {size}")
        return size

    def _figures(self) -> Dict[str, str]:
        figures = self._take("figures", dict, default={})
        if not all(isinstance(value, str) for item in figures.items() for value in item):
            raise self._error(f"figures must be lines 'what: text', not {figures!r}")
        return dict(figures)

    def _preprocessing(self) -> Preprocessing:
        channels = self._one_of("channels", ("bgr", "rgb"))
        first, second, third = self._numbers("mean", 3)
        divisor = self._take("divisor", (int, float))
        if divisor == 0:
            raise self._error("divisor must not be 0")
        return Preprocessing(channels, (first, second, third), float(divisor))

    def _min_sizes(self) -> Tuple[Tuple[int, ...], ...]:
        levels = self._take("min_sizes", list)
        if not all(isinstance(sides, list) and all(isinstance(side, int) for side in sides) for sides in levels):
            raise self._error(f"min_sizes must be lists of whole numbers, one list a stride, not {levels!r}")
        self._require_finite("min_sizes", *(side for sides in levels for side in sides))
        return tuple(tuple(sides) for sides in levels)

    def _crop(self) -> Tuple[int, int]:
        width, height = self._numbers("crop", 2)
        return int(width), int(height)

    def _numbers(self, key: str, count: int) -> Tuple[float, ...]:
        values = self._take(key, list)
        if len(values) != count or not all(isinstance(value, (int, float)) for value in values):
            raise self._error(f"{key} must be {count} numbers, not {values!r}")
        self._require_finite(key, *values)
        return tuple(float(value) for value in values)

    def _one_of(self, key: str, choices: Tuple[str, ...]) -> str:
        value = self._take(key, str)
        if value not in choices:
            raise self._error(f"{key} must be {' or '.join(choices)}, not {value!r}")
        return str(value)

    def _take(self, key: str, kind: Any, default: Optional[Any] = None) -> Any:
        value = self.facts.pop(key, default)
        if value is None:
            raise self._error(f"{key} is missing")
        # A bool is an int to Python, but nobody means one where a number is asked for.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._error(f"{key} must not be {value!r}")
        self._require_finite(key, value)
        return value

    def _require_finite(self, key: str, *values: Any) -> None:
        """Raises for a number with which nothing can be computed: NaN, infinity, or too large for a float."""
        for value in values:
            try:
                number = float(value) if isinstance(value, (int, float)) else 0
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                raise self._error(f"{key} must be a finite number, not {number:g}")

    def _error(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: model {self.name!r}: {what}")


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    choices = f"; choose {' or '.join(names)}" if len(names) <= MAX_NAMES_LISTED else ""
    return suggestion(name, names, choices or f"; {program()} engines list shows all", cutoff=0.5)
