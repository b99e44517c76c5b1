"""Feature maps of a network's first blocks, computed once for several variations of each face and kept on disk.

A network that starts from the embedder keeps its first blocks. They cost two thirds of the arithmetic; without them a
step takes a fifth of the time.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from training.augment import network_input
from training.networks.mobilefacenet import PIXEL_SCALE, PIXEL_SHIFT, MobileFaceNet

log = logging.getLogger(__name__)

AT_ONCE = 32
LOG_EVERY = 100


class EarlyMaps:
    """N maps on disk, as bfloat16, the arithmetic of training."""

    def __init__(self, path: Path) -> None:
        self._stored = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._stored)

    def take(self, rows: np.ndarray) -> Tensor:
        """Maps in the memory layout of training, channels last."""
        return torch.from_numpy(self._stored[rows]).view(torch.bfloat16).permute(0, 3, 1, 2)


@torch.no_grad()
def write_early_maps(
    path: Path, network: MobileFaceNet, sections: int, draw: Callable[[int], np.ndarray], count: int
) -> None:
    """The maps of `count` pictures (112×112 BGR) after so many sections; `draw` gives a picture by its number."""
    if path.exists():
        log.info("%s is there already", path)
        return
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    stored = None
    for start in range(0, count, AT_ONCE):
        pictures = np.stack([draw(number) for number in range(start, min(start + AT_ONCE, count))])
        maps = torch.from_numpy(network_input(pictures)).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            maps = maps * PIXEL_SCALE + PIXEL_SHIFT
            for section in network.sections()[:sections]:
                maps = section(maps)
        found = maps.to(torch.bfloat16).permute(0, 2, 3, 1).contiguous().view(torch.int16).numpy()
        if stored is None:
            stored = np.lib.format.open_memmap(partial, "w+", np.int16, (count, *found.shape[1:]))
        stored[start : start + len(found)] = found
        if start // AT_ONCE % LOG_EVERY == 0:
            log.info("%s: %d of %d", path.name, start, count)
    partial.rename(path)
