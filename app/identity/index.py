"""Comparing faces with the enrolled people: the nearest two, and the name that follows from them."""

from __future__ import annotations

import copy
import enum
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from app.identity.anchors import NegativeAnchors
from app.identity.calibration import Calibration, Certainty
from app.identity.nearest_rows import AllRows, HalfRows
from app.types import NOT_COMPARED_YET, Candidate, Match, Reason

NEAREST = 3
"""People who are named as candidates."""
FIRST_DEPTH, DEPTH_STEP = 64, 8
"""Rows that are fetched for a face; so many times more while these do not prove who the nearest three are."""
EXACT_BELOW_THRESHOLD = 0.05
"""HNSW's answer counts for faces whose similarity is further below the threshold of a name."""
FACES_AT_ONCE = 5
"""From so many on, it is faster to multiply faces with all rows than to search for each of them."""
FP16_FROM = 50_000
"""Photos. HNSW is never chosen for anybody: up to a million photos, it does not gain enough for what it may miss
(docs/large-galleries.md)."""


class IndexKind(str, enum.Enum):
    """How the faces of a gallery are searched."""

    FLAT = "flat"
    """Every photo."""
    FP16 = "fp16"
    """Every photo, at half precision; the nearest ones again at full precision."""
    HNSW = "hnsw"
    """Settled faces along a graph of similar photos; what might get a name, as with FP16."""

    def __str__(self) -> str:
        return self.value


def why_kind(setting: str, photos: int) -> str:
    """The kind, and why: `fp16 (auto: 60,000 photos, from 50,000)`."""
    kind = chosen_kind(setting, photos)
    if setting != "auto":
        return f"{kind} (set by recognition.index)"
    limit = "below" if kind is IndexKind.FLAT else "from"
    return f"{kind} (auto: {photos:,} photos, {limit} {FP16_FROM:,})"


def chosen_kind(setting: str, photos: int) -> IndexKind:
    """The kind that a gallery of so many photos gets with this value of `recognition.index`."""
    if setting != "auto":
        return IndexKind(setting)
    return IndexKind.FP16 if photos >= FP16_FROM else IndexKind.FLAT


@dataclass(frozen=True)
class Candidates:
    """The two people nearest to one face, each by their most similar photo."""

    person: Optional[str] = None
    """None: there is no one to compare with."""
    similarity: float = 0.0
    """Cosine, -1..1; NaN if the face has no embedding."""
    photo: Optional[str] = None
    """The person's best photo, as a path inside the gallery."""
    runner_up: Optional[str] = None
    runner_up_similarity: float = 0.0
    nearest: Tuple[Candidate, ...] = ()
    """These two people and the third."""


NO_CANDIDATE = Candidates()
NO_EMBEDDING = Candidates(similarity=float("nan"))


