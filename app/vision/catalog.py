"""The models that can be chosen, as data: `engines/catalog.yaml`.

Another model of a known family is another entry there, and no code.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import yaml

from app.errors import ModelError
from app.vision.preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelEntry:
    """One model as the catalogue describes it."""

    name: str
    task: str
    """`detection` or `embedding`."""
    family: str
    """Which class reads its outputs; see `app/vision/loading.py`."""
    file: Path
    sha256: str
    preprocessing: Preprocessing
    licence: str
    source: str
    """Where the weights come from, in words."""
    min_sizes: Tuple[Tuple[int, ...], ...] = ()
    """Detection: the anchors' side lengths for each stride."""
    crop: Tuple[int, int] = (112, 112)
    """Embedding: width and height of the aligned crop."""
    dimensions: int = 0
    """Embedding: length of the vector."""
    threshold: float = 0.0
    """Embedding: the cosine from which two faces count as the same person, unless the user says otherwise."""
    notes: str = ""

    def verified_file(self) -> Path:
        """The network's file, proved to be the one that the catalogue means."""
        if not self.file.is_file():
            raise ModelError(
                f"model {self.name!r} is missing: there is no file {self.file}\n"
                f"  source: {self.source}\n"
                "  models that come with this program are restored by: git checkout -- engines"
            )
        found = hashlib.sha256(self.file.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"{self.file} is not the file that the catalogue describes as {self.name!r}\n"
                f"  expected SHA-256 {self.sha256}\n"
                f"  found    SHA-256 {found}\n"
                "  fetch it again; for a model of your own, write the found hash into the catalogue"
            )
        return self.file


@dataclass(frozen=True)
class Catalog:
    """All entries of one catalogue file, by name."""

    path: Path
    entries: Mapping[str, ModelEntry] = field(default_factory=dict)

    def entry(self, name: str, task: str) -> ModelEntry:
        """The entry with this name, which must be for this task."""
        suitable = sorted(entry.name for entry in self.entries.values() if entry.task == task)
        if name in suitable:
            return self.entries[name]
        if name in self.entries:
            raise ModelError(
                f"model {name!r} is for {self.entries[name].task}, not for {task}; choose {_either(suitable)}"
            )
        near = difflib.get_close_matches(name, suitable, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"choose {_either(suitable)}"
        raise ModelError(f"{self.path} has no model {name!r} for {task}; {hint}")


def read_catalog(path: Path) -> Catalog:
    """All entries, checked; file names in it are meant from the catalogue's own folder."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the catalogue of models cannot be read: {error}\n"
            "  start the program in its own folder, or name the file in config.yaml: models.catalog"
        ) from error
    except yaml.YAMLError as error:
        raise ModelError(f"{path}: this is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected one entry a model, found {type(content).__name__}")
    return Catalog(path, {str(name): _EntryReader(path, str(name), facts).read() for name, facts in content.items()})


class _EntryReader:
    """Takes one entry's facts out of its mapping and complains about what is missing, wrong or left over."""

    def __init__(self, path: Path, name: str, facts: Any) -> None:
        self.path, self.name = path, name
        if not isinstance(facts, dict):
            raise self._error("expected lines 'key: value'")
        self.facts: Dict[str, Any] = dict(facts)

    def read(self) -> ModelEntry:
        task = self._take("task", str)
        if task not in ("detection", "embedding"):
            raise self._error(f"task must be detection or embedding, not {task!r}")
        own: Dict[str, Any] = {}
        if task == "detection":
            own["min_sizes"] = self._min_sizes()
        else:
            width, height = self._numbers("crop", 2)
            own = {
                "crop": (int(width), int(height)),
                "dimensions": self._take("dimensions", int),
                "threshold": float(self._take("threshold", (int, float))),
            }
        entry = ModelEntry(
            name=self.name,
            task=task,
            family=self._take("family", str),
            file=self.path.parent / self._take("file", str),
            sha256=self._take("sha256", str).lower(),
            preprocessing=self._preprocessing(),
            licence=self._take("licence", str),
            source=self._take("source", str),
            notes=self._take("notes", str, default=""),
            **own,
        )
        if self.facts:
            raise self._error(f"unknown: {', '.join(self.facts)}")
        return entry

    def _preprocessing(self) -> Preprocessing:
        channels = self._take("channels", str)
        if channels not in ("bgr", "rgb"):
            raise self._error(f"channels must be bgr or rgb, not {channels!r}")
        first, second, third = self._numbers("mean", 3)
        divisor = self._take("divisor", (int, float))
        if divisor == 0:
            raise self._error("divisor must not be 0")
        return Preprocessing(channels, (first, second, third), float(divisor))

    def _min_sizes(self) -> Tuple[Tuple[int, ...], ...]:
        levels = self._take("min_sizes", list)
        if not all(isinstance(sides, list) and all(isinstance(side, int) for side in sides) for sides in levels):
            raise self._error(f"min_sizes must be lists of whole numbers, one list a stride, not {levels!r}")
        return tuple(tuple(sides) for sides in levels)

    def _numbers(self, key: str, count: int) -> Tuple[float, ...]:
        values = self._take(key, list)
        if len(values) != count or not all(isinstance(value, (int, float)) for value in values):
            raise self._error(f"{key} must be {count} numbers, not {values!r}")
        return tuple(float(value) for value in values)

    def _take(self, key: str, kind: Any, default: Optional[Any] = None) -> Any:
        value = self.facts.pop(key, default)
        if value is None:
            raise self._error(f"{key} is missing")
        if not isinstance(value, kind):
            raise self._error(f"{key} must not be {value!r}")
        return value

    def _error(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: model {self.name!r}: {what}")


def _either(names: Any) -> str:
    return " or ".join(names) if names else "none: the catalogue has no such model"
