"""Whether a server has the right model: by what it says of it, and by its answers to known pictures. Pure."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from app.inference.engine import TensorSpec
from app.inference.remote.protocol import ModelMetadata, RefusedError

INPUT = "crops"
"""The input of exported models, and of servers that do not describe theirs."""
MIN_COSINE = 0.999
"""Of a server's answers with this machine's, mean over the known pictures: fp16 has 0.9999, another model below 0.5."""
MAX_ERROR = 0.05
"""The same for values whose size counts: of the difference, as a share of the values. fp16 has 0.002."""


class Known(NamedTuple):
    """Pictures (N x H x W x 3, uint8, BGR) and the answers that the right model gives to them (N x D)."""

    pictures: np.ndarray
    answers: np.ndarray
    are_directions: bool = True
    """Whether only their direction counts, as that of embeddings."""

    def check(self, answers: np.ndarray) -> None:
        """Raises RefusedError if other answers to the first of the pictures are not those of the right model."""
        expected = self.answers[: len(answers)]
        if self.are_directions:
            lengths = np.linalg.norm(answers, axis=1) * np.linalg.norm(expected, axis=1)
            cosine = float(np.mean((answers * expected).sum(axis=1) / np.maximum(lengths, 1e-12)))
            is_same, found = cosine >= MIN_COSINE, f"their mean cosine is {cosine:.4f}, expected {MIN_COSINE} or more"
        else:
            error = float(np.linalg.norm(answers - expected) / max(np.linalg.norm(expected), 1e-12))
            is_same, found = (
                error <= MAX_ERROR,
                f"they differ by {error:.4f} of their size, expected {MAX_ERROR} or less",
            )
        if not is_same:
            raise RefusedError(
                "it has another model than this machine, or prepares pictures differently: both were asked about "
                f"known pictures, and {found}"
            )


def chosen_names(described: ModelMetadata, wanted: TensorSpec, output: TensorSpec) -> Tuple[str, str]:
    """The names of its input and output. Raises RefusedError."""
    fitting = [one for one in described.inputs if one.dtype == wanted.dtype and one.shape[-3:] == wanted.shape[1:]]
    if described.inputs and not (len(described.inputs) == 1 and fitting):
        found = ", ".join(map(str, described.inputs))
        raise RefusedError(
            f"its input is {found}, and should be {wanted}: `engines export-triton` makes a model that takes "
            "pictures as they are"
        )
    named = [one.name for one in described.outputs if one.name == output.name]
    if described.outputs and not named and len(described.outputs) > 1:
        raise RefusedError(f"it has no output {output.name}: found {', '.join(map(str, described.outputs))}")
    only = described.outputs[0].name if described.outputs else output.name
    return (fitting[0].name if fitting else INPUT), (named[0] if named else only)
