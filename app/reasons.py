"""Why a face or a photo is used, rejected or not named, in one vocabulary, and how that is written with its numbers."""

from __future__ import annotations

import enum
from typing import Dict, NamedTuple, Optional, Sequence


class Reason(str, enum.Enum):
    """Why a face or a photo is used, rejected, or not named. The values are part of the event format."""

    # A live face that was compared with the enrolled people.
    MATCHED = "matched"
    BELOW_THRESHOLD = "below_threshold"
    AMBIGUOUS = "ambiguous"
    """Two people are nearly equally similar."""
    VOTES_DISAGREE = "votes_disagree"
    NO_ONE_ENROLLED = "no_one_enrolled"
    NAME_TAKEN = "name_taken"
    """Another face in the picture has this name, and resembles the person more."""
    NOT_THIS_PERSON = "not_this_person"
    """The user said of a face like this one that it is not the nearest person (`people not`)."""
    IGNORED = "ignored"
    """A stranger whom the user wants to be ignored (`people ignore`)."""
    # A photo whose face is used.
    USED = "used"
    MAIN_FACE_USED = "main_face_used"
    # A photo of several people, of whom none is clearly meant.
    SEVERAL_FACES = "several_faces"
    # A face, live or in a photo, that a gate rejected.
    LOW_SCORE = "low_score"
    TOO_SMALL = "too_small"
    NOT_A_FACE = "not_a_face"
    """It resembles things that detectors take for faces."""
    IMPLAUSIBLE = "implausible"
    """Eyes, nose and mouth are not where a face has them."""
    TURNED_AWAY = "turned_away"
    """To the side, up or down."""
    TILTED = "tilted"
    CUT_OFF = "cut_off"
    """Part of it is outside the picture."""
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    TOO_BLURRED = "too_blurred"
    # Neither compared nor rejected.
    NOT_COMPARED_YET = "not_compared_yet"
    TRACK_IN_DOUBT = "track_in_doubt"
    """Another person may have taken the place of the face that got the name."""
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"
    # A photo that was not added to the gallery.
    ALREADY_ENROLLED = "already_enrolled"
    OTHER_PERSONS_PHOTO = "other_persons_photo"

    def __str__(self) -> str:
        return self.value

    @property
    def compared(self) -> bool:
        """Whether a live face was compared with the enrolled people, or faces are compared with the photo."""
        return self in _COMPARED

    @property
    def denies_face(self) -> bool:
        """Whether what the detector found is no face, or cannot be told from things that are none."""
        return self in (Reason.NOT_A_FACE, Reason.IMPLAUSIBLE)


_COMPARED = frozenset(
    {
        Reason.MATCHED,
        Reason.BELOW_THRESHOLD,
        Reason.AMBIGUOUS,
        Reason.VOTES_DISAGREE,
        Reason.NO_ONE_ENROLLED,
        Reason.NAME_TAKEN,
        Reason.NOT_THIS_PERSON,
        Reason.IGNORED,
        Reason.USED,
        Reason.MAIN_FACE_USED,
    }
)


class _Layout(NamedTuple):
    """How the numbers of a reason are written."""

    digits: int
    comparison: str = ""
    """Between the measured value and the limit; empty: the limit is not written."""
    unit: str = ""


_LAYOUTS: Dict[Reason, _Layout] = {
    Reason.MATCHED: _Layout(2),
    Reason.BELOW_THRESHOLD: _Layout(2, "<"),
    Reason.AMBIGUOUS: _Layout(2),
    Reason.VOTES_DISAGREE: _Layout(2, "<"),
    Reason.NOT_THIS_PERSON: _Layout(2, "<"),
    Reason.IGNORED: _Layout(2),
    Reason.NOT_COMPARED_YET: _Layout(0, "<", " votes"),
    Reason.LOW_SCORE: _Layout(2, "<"),
    Reason.TOO_SMALL: _Layout(0, "<", " px"),
    Reason.SEVERAL_FACES: _Layout(0),
    Reason.NOT_A_FACE: _Layout(2, ">"),
    Reason.IMPLAUSIBLE: _Layout(2, ">"),
    Reason.TURNED_AWAY: _Layout(0, unit="°"),
    Reason.TILTED: _Layout(0, unit="°"),
    Reason.CUT_OFF: _Layout(2, ">"),
    Reason.TOO_DARK: _Layout(2, "<"),
    Reason.TOO_BRIGHT: _Layout(2, ">"),
    Reason.TOO_BLURRED: _Layout(0, "<"),
}
_MAX_DIGITS = 6


def numbers_of(
    reason: Reason, measured: Optional[float], limit: Optional[float], people: Sequence[Optional[str]] = ()
) -> str:
    """What was measured and the limit: `31<40 px`, `0.02 Ana/Eva`; empty without a measured value.

    Values that would look equal get more digits: `39.8<40.0 px`.
    """
    layout = _LAYOUTS.get(reason)
    if layout is None or measured is None:
        return ""
    digits = layout.digits
    text = f"{measured:.{digits}f}"
    if layout.comparison and limit is not None:
        while f"{measured:.{digits}f}" == f"{limit:.{digits}f}" and digits < _MAX_DIGITS:
            digits += 1
        text = f"{measured:.{digits}f}{layout.comparison}{limit:.{digits}f}"
    names = "/".join(name for name in people if name is not None)
    return f"{text}{layout.unit} {names}".rstrip()


def explained(reason: Reason, numbers: str) -> str:
    """The reason with its numbers: `too_small 31<40 px`, `no_face`."""
    return f"{reason} {numbers}".rstrip()
