"""Engines for models of the catalogue: what the networks of a run are asked for, handed to the builder."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, Optional

import numpy as np

from app.inference.build import KeptEngine, build_engine
from app.inference.build_job import BuildWishes as BuildWishes
from app.inference.place import place_here
from app.settings import DetectionSettings, ModelSettings
from app.vision.calibration_pictures import calibration_inputs
from app.vision.catalog import ModelEntry
from app.vision.loading import largest_input_of, network_of


def build_for(
    entry: ModelEntry,
    wishes: BuildWishes,
    models: ModelSettings,
    detection: DetectionSettings,
    pictures: Optional[Callable[[], Iterable[np.ndarray]]],
    tell: Callable[[str], None],
) -> KeptEngine:
    """The model's engine for this device, in the precision of the settings or the next that can be built."""
    here, gpu = place_here()

    def inputs(of: Callable[[], Iterable[np.ndarray]]) -> Callable[[], Iterator[np.ndarray]]:
        return lambda: calibration_inputs(entry, of(), models, detection)

    return build_engine(
        network_of(entry, models, largest_input_of(entry, detection)),
        wishes,
        here=here,
        gpu_memory=gpu.memory_bytes,
        pictures=None if pictures is None else inputs(pictures),
        tell=tell,
    )