class PersonIndex:
    """Who of a gallery's people resembles a face most.

    Immutable, so that threads can share it; a changed gallery gets a new index. All kinds of index give the same
    answers, with one exception that the caller of `search` must allow.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        people: Sequence[str],
        photos: Sequence[str],
        generation: int = 0,
        calibration: Optional[Calibration] = None,
        threshold: Optional[float] = None,
        kind: str = "flat",
        before: Optional[PersonIndex] = None,
    ) -> None:
        """`people` and `photos` are the person and the file of each row of `embeddings` (R x D, unit length).

        `generation` increases with every change of the gallery, so that faces are compared again after it.
        `calibration` gives matches their confidence; `threshold` is the one of this gallery, if it has one of its own.
        `kind` is that of the settings (`recognition.index`). `before` is an index of the same gallery before it
        changed: what takes long to make is taken from it. The embeddings are not copied and must not be changed.
        """
        if not len(embeddings) == len(people) == len(photos):
            raise ValueError(
                f"PersonIndex needs one person and one photo for each of {len(embeddings)} rows, "
                f"not {len(people)} and {len(photos)}"
            )
        self.generation = generation
        self.calibration = calibration
        self.threshold = threshold
        self.anchors = NegativeAnchors()
        """Faces that must not get a name; `recognizer.identify` asks them."""
        self.kind = chosen_kind(kind, len(embeddings))
        """FLAT, FP16 or HNSW."""
        self.why_kind = why_kind(kind, len(embeddings))
        """The kind and the reason for it, for people."""
        self._rows = np.ascontiguousarray(embeddings, np.float32)
        self._photos = list(photos)
        self._people_of_rows = list(people)
        self._wanted = min(NEAREST, len(set(people)))
        self._all = AllRows(self._rows)
        self._half: Optional[HalfRows] = None
        if self.kind is IndexKind.FLAT or not photos:
            return
        if before is not None:
            self._take_over(before)
        if self.kind is IndexKind.FP16 and self.is_unfinished:
            self._half = HalfRows.of(self._rows, with_graph=False)

    def _take_over(self, before: PersonIndex) -> None:
        if before.kind is not self.kind or before._half is None or before._dimension != self._dimension:
            return
        row_of_photo = {photo: row for row, photo in enumerate(before._photos)}
        self._half = before._half.updated(row_of_photo, self._rows, before._rows, self._photos)

    def taking_over(self, before: PersonIndex) -> PersonIndex:
        """The same with what was made for an index of this gallery before it changed."""
        index = copy.copy(self)
        index._take_over(before)
        return index

    @property
    def _dimension(self) -> int:
        return int(self._rows.shape[1])

    @property
    def is_unfinished(self) -> bool:
        """Whether `finished` would make searches faster. Answers are right without it."""
        return self.kind is not IndexKind.FLAT and bool(self._photos) and (self._half is None or self._half.outdated)

    @property
    def unreachable(self) -> int:
        """Photos to which the graph does not lead, so that they are compared one by one."""
        return 0 if self._half is None else self._half.unreachable

    def finished(self, go_on: Callable[[], bool] = lambda: True) -> PersonIndex:
        """The same with its graph, which takes minutes for a million photos. Ends early when `go_on` says no."""
        half = HalfRows.of(self._rows, self.kind is IndexKind.HNSW, go_on) if self.is_unfinished else self._half
        index = copy.copy(self)
        index._half = self._half if half is None else half
        return index

    def with_anchors(self, anchors: NegativeAnchors) -> PersonIndex:
        """The same people with these negative anchors."""
        index = copy.copy(self)
        index.anchors = anchors
        index.generation = self.generation + anchors.generation
        return index

    def __len__(self) -> int:
        """The number of photos."""
        return len(self._photos)

    def identify(
        self, embeddings: np.ndarray, threshold: float, margin: float, settled: Union[bool, np.ndarray] = False
    ) -> List[Match]:
        """Who the faces are. For those whose answer was settled before (one for all, or N), HNSW alone may say that
        they resemble nobody; all others are compared with everybody."""
        certainty = None if self.calibration is None else self.calibration.certainty
        exact_from = np.where(settled, threshold - EXACT_BELOW_THRESHOLD, -1.0)
        return [
            self.anchors.checked(decide(candidates, threshold, margin, certainty), embedding)
            for candidates, embedding in zip(self.search(embeddings, exact_from), embeddings)
        ]

    def search(self, embeddings: np.ndarray, exact_from: Union[float, np.ndarray] = -1.0) -> List[Candidates]:
        """The nearest person and the runner-up for each row of `embeddings` (N x D, unit length).

        A face whose nearest person is less similar than its `exact_from` (one for all, or N) may get an answer that
        HNSW found alone: its similarities are right, but somebody nearer may have been missed.
        """
        if embeddings.ndim != 2:
            raise ValueError(f"embeddings must have the shape N x D, not {embeddings.shape}")
        comparable = np.isfinite(embeddings).all(axis=1)
        found = [NO_CANDIDATE if row else NO_EMBEDDING for row in comparable]
        if not self._photos or not comparable.any():
            return found
        if embeddings.shape[1] != self._dimension:
            raise ValueError(
                f"embeddings must have {self._dimension} columns like the gallery's, not {embeddings.shape[1]}"
            )
        queries = np.ascontiguousarray(embeddings[comparable], dtype=np.float32)
        faces = np.flatnonzero(comparable).tolist()
        left = list(range(len(faces)))
        below = np.broadcast_to(exact_from, len(embeddings))[comparable]
        by_graph = np.flatnonzero(below > -1)
        if self._half is not None and self._half.graph is not None and 0 < len(by_graph) < FACES_AT_ONCE:
            for at, rows in zip(by_graph.tolist(), self._half.walk(queries[by_graph], FIRST_DEPTH).rows):
                nearest = self._ranked(queries[at], rows)
                if len(nearest) == self._wanted and nearest[0].similarity < below[at]:
                    found[faces[at]] = candidates_of(nearest)
                    left.remove(at)
        scanned = self._all if self._half is None or len(left) >= FACES_AT_ONCE else self._half
        depth = FIRST_DEPTH
        while left:
            rows_of_faces, limits = scanned.scan(queries[left], min(depth, scanned.size))
            undecided = []
            for at, rows, limit in zip(left, rows_of_faces, limits.tolist()):
                nearest = self._ranked(queries[at], rows)
                if depth >= scanned.size or (len(nearest) == self._wanted and limit < nearest[-1].similarity):
                    found[faces[at]] = candidates_of(nearest)
                else:
                    undecided.append(at)
            left = undecided
            depth *= DEPTH_STEP
        return found

    def _ranked(self, query: np.ndarray, rows: np.ndarray) -> List[Candidate]:
        """The nearest people among these rows, each by the best photo. Of two at the same distance, the earlier row."""
        rows = np.sort(rows[rows >= 0])
        # Row by row in double precision, so that equal rows have equal similarities wherever they are.
        similarities = np.einsum("ij,j->i", self._rows[rows], query, dtype=np.float64).astype(np.float32)
        nearest: Dict[str, Candidate] = {}
        order = np.argsort(-similarities, kind="stable")
        for row, similarity in zip(rows[order].tolist(), similarities[order].tolist()):
            name = self._people_of_rows[row]
            if name not in nearest and similarity == similarity:
                nearest[name] = Candidate(name, similarity, self._photos[row])
                if len(nearest) == NEAREST:
                    break
        return list(nearest.values())


def candidates_of(nearest: Sequence[Candidate]) -> Candidates:
    if not nearest:
        return NO_CANDIDATE
    first, *others = nearest
    runner_up, second = (others[0].name, others[0].similarity) if others else (None, 0.0)
    return Candidates(first.name, first.similarity, first.photo, runner_up, second, tuple(nearest))


def decide(candidates: Candidates, threshold: float, margin: float, certainty: Optional[Certainty] = None) -> Match:
    """The answer of one comparison: the nearest person, if similar enough and clearly nearer than the runner-up.

    Two people at exactly the same distance are never distinguished, even with a margin of 0.
    """
    similarity, lead = candidates.similarity, candidates.similarity - candidates.runner_up_similarity
    if similarity != similarity:
        return NOT_COMPARED_YET
    if candidates.person is None:
        return Match(name=None, reason=Reason.NO_ONE_ENROLLED)
    name, reason, measured, limit = None, Reason.BELOW_THRESHOLD, similarity, threshold
    if similarity >= threshold:
        if candidates.runner_up is None or (lead >= margin and lead > 0):
            name, reason = candidates.person, Reason.MATCHED
        else:
            reason, measured, limit = Reason.AMBIGUOUS, lead, margin
    confidence = None
    if certainty is not None:
        runner_up = -1.0 if candidates.runner_up is None else candidates.runner_up_similarity
        confidence = certainty.probability(similarity, runner_up)
    return Match(
        name=name,
        reason=reason,
        similarity=similarity,
        nearest=candidates.person,
        photo=candidates.photo,
        runner_up=candidates.runner_up,
        runner_up_similarity=candidates.runner_up_similarity,
        measured=measured,
        limit=limit,
        candidates=candidates.nearest,
        confidence=confidence,
    )
