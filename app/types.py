"""The data types of the program: plain, immutable, and checked on construction."""

from __future__ import annotations

import dataclasses
import enum
import math
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple, Union

import numpy as np

from app.channel_state import ChannelCounters as ChannelCounters
from app.channel_state import ChannelState as ChannelState
from app.channel_state import ChannelStatus as ChannelStatus
from app.look import Look as Look
from app.reasons import Reason as Reason
from app.reasons import explained, numbers_of

ProgressCallback = Callable[[int, int], None]
"""Called with the number of items that are done, and the number of all."""

MessageCallback = Callable[[str], None]
"""Called with a line of text for the user."""

NO_TRACK = 0
"""The track id of a face whose track is not confirmed yet."""


@dataclass(frozen=True)
class Frame:
    """One picture of one channel."""

    image: np.ndarray
    """H x W x 3, uint8, BGR."""
    source: str
    """Name of the channel."""
    index: int
    """Counts all frames of the source, including those that were dropped."""
    captured_at: float
    """When the frame arrived, in seconds since the epoch: the clock as it was set at that moment."""
    position: Optional[float] = None
    """Seconds into a recording; None for a live source."""
    continues: bool = True
    """False for a picture that is unrelated to the one before it, as in a folder of photos."""
    file: Optional[str] = None
    """The file of the picture, in a folder of photos."""
    live: bool = False
    """Whether the source is a camera or live stream, which does not wait, or else a recording or a folder."""
    clock_s: float = math.nan
    """When the frame arrived, on the clock that nobody sets (`time.monotonic`); without it, `captured_at`."""

    def __post_init__(self) -> None:
        if math.isnan(self.clock_s):
            object.__setattr__(self, "clock_s", self.captured_at)
        _check_shape("Frame.image", self.image, (None, None, 3))
        if self.image.dtype != np.uint8:
            raise ValueError(f"Frame.image must be uint8, not {self.image.dtype}")

    @property
    def source_time(self) -> float:
        """Seconds into a recording, or else `clock_s`. All durations are measured with it."""
        return self.clock_s if self.position is None else self.position

    def shown_time(self, source_time: float) -> float:
        """A moment of the source, such as `Track.first_seen`, as users know it: seconds into a recording, or else
        seconds since the epoch, by the clock as it was set when this frame arrived."""
        return source_time if self.position is not None else self.captured_at - (self.clock_s - source_time)


