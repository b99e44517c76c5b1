"""What the catalogue says of networks that many people have: what no file holds and nobody should have to look up."""

from __future__ import annotations

import dataclasses
import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from app.models.catalog import DEFAULT_ENLARGE, Catalog
from app.models.entry import ModelEntry, sha256_of

Facts = Mapping[str, Any]

UNKNOWN_LICENCE = "unknown, yours to know"


class How(str, enum.Enum):
    """By what a network is known."""

    SAID = "as you say"
    SAME_FILE = "by its SHA-256"
    NAMED = "by its name"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Known:
    """An entry that may describe the file at hand."""

    entry: ModelEntry
    how: How

    @property
    def is_said(self) -> bool:
        return self.how is How.SAID


def known_by_hash(path: Path, catalog: Catalog, family: str) -> Optional[Known]:
    """The catalogue's own entry for exactly this file, unless it is wanted as one of another family."""
    sha256 = sha256_of(path)
    same = [
        entry
        for entry in catalog.entries.values()
        if entry.sha256 == sha256 and entry.source_file == catalog.path and family in ("", entry.family)
    ]
    return Known(same[0], How.SAME_FILE) if same else None


def known_by_name(stem: str, catalog: Catalog) -> Optional[Known]:
    """The entry after which a file is called, perhaps with more words behind: glintr100.onnx, glintr100_fp16.onnx."""
    words = f"{_plain(stem)}_"
    fitting = [
        entry
        for entry in (*catalog.entries.values(), *catalog.without_file.values())
        if _is_public(entry, catalog) and words.startswith(f"{_plain(entry.name)}_")
    ]
    return Known(max(fitting, key=lambda entry: len(entry.name)), How.NAMED) if fitting else None


def contradictions(entry: ModelEntry, task: str, family: str, facts: Facts) -> List[str]:
    """In what the file differs from the entry, in words; what the file shows itself is beyond doubt."""
    if (task, family) != (entry.task, entry.family):
        return [f"it is {family} and not {entry.family}"]
    found = []
    if "crop" in facts and entry.crop != (0, 0) and tuple(facts["crop"]) != entry.crop:
        found.append(f"it takes crops of {_sides(facts['crop'])} and not of {_sides(entry.crop)}")
    if "dimensions" in facts and facts["dimensions"] != entry.dimensions:
        found.append(f"it gives {facts['dimensions']} numbers and not {entry.dimensions}")
    return found


def described_facts(entry: ModelEntry) -> Dict[str, Any]:
    """What the entry says and files do not, in the catalogue's own keys. Anchors can be measured, and are."""
    pixels = entry.preprocessing
    facts: Dict[str, Any] = {
        "channels": pixels.channels,
        "mean": [plain_number(value) for value in pixels.mean],
        "divisor": plain_number(pixels.divisor),
    }
    if entry.family == "retinaface_mxnet":
        facts["landmark_scale"] = entry.landmark_scale
    if entry.task == "embedding":
        facts["threshold"] = entry.threshold
    if entry.task == "detection":
        facts["min_score"] = entry.min_score
    if entry.family in DEFAULT_ENLARGE:
        facts["enlarge"] = plain_number(entry.enlarge)
    return facts


def terms(entry: Optional[ModelEntry], licence: str, source: str) -> Dict[str, Any]:
    """Under which terms a network is had, and from whom; the user's own word for the licence counts most."""
    if entry is None or licence:
        return {"licence": licence or UNKNOWN_LICENCE, "source": entry.source if entry else source}
    published = {"licence": entry.licence, "source": entry.source}
    return published if entry.commercial_use else {**published, "commercial_use": False}


def takes_plain_pixels(entry: ModelEntry) -> bool:
    """Whether mean and scale are inside the network."""
    return entry.preprocessing == dataclasses.replace(entry.preprocessing, mean=(0.0, 0.0, 0.0), divisor=1.0)


def _is_public(entry: ModelEntry, catalog: Catalog) -> bool:
    """Names of the user's own models, and of those that come with this program, say nothing of other files."""
    return entry.source_file == catalog.path and not entry.built_in


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _sides(size: Any) -> str:
    return "x".join(map(str, size))


def plain_number(value: float) -> float:
    """104 instead of 104.0, as one would write it."""
    return int(value) if value == int(value) else value


def in_words(facts: Facts) -> str:
    told = ("channels", "mean", "divisor", "landmark_scale", "enlarge", "min_score", "threshold")
    return ", ".join(f"{key} {facts[key]}" for key in told if key in facts)
