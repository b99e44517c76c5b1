"""The summary counts people by visits, strangers by faces that never got a name, and forgets nothing it needs."""

import numpy as np

from app.output.summary import ChannelCount, RunSummary, moment, table
from app.types import Faces, Frame, FrameResult, Match, Reason, Track

PICTURE = np.zeros((4, 4, 3), np.uint8)


def result(position, *seen, hidden=(), source="tape"):
    """One frame in which these (track, name) are visible and those of `hidden` are remembered."""
    matches = tuple(Match(name, Reason.MATCHED if name else Reason.BELOW_THRESHOLD) for _, name in seen)
    tracks = tuple(
        Track(track, np.zeros(4), Match(name, Reason.MATCHED), 0.0, position) for track, name in (*seen, *hidden)
    )
    faces = Faces(
        np.zeros((len(seen), 4), np.float32), np.ones(len(seen), np.float32), np.zeros((len(seen), 5, 2), np.float32)
    )
    frame = Frame(PICTURE, source, 0, 1e9, position)
    return FrameResult(frame, faces, matches, tuple(track for track, _ in seen), tracks, {"detect": 4.0 + position})


def summary(*results):
    collected = RunSummary()
    for one in results:
        collected.add(one)
    return collected


def test_a_person_is_counted_once_a_visit_and_once_a_frame():
    collected = summary(
        result(0.0, (1, None)), result(0.5, (1, "Ann")), result(1.0, hidden=[(1, "Ann")]), result(2.0, (1, "Ann")),
        result(5.0), result(9.0, (2, "Ann")),
    )  # fmt: skip
    ann = collected.people["Ann"]
    assert (ann.first_s, ann.last_s, ann.frames, ann.visits) == (0.5, 9.0, 3, 2)
    assert collected.unknown_visits == 0


def test_a_face_that_never_gets_a_name_is_one_unknown_visit():
    collected = summary(result(0.0, (1, None), (2, "Ann")), result(0.1, (1, None)), result(0.2), result(0.3, (3, None)))
    assert collected.unknown_visits == 2


def test_the_same_track_number_in_two_channels_is_two_visits():
    collected = summary(result(0.0, (1, "Ann"), source="door"), result(0.0, (1, "Ann"), source="yard"))
    assert collected.people["Ann"].visits == 2


def test_faces_without_a_track_are_faces_but_no_visits():
    collected = summary(result(0.0, (0, None)))
    assert (collected.faces, collected.unknown_visits) == (1, 0)


def test_the_text_tells_frames_people_and_stages():
    text = summary(result(61.0, (1, "José")), result(63.0, (1, "José"))).text(
        [ChannelCount("tape", read=5, dropped=3, processed=2, end="ended")]
    )
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("2 frames in ")
    assert ["tape", "5", "2", "3", "ended"] in lines
    assert ["José", "1:01.0", "1:03.0", "1", "2"] in lines
    assert ["detect", "66.00", "66.90"] in lines


def test_a_run_without_a_single_frame_has_a_summary_too():
    assert "0 frames" in summary().text([])


def test_moments_of_recordings_are_minutes_and_seconds():
    assert moment(0) == "0:00.0"
    assert moment(754.26) == "12:34.3"
    assert len(moment(1.7e9)) == len("2023-11-14 22:13:20")


def test_columns_are_aligned():
    assert table(("name", "n"), [("Ann", "12"), ("José", "3")]).splitlines() == [
        "name   n",
        "----  --",
        "Ann   12",
        "José   3",
    ]
