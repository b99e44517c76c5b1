"""What the catalogue knows about public networks: facts that their files do not contain, such as preprocessing."""

from __future__ import annotations

import dataclasses
import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from app.models.catalog import DEFAULT_ENLARGE, Catalog
from app.models.entry import ModelEntry, sha256_of

UNKNOWN_LICENCE = "unknown"


class MatchedBy(str, enum.Enum):
    """How a catalogue entry was found for a file."""

    USER = "as requested"
    SHA256 = "by its SHA-256"
    NAME = "by its name"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class KnownNetwork:
    """A catalogue entry that may describe the file."""

    entry: ModelEntry
    matched_by: MatchedBy


def known_by_hash(path: Path, catalog: Catalog, family: str) -> Optional[KnownNetwork]:
    """The entry of the shipped catalogue for this very file, unless the user asks for another family."""
    sha256 = sha256_of(path)
    same = [
        entry
        for entry in catalog.entries.values()
        if entry.sha256 == sha256 and entry.source_file == catalog.path and family in ("", entry.family)
    ]
    return KnownNetwork(same[0], MatchedBy.SHA256) if same else None


def known_by_name(stem: str, catalog: Catalog) -> Optional[KnownNetwork]:
    """The entry whose name the file name starts with: glintr100.onnx, glintr100_fp16.onnx."""
    words = f"{_plain(stem)}_"
    fitting = [
        entry
        for entry in (*catalog.entries.values(), *catalog.without_file.values())
        if entry.source_file == catalog.path and not entry.built_in and words.startswith(f"{_plain(entry.name)}_")
    ]
    return KnownNetwork(max(fitting, key=lambda entry: len(entry.name)), MatchedBy.NAME) if fitting else None


def contradictions(entry: ModelEntry, task: str, family: str, facts: Mapping[str, Any]) -> List[str]:
    """How the file differs from the entry, in words. What the file itself shows is certain."""
    if (task, family) != (entry.task, entry.family):
        return [f"its family is {family}, not {entry.family}"]
    found = []
    if "crop" in facts and entry.crop != (0, 0) and tuple(facts["crop"]) != entry.crop:
        found.append(f"its crops are {_size_text(facts['crop'])}, not {_size_text(entry.crop)}")
    if "dimensions" in facts and facts["dimensions"] != entry.dimensions:
        found.append(f"its embeddings have {facts['dimensions']} values, not {entry.dimensions}")
    return found


def described_facts(entry: ModelEntry) -> Dict[str, Any]:
    """The facts that files do not contain, with the keys of the catalogue. Anchors are missing: they are measured."""
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
    """Licence and source of a network; a licence that the user states takes precedence."""
    if entry is None or licence:
        return {"licence": licence or UNKNOWN_LICENCE, "source": entry.source if entry else source}
    published = {"licence": entry.licence, "source": entry.source}
    return published if entry.commercial_use else {**published, "commercial_use": False}


def takes_plain_pixels(entry: ModelEntry) -> bool:
    """Whether the network subtracts the mean and scales its input itself."""
    return entry.preprocessing == dataclasses.replace(entry.preprocessing, mean=(0.0, 0.0, 0.0), divisor=1.0)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _size_text(size: Any) -> str:
    return "x".join(map(str, size))


def plain_number(value: float) -> float:
    """104 instead of 104.0."""
    return int(value) if value == int(value) else value


def facts_text(facts: Mapping[str, Any]) -> str:
    keys = ("channels", "mean", "divisor", "landmark_scale", "enlarge", "min_score", "threshold")
    return ", ".join(f"{key} {facts[key]}" for key in keys if key in facts)
