"""Which engines on this device belong to a model of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import List

from app.inference.engine_card import engines_beside
from app.models.catalog import Catalog
from app.models.entry import ModelEntry


def engines_built_from(entry: ModelEntry, catalog: Catalog) -> List[Path]:
    """Those beside the model, unless a longer name claims them."""
    stems = [other.file.stem for other in catalog.entries.values()]

    def owner(path: Path) -> str:
        return max((stem for stem in stems if path.name.startswith(stem)), key=len, default="")

    return [path for path in engines_beside(entry.file) if owner(path) == entry.file.stem]