@dataclass(frozen=True)
class Faces:
    """The faces of one frame as parallel arrays: row i of each array is face i."""

    boxes: np.ndarray
    """N x 4 float32: x1 y1 x2 y2 in pixels of the frame."""
    scores: np.ndarray
    """N: confidence of the detector, 0..1."""
    landmarks: np.ndarray
    """N x 5 x 2: left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them."""
    embeddings: Optional[np.ndarray] = None
    """N x D, unit length; NaN in the rows of faces that were not embedded in this frame. None: no face was embedded."""
    mask_probabilities: Optional[np.ndarray] = None
    """N: that the face wears a mask; None: the detector does not predict masks."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        _check_shape("Faces.boxes", self.boxes, (count, 4))
        _check_shape("Faces.scores", self.scores, (count,))
        _check_shape("Faces.landmarks", self.landmarks, (count, 5, 2))
        if self.embeddings is not None:
            _check_shape("Faces.embeddings", self.embeddings, (count, None))
        if self.mask_probabilities is not None:
            _check_shape("Faces.mask_probabilities", self.mask_probabilities, (count,))

    @classmethod
    def empty(cls) -> Faces:
        return cls(
            boxes=np.empty((0, 4), np.float32),
            scores=np.empty(0, np.float32),
            landmarks=np.empty((0, 5, 2), np.float32),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: Union[int, slice, np.ndarray, List[int]]) -> Faces:
        """Some of the faces: one for an int, several for a mask or a list of indices."""
        if isinstance(rows, (int, np.integer)):
            rows = [int(rows)]
        return Faces(
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            landmarks=self.landmarks[rows],
            embeddings=None if self.embeddings is None else self.embeddings[rows],
            mask_probabilities=None if self.mask_probabilities is None else self.mask_probabilities[rows],
        )

    def followed_by(self, other: Faces) -> Faces:
        """These faces and the others after them; NaN where only one of both has embeddings."""
        columns: Dict[str, np.ndarray] = {}
        for name, mine in vars(self).items():
            parts = [mine, getattr(other, name)]
            known = [part for part in parts if part is not None]
            if known:
                blank = [np.full((len(one), *known[0].shape[1:]), np.nan, np.float32) for one in (self, other)]
                columns[name] = np.concatenate([gap if part is None else part for part, gap in zip(parts, blank)])
        return Faces(**columns)


@dataclass(frozen=True, eq=False)
class FaceQuality:
    """How good faces are for recognition, as parallel arrays like those of `Faces`. NaN: not measured."""

    score: np.ndarray
    """The detector's score, 0..1."""
    size_px: np.ndarray
    """The shorter side of the box."""
    sharpness: np.ndarray
    """Variance of the Laplacian of the aligned face."""
    exposure: np.ndarray
    """Mean brightness of the aligned face, 0 (black) to 1 (white)."""
    yaw: np.ndarray
    """Degrees; positive: turned to the viewer's right."""
    pitch: np.ndarray
    """Degrees; positive: up."""
    roll: np.ndarray
    """Degrees; positive: leans clockwise, as the viewer sees it."""
    landmark_error: np.ndarray
    """How far the landmarks are from those of an average face that is turned like this one, relative to its size."""
    cut_off: np.ndarray
    """The part of the face that is outside the picture, 0 to 1."""
    non_face: np.ndarray
    """Cosine similarity with the nearest of the embedder's non-faces."""

    def __post_init__(self) -> None:
        for column in dataclasses.fields(self):
            _check_shape(f"FaceQuality.{column.name}", getattr(self, column.name), (len(self),))

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: Union[slice, np.ndarray]) -> FaceQuality:
        """Some of the faces; `rows` is a slice, a mask or indices."""
        return FaceQuality(**{column.name: getattr(self, column.name)[rows] for column in dataclasses.fields(self)})


@dataclass(frozen=True, eq=False)
class Continuity:
    """What the pixels of a frame say about whether it continues the one before it in its channel."""

    cut: bool = False
    """Whether it shows another scene."""
    thumbnails: Optional[np.ndarray] = None
    """One row per face, of unit length: the product of two rows is the correlation of what the faces look like."""


@dataclass(frozen=True)
class Candidate:
    """One of the people who are nearest to a face."""

    name: str
    similarity: float
    """Cosine of the person's best photo."""
    photo: str
    """That photo, as a path inside the gallery."""


@dataclass(frozen=True)
class Match:
    """Who a face is, or why it has no name."""

    name: Optional[str]
    """The person, or None for unknown."""
    reason: Reason
    similarity: float = 0.0
    """Cosine of the nearest person's best photo, even if too low for a name."""
    nearest: Optional[str] = None
    """The person nearest to the face, even if too far for a name."""
    photo: Optional[str] = None
    """That person's best photo, as a path inside the gallery."""
    runner_up: Optional[str] = None
    """The second nearest person."""
    runner_up_similarity: float = 0.0
    measured: Optional[float] = None
    """What the reason is about, such as the size of the face; None: there is no number."""
    limit: Optional[float] = None
    """What `measured` was compared with."""
    confidence: Optional[float] = None
    """The probability that the face is that of `nearest`, if strangers and enrolled people were equally frequent; None:
    it is not known."""
    candidates: Tuple[Candidate, ...] = ()
    """The three nearest people."""
    quality: Optional[FaceQuality] = None
    """Of the face that was compared or rejected: one row. None: not measured."""

    @property
    def numbers(self) -> str:
        """What was measured and its limit, such as `0.33<0.42`; empty without a number."""
        people = (self.nearest, self.runner_up) if self.reason is Reason.AMBIGUOUS else ()
        return numbers_of(self.reason, self.measured, self.limit, people)

    @property
    def why(self) -> str:
        """The reason with its numbers, such as `below_threshold 0.33<0.42`."""
        return explained(self.reason, self.numbers)

    def unnamed(self, reason: Reason, measured: Optional[float] = None, limit: Optional[float] = None) -> Match:
        """The same comparison without a name, for another reason."""
        return dataclasses.replace(self, name=None, reason=reason, measured=measured, limit=limit)


