"""When a face gets a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class RecognitionSettings:
    """When a face gets a name."""

    threshold: Optional[float] = setting(
        None,
        "minimum cosine similarity for a name; by default it follows from recognition.false_accept_rate",
        flag="--threshold",
        metavar="T",
        minimum=-1,
        maximum=1,
    )
    false_accept_rate: Optional[float] = setting(
        0.003,
        "share of strangers' visits that may get a name: the threshold follows from it and from the people in the "
        "gallery; null: the embedder's own threshold, which does not know the gallery",
        metavar="RATE",
        minimum=0.000001,
        maximum=0.5,
    )
    margin: float = setting(
        0.03, "minimum distance in similarity to the second most similar person", minimum=0, maximum=1
    )
    vote_window: int = setting(5, "number of recent comparisons that vote on a track's name", minimum=1, maximum=50)
    min_votes: int = setting(2, "votes that must agree before a track gets a name", minimum=1, maximum=50)
    reembed_after_s: float = setting(
        1.0,
        "seconds after which a settled track is compared again, then twice and four times as long; 0 = in every frame",
        minimum=0,
        maximum=3600,
    )

    index: str = setting(
        "auto",
        "how a face is compared with the photos: flat (all), fp16 (all, at half precision first) or hnsw (along a "
        "graph); auto chooses by their number, see docs/large-galleries.md",
        choices=("auto", "flat", "fp16", "hnsw"),
    )

    @property
    def rate_to_follow(self) -> Optional[float]:
        """The false-accept rate that decides about the threshold; None where the threshold is fixed."""
        return self.false_accept_rate if self.threshold is None else None
