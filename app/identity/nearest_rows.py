"""Which rows of a gallery are most similar to a face: by looking at all of them, or along a graph (HNSW).

The scores found here may be rounded. Each search says by how much at most, and `PersonIndex` computes the
similarities that count from the rows themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np

from app.errors import GalleryError
from app.text import install_hint

ROWS_PER_BLOCK = 8192
LINKS = 32
"""Of each row in the graph, and twice as many on its lowest level."""
BUILD_BREADTH = 100
"""Candidates that are looked at for each row while the graph is built."""
SEARCH_BREADTH, CHECK_BREADTH = 1024, 64
"""Candidates that are looked at for each face; and for each row, when it is checked whether the graph leads to it."""
FEW_CHANGES, FEW_CHANGES_SHARE = 1000, 0.02
"""Rows that may be missing from the codes or be there in vain, before they are made again."""

UNIT_TOLERANCE = 1.001
"""How much longer than 1 an embedding may be."""


class Found(NamedTuple):
    """The rows that were found for N faces."""

    rows: np.ndarray
    """N x K. -1: there are no more, or the row was removed."""
    limit: np.ndarray
    """N: no other row is more similar than this, if all were looked at."""


def load_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise GalleryError(
            f"FAISS, which compares faces, cannot be imported ({error}): {install_hint('faiss-cpu')}"
        ) from error
    # For a few faces it is not worth waking other cores, which then spin while they are needed for video.
    faiss.omp_set_num_threads(1)
    # Two faces and more are multiplied with the rows at once, which reads the rows from memory once.
    faiss.cvar.distance_compute_blas_threshold = 2
    return faiss


def rounding_of_sums(dimension: int) -> float:
    """How far the float32 product of two vectors of unit length may be from the true one."""
    return dimension * 2.0**-23 * UNIT_TOLERANCE


class AllRows:
    """Compares a face with each row. Keeps no copy of the rows."""

    def __init__(self, rows: np.ndarray) -> None:
        self._faiss = load_faiss()
        self._rows = np.ascontiguousarray(rows, np.float32)
        self.error = rounding_of_sums(rows.shape[1])
        """How far a score may be from the similarity."""
        self.size = len(rows)

    def scan(self, queries: np.ndarray, depth: int) -> Found:
        self._faiss.omp_set_num_threads(1)
        scores, rows = self._faiss.knn(queries, self._rows, depth, metric=self._faiss.METRIC_INNER_PRODUCT)
        return Found(rows, scores[:, -1] + self.error)


@dataclass(frozen=True, eq=False)
class HalfRows:
    """Compares a face with each row at half precision (fp16), or along a graph that connects similar rows.

    Immutable. Rows that were added since it was made are compared at full precision; rows that were removed are
    skipped.
    """

    codes: Any
    """FAISS's index of the rows at half precision."""
    graph: Optional[Any]
    """FAISS's HNSW of these codes."""
    row_of_code: np.ndarray
    """-1: the row is gone."""
    code_error: float
    """How far a similarity to a code may be from that to its row."""
    added_rows: np.ndarray
    """The numbers of the rows that have no code, or that a search along the graph does not find."""
    added: np.ndarray
    """These rows."""
    unreachable: int = 0
    """How many rows a search along the graph did not find when it was made."""

    @classmethod
    def of(cls, rows: np.ndarray, with_graph: bool, go_on: Callable[[], bool] = lambda: True) -> Optional[HalfRows]:
        """Of all rows; with a graph, that takes minutes for a million. None: `go_on` said no.

        Afterwards each row is searched along the graph; those that are not found are compared one by one.
        """
        faiss = load_faiss()
        dimension = rows.shape[1]
        half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        if with_graph:
            index = faiss.IndexHNSWSQ(dimension, half, LINKS, product)
            index.hnsw.efConstruction = BUILD_BREADTH
            coder = faiss.IndexScalarQuantizer(dimension, half, product)
        else:
            index = coder = faiss.IndexScalarQuantizer(dimension, half, product)
        finite = np.ones(len(rows), bool)
        error = 0.0
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            if not go_on():
                return None
            block = np.ascontiguousarray(rows[start : start + ROWS_PER_BLOCK], np.float32)
            here = np.isfinite(block).all(axis=1)
            finite[start : start + len(block)] = here
            block = np.ascontiguousarray(block[here])
            if len(block):
                rounded = coder.sa_decode(coder.sa_encode(block))
                error = max(error, float(np.linalg.norm(rounded - block, axis=1).max()))
                faiss.omp_set_num_threads(1)
                index.add(block)
        row_of_code = np.flatnonzero(finite)
        apart = np.empty(0, np.int64)
        if with_graph:
            # In a crowd of copies, all links of a row may lead to its copies, and none to what lies behind them.
            index.hnsw.efSearch = CHECK_BREADTH
            for start in range(0, len(row_of_code), ROWS_PER_BLOCK):
                if not go_on():
                    return None
                block = np.ascontiguousarray(rows[row_of_code[start : start + ROWS_PER_BLOCK]], np.float32)
                apart = np.append(apart, row_of_code[start + _missed(index, block, start, coder)])
            index.hnsw.efSearch = SEARCH_BREADTH
        return cls(
            codes=faiss.downcast_index(index.storage) if with_graph else index,
            graph=index if with_graph else None,
            row_of_code=row_of_code if len(row_of_code) else np.array([-1]),
            code_error=error * UNIT_TOLERANCE + rounding_of_sums(dimension),
            added_rows=apart,
            added=np.ascontiguousarray(rows[apart], np.float32),
            unreachable=len(apart),
        )

    def updated(self, before: Dict[str, int], rows: np.ndarray, old_rows: np.ndarray, keys: Sequence[str]) -> HalfRows:
        """For changed rows. `before` is the old row of each key; a row with the same key and values keeps its code."""
        old = np.fromiter((before.get(key, -1) for key in keys), np.int64, len(keys))
        new = np.flatnonzero(old >= 0)
        for start in range(0, len(new), ROWS_PER_BLOCK):
            block = new[start : start + ROWS_PER_BLOCK]
            old[block[(rows[block] != old_rows[old[block]]).any(axis=1)]] = -1
        new = np.flatnonzero(old >= 0)
        now = np.full(len(old_rows) + 1, -1, np.int64)
        now[old[new]] = new
        row_of_code = now[self.row_of_code]
        coded = np.zeros(len(rows), bool)
        coded[row_of_code[row_of_code >= 0]] = True
        if self.graph is not None:
            coded[now[self.added_rows][now[self.added_rows] >= 0]] = False
        added_rows = np.flatnonzero(~coded)
        added = np.ascontiguousarray(rows[added_rows], np.float32)
        return replace(self, row_of_code=row_of_code, added_rows=added_rows, added=added)

    @property
    def outdated(self) -> bool:
        """Whether so much has changed that it should be made again."""
        changes = len(self.added_rows) - self.unreachable + int((self.row_of_code < 0).sum())
        return changes > FEW_CHANGES + FEW_CHANGES_SHARE * len(self.row_of_code)

    @property
    def size(self) -> int:
        """The depth at which everything is found."""
        return max(len(self.row_of_code), len(self.added_rows))

    def scan(self, queries: np.ndarray, depth: int) -> Found:
        return self._search(self.codes, queries, depth)

    def walk(self, queries: np.ndarray, depth: int) -> Found:
        """Along the graph, much faster. The limit does not hold: now and then it misses a row."""
        return self._search(self.graph, queries, depth)

    def _search(self, index: Any, queries: np.ndarray, depth: int) -> Found:
        faiss = load_faiss()
        scores, codes = index.search(queries, max(1, min(depth, len(self.row_of_code))))
        rows = np.where(codes >= 0, self.row_of_code[codes], -1)
        limit = scores[:, -1] + self.code_error
        if not len(self.added_rows):
            return Found(rows, limit)
        others, places = faiss.knn(
            queries, self.added, min(depth, len(self.added_rows)), metric=faiss.METRIC_INNER_PRODUCT
        )
        more = np.where(places >= 0, self.added_rows[places], -1)
        return Found(
            np.concatenate([rows, more], axis=1), np.maximum(limit, others[:, -1] + rounding_of_sums(queries.shape[1]))
        )


def _missed(index: Any, block: np.ndarray, first: int, coder: Any) -> np.ndarray:
    """Which rows of the block a narrow search along the graph for themselves does not find."""
    scores, codes = index.search(block, 1)
    own = np.einsum("ij,ij->i", coder.sa_decode(coder.sa_encode(block)), block)
    is_itself = codes[:, 0] == first + np.arange(len(block))
    return np.flatnonzero(~is_itself & ~(scores[:, 0] >= own - rounding_of_sums(block.shape[1])))
