"""Feeding any number of items to a network, whatever batch size it was built for."""

from __future__ import annotations

from typing import Dict, List, Optional

import numpy as np

from app.inference.engine import Engine


def largest_run(engine: Engine) -> Optional[int]:
    """How many items go through in one run: exactly as many where the batch is fixed, at most, or (None) any number."""
    (network_input,) = engine.inputs
    fixed = network_input.shape[0] if network_input.shape else None
    return fixed or engine.max_batch


def run_in_batches(engine: Engine, items: np.ndarray) -> Dict[str, np.ndarray]:
    """The network's outputs for all items (N x …), as if it had been run on all of them at once.

    A network with a free batch size gets them in one run, or as many at a time as it takes at most; one built for
    exactly B gets B at a time, the last group filled up with its own last item, whose surplus answers are dropped.
    """
    (network_input,) = engine.inputs
    fixed = network_input.shape[0] if network_input.shape else None
    batch = largest_run(engine) or len(items)
    if batch == len(items):
        return engine.run({network_input.name: items})
    runs: List[Dict[str, np.ndarray]] = []
    for start in range(0, len(items), batch):
        group = items[start : start + batch]
        missing = batch - len(group) if fixed else 0
        if missing:
            group = np.concatenate([group, np.repeat(group[-1:], missing, axis=0)])
        outputs = engine.run({network_input.name: group})
        runs.append({name: value[: len(group) - missing] for name, value in outputs.items()})
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