NOT_COMPARED_YET = Match(name=None, reason=Reason.NOT_COMPARED_YET)


class Gender(str, enum.Enum):
    """The predicted gender. The values are part of the event format."""

    FEMALE = "female"
    MALE = "male"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class HeadPose:
    """The orientation of a head; all zero when it faces the camera."""

    yaw_deg: float
    """Positive: to the viewer's right."""
    pitch_deg: float
    """Positive: up."""
    roll_deg: float
    """Positive: leans clockwise, as the viewer sees it."""


@dataclass(frozen=True, eq=False)
class FaceAttributes:
    """What attribute models predict for a face. None: switched off, or not predicted yet."""

    gender: Optional[Gender] = None
    gender_probability: Optional[float] = None
    age: Optional[float] = None
    """In years."""
    mask: Optional[bool] = None
    """Whether the face certainly wears a mask."""
    mask_probability: Optional[float] = None
    no_mask_probability: Optional[float] = None
    live_probability: Optional[float] = None
    """That it is a real face, not a photo or a screen."""
    pose: Optional[HeadPose] = None
    landmarks106: Optional[np.ndarray] = None
    """106 x 2, in pixels of the frame."""

    def __post_init__(self) -> None:
        if self.landmarks106 is not None:
            _check_shape("FaceAttributes.landmarks106", self.landmarks106, (106, 2))


NO_ATTRIBUTES = FaceAttributes()


@dataclass(frozen=True)
class Track:
    """One face followed through the frames of one channel."""

    id: int
    box: np.ndarray
    """Last position: x1 y1 x2 y2 in pixels of the frame."""
    match: Match
    """Who it is, by the votes so far."""
    first_seen: float
    """On the clock of the source, like `Frame.source_time`; `Frame.shown_time` gives the time of day."""
    last_seen: float
    attributes: FaceAttributes = NO_ATTRIBUTES
    """As last predicted."""
    votes: int = 0
    """How often the face was compared with the enrolled people."""
    time_to_first_name: Optional[float] = None
    """Seconds from `first_seen` until the track got a name; None: it never had one."""
    expected_box: Optional[np.ndarray] = None
    """Where the face is expected now; None if it was found in this frame."""
    stranger: Optional[str] = None
    """`stranger-7`: an unknown person who was seen well enough to be recognised again."""


@dataclass(frozen=True)
class FrameResult:
    """Everything that is known about one frame; what the outputs receive."""

    frame: Frame
    faces: Faces
    matches: Tuple[Match, ...] = ()
    """One per face: the answer of its track."""
    track_ids: Tuple[int, ...] = ()
    """One per face; NO_TRACK until its track is confirmed."""
    tracks: Tuple[Track, ...] = ()
    """All confirmed tracks of the channel, including those whose face is hidden in this frame."""
    timings_ms: Dict[str, float] = field(default_factory=dict)
    """Milliseconds per stage, in the order of the stages."""
    latency_s: float = 0.0
    """From the arrival of the frame to this result."""
    attributes: Tuple[FaceAttributes, ...] = ()
    """One per face; empty when no attributes are read."""
    clarities: Tuple[float, ...] = ()
    """One per face: how clearly it is seen, 0.1 to 1. Empty when it was not measured."""
    degrade_level: int = 0
    """What was left out because the machine is too slow (`DegradeLevel`)."""
    look: Look = Look.SCAN
    """Where the detector looked. `predicted`: the faces are where their tracks are expected, and were not seen."""

    def __post_init__(self) -> None:
        columns = {"matches": self.matches, "track_ids": self.track_ids, "attributes": self.attributes or self.matches}
        for name, values in columns.items():
            if len(values) != len(self.faces):
                raise ValueError(
                    f"FrameResult.{name} must have one entry per face: expected {len(self.faces)}, got {len(values)}"
                )


def _check_shape(name: str, array: np.ndarray, expected: Tuple[Optional[int], ...]) -> None:
    fits = array.ndim == len(expected) and all(
        want is None or want == have for want, have in zip(expected, array.shape)
    )
    if not fits:
        wanted = " x ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} must have shape {wanted}, not {' x '.join(map(str, array.shape))}")
