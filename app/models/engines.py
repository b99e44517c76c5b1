"""TensorRT engines and measured backends for models of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Optional

from app.errors import ModelError
from app.inference.backend_choices import BackendChoice
from app.inference.backends import OpenedNetwork, open_network, remembered_choice
from app.inference.build import build_engine
from app.inference.build import precisions_to_try as precisions_to_try
from app.inference.engine_files import EngineFile, engines_of
from app.inference.tensorrt_api import current_target
from app.inference.tensorrt_builder import BuildOptions as BuildOptions
from app.models.catalog import Catalog
from app.models.entry import ModelEntry
from app.models.families import can_run

if TYPE_CHECKING:
    from app.models.loading import ModelLoader


def require_buildable(catalog: Catalog, name: str) -> None:
    """Raises ModelError unless the model can be run and its file is installed and valid."""
    entry = catalog.require(name)
    if not can_run(entry):
        raise ModelError(f"{entry.name}: this version does not support the family {entry.family}")
    entry.verified_file()


def engines_built_from(entry: ModelEntry, catalog: Catalog) -> List[Path]:
    """The engine files of a model."""
    return engines_of(entry.file, [other.file for other in catalog.entries.values()])


def build_for(
    loader: ModelLoader, entry: ModelEntry, options: BuildOptions, report: Callable[[str], None]
) -> EngineFile:
    """Builds an engine for this machine, in the precision of the settings or the next one that works."""
    return build_engine(loader.network(entry), options, current_target(), report)


def measure_backends(loader: ModelLoader, entry: ModelEntry) -> OpenedNetwork:
    """Measures which backend is fastest on this machine, and remembers it. The returned network is closed."""
    choice = open_network(
        loader.network(entry), loader.settings.models.backend, build_missing=False, measure_again=True
    )
    choice.engine.close()
    return choice


def remembered_backend(loader: ModelLoader, entry: ModelEntry) -> Optional[BackendChoice]:
    """The measured choice of a backend that a start would use; None if nothing was measured."""
    if not can_run(entry) or not entry.file.is_file():
        return None
    return remembered_choice(loader.network(entry), loader.settings.models.backend)
