"""The TensorRT engines that belong to a model of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import List

from app.inference.engine_files import engines_of
from app.models.catalog import Catalog
from app.models.entry import ModelEntry


def engines_built_from(entry: ModelEntry, catalog: Catalog) -> List[Path]:
    return engines_of(entry.file, [other.file for other in catalog.entries.values()])
