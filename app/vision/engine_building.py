"""Engines for models of the catalogue: what the networks of a run are asked for, handed to the builder."""

from __future__ import annotations

from typing import Callable, Optional

from app.inference.build import KeptEngine, build_engine
from app.inference.build_job import BuildWishes as BuildWishes
from app.inference.place import place_here
from app.settings import DetectionSettings, ModelSettings
from app.vision.catalog import ModelEntry
from app.vision.loading import InputsFor, network_of


def build_for(
    entry: ModelEntry,
    wishes: BuildWishes,
    models: ModelSettings,
    detection: DetectionSettings,
    inputs_for: Optional[InputsFor],
    tell: Callable[[str], None],
) -> KeptEngine:
    """The model's engine for this device, in the precision of the settings or the next that can be built."""
    here, gpu = place_here()
    entry.verified_file()
    network = network_of(entry, models, detection, inputs_for)
    return build_engine(network, wishes, here=here, gpu_memory=gpu.memory_bytes, tell=tell)
