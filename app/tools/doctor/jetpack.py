"""Which JetPack is on a board, and what comes with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class JetPack:
    """One generation of Jetson's software, as NVIDIA's documents and public sources tell of it."""

    name: str
    first: Tuple[int, int]
    """The releases of Jetson Linux (L4T), from this one …"""
    last: Tuple[int, int]
    """… to this one."""
    tensorrt: str
    """Its version begins like this."""
    cuda: str
    memory_package: str
    """What gives Python the GPU's memory; empty where TensorRT is for a Python that is too old for this program."""


JETPACKS = (
    JetPack("4.6", (32, 6), (32, 6), "8.0", "10.2", ""),
    JetPack("4.6.1 to 4.6.6", (32, 7), (32, 7), "8.2", "10.2", ""),
    JetPack("5.1", (35, 2), (35, 6), "8.5", "11.4", "pycuda"),
    JetPack("6.0", (36, 3), (36, 3), "8.6", "12.2", "cuda-python~=12.6"),
    JetPack("6.1 or 6.2", (36, 4), (36, 5), "10.3", "12.6", "cuda-python~=12.6"),
    JetPack("7.0 or 7.1", (38, 2), (38, 4), "10.13", "13.0", "cuda-python~=13.0"),
    JetPack("7.2", (39, 0), (39, 99), "10.16", "13.2", "cuda-python~=13.0"),
)


def jetpack_of(l4t_release: str) -> Optional[JetPack]:
    """The JetPack of a release such as `36.4.3`; None for one that this program does not know."""
    numbers = [int(number) for number in re.findall(r"\d+", l4t_release)]
    release = (numbers[0], numbers[1] if len(numbers) > 1 else 0)
    return next((jetpack for jetpack in JETPACKS if jetpack.first <= release <= jetpack.last), None)


def power_mode(nvpmodel_text: str) -> str:
    """The mode's name in what `nvpmodel -q` prints; empty when it cannot be told."""
    found = re.search(r"Power Mode:\s*(\S+)", nvpmodel_text)
    return found.group(1) if found else ""
