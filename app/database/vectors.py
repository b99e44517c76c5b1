"""Embeddings as they are stored, and as pgvector takes them in its binary format, which loses nothing."""

from __future__ import annotations

import struct
from typing import Sequence

import numpy as np

from app.database.connection import Connection


class Binary(bytes):
    """A value in the binary format of its type in the database, which the query names (`%s::vector`)."""


def register_binary(connection: Connection) -> None:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class BinaryDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: Binary) -> bytes:
            return bytes(obj)

    connection.adapters.register_dumper(Binary, BinaryDumper)


def unit_rows(stored: Sequence[bytes], kind: str, dimension: int) -> np.ndarray:
    """Stored embeddings (N x D, float32) at unit length; rows of NaN for what is no such embedding."""
    rows = np.full((len(stored), dimension), np.nan, np.float32)
    for row, content in zip(rows, stored):
        if len(content) == dimension * np.dtype(kind).itemsize:
            row[:] = np.frombuffer(content, kind)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(np.isfinite(norms) & (norms > 0), rows / norms, np.nan).astype(np.float32)


def as_vector(row: np.ndarray) -> Binary:
    return Binary(struct.pack("!hh", len(row), 0) + row.astype(">f4").tobytes())


def as_vectors(rows: np.ndarray, vector_oid: int) -> Binary:
    """As `vector[]`; null for rows of NaN. `vector_oid` is the number of the type in this database."""
    is_null = np.isnan(rows[:, 0])
    parts = [struct.pack("!iiIii", 1, int(is_null.any()), vector_oid, len(rows), 1)]
    for row, null in zip(rows, is_null.tolist()):
        vector = as_vector(row)
        parts.append(struct.pack("!i", -1) if null else struct.pack("!i", len(vector)) + vector)
    return Binary(b"".join(parts))
