"""Which architecture a file's weights belong to, and whether they fill it exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Mapping, Tuple

import numpy as np

from app.errors import ModelError
from app.tools.importing.architectures import ARCHITECTURES, Architecture, recognise
from app.tools.importing.weights import COUNTER

HARMLESS = ("body.fc.", "body.avg.")
"""Classifiers of the pretraining that some checkpoints still carry."""

_NAMES_TOLD = 4


def fitting_architecture(path: Path, arrays: Mapping[str, np.ndarray]) -> Architecture:
    """The architecture whose weights these are, all of them and no others."""
    sizes = {name: array.size for name, array in arrays.items() if not name.endswith(COUNTER)}
    architecture = recognise(sizes)
    if architecture is None:
        raise ModelError(_unknown(path, sizes))
    expected = {name: int(np.prod(shape)) for name, shape in architecture.weight_shapes().items()}
    surplus = [name for name in sizes if name not in expected and not name.startswith(HARMLESS)]
    lacking = [name for name in expected if name not in sizes]
    other = [
        f"{name} with {sizes[name]} values instead of {size}"
        for name, size in expected.items()
        if sizes.get(name, size) != size
    ]
    if surplus or lacking or other:
        raise ModelError(
            f"{path}: this looks like {architecture.title}, but its weights do not fit it\n"
            f"  {_told('missing', lacking)}; {_told('of another size', other)}; {_told('not expected', surplus)}"
        )
    broken = [name for name in expected if not np.isfinite(arrays[name]).all()]
    if broken:
        raise ModelError(
            f"{path}: these weights hold values that are no numbers, the file is damaged: {_first(broken)}"
        )
    return architecture


def _unknown(path: Path, sizes: Mapping[str, int]) -> str:
    name, shared, count = _nearest(sizes)
    lines = [
        f"{path}: the {len(sizes)} weights in this file belong to no network that can be imported",
        f"  found: {_first(list(sizes))}",
        f"  known: {'; '.join(make().title for make in ARCHITECTURES.values())}",
    ]
    if shared:
        expected = [key for key in ARCHITECTURES[name]().weight_shapes() if key not in sizes]
        lines.append(f"  nearest: {name}, which shares {shared} of its {count} names; it also wants {_first(expected)}")
    lines.append("  where the network was made it can be exported as ONNX, which can be imported whatever is inside")
    return "\n".join(lines)


def _nearest(sizes: Mapping[str, int]) -> Tuple[str, int, int]:
    """Name of the architecture that shares the most names with the file, how many, and of how many."""
    wanted: Dict[str, List[str]] = {name: list(make().weight_shapes()) for name, make in ARCHITECTURES.items()}
    shared = {name: sum(key in sizes for key in keys) for name, keys in wanted.items()}
    best = max(shared, key=lambda name: shared[name] / len(wanted[name]))
    return best, shared[best], len(wanted[best])


def _told(what: str, names: List[str]) -> str:
    return f"{what}: {_first(names)}"


def _first(names: List[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    return ", ".join(names[:_NAMES_TOLD]) + more
