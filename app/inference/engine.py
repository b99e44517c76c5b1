"""The interface of every backend: a network with named inputs and outputs that can be run and closed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np

from app.text import program


@dataclass(frozen=True)
class NetworkSpec:
    """A network to open and how it will be used. The caller has checked the file against its hash."""

    name: str
    path: Path
    """The ONNX file. Engines built from it are stored next to it."""
    sha256: str
    largest_input: Tuple[int, int, int, int]
    """The largest input of one run: batch, channels, height, width."""
    precision: str = "auto"
    """One of `models.precision`; `auto` is the fastest that keeps the accuracy."""
    threads: int = 0
    """CPU threads; 0 = one for each core."""
    pictures: Optional[Callable[[], Iterator[np.ndarray]]] = None
    """Typical inputs (1 x 3 x height x width each) to calibrate int8 with. Raises ModelError if there are too few."""
    int8_path: Optional[Path] = None
    """The network in int8 for processors, if there is one; checked like `path`. TensorRT makes its own."""
    exact_precision: bool = False
    """Fail if the precision is not available, instead of using another one."""

    @property
    def build_command(self) -> str:
        """The command that builds a TensorRT engine for it."""
        precision = "" if self.precision == "auto" else f" --precision {self.precision}"
        return f"{program()} engines build {self.name}{precision}"


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and type of one input or output."""

    name: str
    shape: Tuple[Optional[int], ...]
    """None stands for a size that may differ from run to run."""
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.name} {' x '.join('?' if size is None else str(size) for size in self.shape)} {self.dtype}"


class Engine(Protocol):
    """A loaded network. Used from one thread at a time; its opener closes it."""

    @property
    def inputs(self) -> Tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> Tuple[TensorSpec, ...]: ...

    @property
    def max_batch(self) -> Optional[int]:
        """The largest batch of one run if the batch size is free; None: unlimited."""
        ...

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """The outputs by name, as arrays that stay valid after the next run."""
        ...

    def close(self) -> None: ...


def misfit(inputs: Sequence[TensorSpec], feeds: Mapping[str, np.ndarray]) -> str:
    """Why a network cannot take these inputs; empty if it can, so that a failure is the backend's."""
    expected = ", ".join(map(str, inputs))
    given = ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in feeds.items())
    fits = {spec.name for spec in inputs} == set(feeds) and all(
        spec.dtype == feeds[spec.name].dtype
        and len(spec.shape) == feeds[spec.name].ndim
        and all(size in (None, side) for size, side in zip(spec.shape, feeds[spec.name].shape))
        for spec in inputs
    )
    return "" if fits else f"it got the input {given}; it takes {expected}"


def batch_size(engine: Engine) -> Optional[int]:
    """Items in one run: exactly this many if the batch is fixed, otherwise the maximum; None: unlimited."""
    return _fixed_batch(engine) or engine.max_batch


def run_in_batches(engine: Engine, items: np.ndarray) -> Dict[str, np.ndarray]:
    """The network's outputs for all items (N x …), as if it had been run on all of them at once.

    A network with a fixed batch gets its last batch padded with copies of the last item; their outputs are dropped.
    """
    (network_input,) = engine.inputs
    fixed = _fixed_batch(engine)
    batch = batch_size(engine) or len(items)
    if batch == len(items):
        return engine.run({network_input.name: items})
    runs: List[Dict[str, np.ndarray]] = []
    for start in range(0, len(items), batch):
        group = items[start : start + batch]
        padding = batch - len(group) if fixed else 0
        if padding:
            group = np.concatenate([group, np.repeat(group[-1:], padding, axis=0)])
        outputs = engine.run({network_input.name: group})
        runs.append({name: value[: len(group) - padding] for name, value in outputs.items()})
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _fixed_batch(engine: Engine) -> Optional[int]:
    (network_input,) = engine.inputs
    return network_input.shape[0] if network_input.shape else None
