"""Whether a new face is the person of a track, by its embedding and by how it looks."""

import numpy as np
import pytest

from app.identity.appearance import Appearance, Verdict, verdict
from app.types import NOT_COMPARED_YET, Match, Reason

THRESHOLD = 0.4
ANN, BOB = Match("Ann", Reason.MATCHED, 0.6, "Ann"), Match("Bob", Reason.MATCHED, 0.6, "Bob")
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.2, "Ann")


def at(cosine):
    """An embedding of this similarity to the first axis."""
    return np.array([cosine, np.sqrt(1 - cosine**2), 0.0])


KNOWN = Appearance.first(at(1.0), 1.0, None)


@pytest.mark.parametrize(
    ("cosine", "match", "expected"),
    [
        (0.1, ANN, Verdict.SAME),
        (0.9, UNKNOWN, Verdict.SAME),
        (0.4, UNKNOWN, Verdict.SAME),
        (0.3, UNKNOWN, Verdict.UNCLEAR),
        (0.1, UNKNOWN, Verdict.OTHER),
        (0.5, BOB, Verdict.OTHER),
        (0.9, BOB, Verdict.UNCLEAR),
    ],
)
def test_the_name_of_the_face_and_its_embedding_decide_who_it_is(cosine, match, expected):
    assert verdict(KNOWN, ANN, at(cosine), match, THRESHOLD) is expected


@pytest.mark.parametrize(("cosine", "expected"), [(0.5, Verdict.SAME), (0.3, Verdict.UNCLEAR), (0.1, Verdict.OTHER)])
def test_for_an_unknown_track_the_embedding_alone_decides(cosine, expected):
    for match in (UNKNOWN, BOB):
        assert verdict(KNOWN, NOT_COMPARED_YET, at(cosine), match, THRESHOLD) is expected


def test_the_mean_follows_clear_faces_more_than_unclear_ones():
    clear = KNOWN.with_embedding(at(0.0), 1.0, None)
    unclear = KNOWN.with_embedding(at(0.0), 0.1, None)
    assert clear.mean @ at(1.0) == pytest.approx(np.sqrt(0.5))
    assert unclear.mean @ at(1.0) > 0.99
    for appearance in (clear, unclear):
        assert np.linalg.norm(appearance.mean) == pytest.approx(1)
        assert appearance.similarity(at(0.0), clear=False) == pytest.approx(1)
    assert unclear.similarity(at(0.0), clear=True) < 0.2


def test_a_face_that_is_not_clear_may_resemble_the_latest_one_alone():
    """As when a head turns away. Of clear faces, that would let one person change into another step by step."""
    turned = KNOWN.seen_again(at(0.1), None)
    assert turned.similarity(at(0.1), clear=False) == pytest.approx(1)
    assert turned.similarity(at(0.1), clear=True) == pytest.approx(0.1)
    assert turned.weight == KNOWN.weight


def test_opposite_embeddings_leave_a_mean():
    assert np.isfinite(KNOWN.with_embedding(-at(1.0), 1.0, None).mean).all()


def test_faces_are_compared_by_their_thumbnails_where_there_are_any():
    seen = Appearance.first(at(1.0), 1.0, at(1.0))
    assert seen.resembles(at(0.82)) and not seen.resembles(at(0.75))
    assert not seen.resembles(at(0.82), elapsed_s=0.3)
    assert seen.resembles(None) and KNOWN.resembles(at(0.1))
