"""Embeddings of people whom nobody here knows, and of things that are no faces: what a face is compared with besides
the gallery.

One file per embedder, made by `training/reference.py`. It holds no pictures and no names.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.errors import ModelError
from app.identity.calibration import Certainty, certainty
from app.models.entry import ModelEntry


@dataclass(frozen=True, eq=False)
class ReferenceEmbeddings:
    """What one embedder makes of strangers and of non-faces; rows of unit length."""

    strangers: np.ndarray
    """N x D: one photo each of N people."""
    non_faces: np.ndarray
    """M x D: what a detector with a low minimum score marks in pictures without faces."""
    same_person: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """Similarities of two photos of one person, for many people."""

    @property
    def certainty(self) -> Certainty:
        """How certain it is that two faces are of one person, for the comparison of two pictures."""
        pairs = (self.strangers @ self.strangers.T)[np.triu_indices(len(self.strangers), 1)]
        return certainty(self.same_person, pairs, people=1)


def read_reference(path: Path, entry: ModelEntry) -> ReferenceEmbeddings:
    """The file's content. Raises ModelError where it is damaged or made with another embedder."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            made_with = str(stored["embedder_sha256"])
            strangers, non_faces = (_unit_rows(stored[name]) for name in ("strangers", "non_faces"))
            same_person = stored["same_person"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is damaged or not a reference ({error})\n  {_how_to_get(entry)}") from error
    if made_with != entry.sha256:
        raise ModelError(
            f"{path} was made with another embedder than {entry.name!r}\n"
            f"  expected SHA-256 {entry.sha256}\n"
            f"  found    SHA-256 {made_with}\n"
            f"  {_how_to_get(entry)}"
        )
    expected = entry.dimensions
    if strangers.shape[1:] != (expected,) or non_faces.shape[1:] != (expected,):
        raise ModelError(
            f"{path}: expected rows of {expected} numbers, found arrays of the shapes {strangers.shape} and "
            f"{non_faces.shape}\n  {_how_to_get(entry)}"
        )
    return ReferenceEmbeddings(strangers, non_faces, same_person)


def _unit_rows(stored: np.ndarray) -> np.ndarray:
    rows = stored.astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def _how_to_get(entry: ModelEntry) -> str:
    if entry.built_in:
        return "restore the built-in models with: git checkout -- engines"
    return f"make it with `python -m training.reference`, or remove `reference` from the entry in {entry.source_file}"
