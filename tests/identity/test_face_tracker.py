"""One channel from frame to frame: which faces are compared, and what their tracks know."""

import numpy as np
import pytest

from app.identity.face_tracker import FaceTracker
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_ATTRIBUTES, NO_TRACK, FaceAttributes, Faces, Match, Reason

ANN = Match("Ann", Reason.MATCHED, 0.7, "Ann")
BOB = Match("Bob", Reason.MATCHED, 0.6, "Bob")
SMALL = Match(None, Reason.TOO_SMALL)
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.2, "Ann")
LEFT, RIGHT = [100, 100, 180, 180], [400, 100, 480, 180]


def faces_at(boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    frontal = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    landmarks = boxes[:, None, :2] + frontal * (boxes[:, None, 2:] - boxes[:, None, :2])
    return Faces(boxes, np.full(len(boxes), 0.8, np.float32), landmarks)


class Channel:
    """Calls a tracker as the pipeline does, for frames a tenth of a second apart."""

    def __init__(self, tracking=None, **recognition):
        self.tracker = FaceTracker(tracking or TrackingSettings(), RecognitionSettings(**recognition))
        self.time = 0.0
        self.generation = 1
        self.tracked = None

    def update(self, *boxes, continues=True, after=0.1):
        self.time += after
        return self.tracker.update(faces_at(boxes), self.time, self.generation, continues)

    def show(self, *faces, attributes=(), **options):
        """`faces` are (box, what a comparison gives); returns the rows of the faces that were compared."""
        pending = self.update(*(box for box, _ in faces), **options)
        self.tracked = self.tracker.record(pending, [faces[row][1] for row in pending.rows], None, attributes)
        return list(pending.rows)

    @property
    def names(self):
        return [match.name for match in self.tracked.matches]

    @property
    def tracks(self):
        return {track.id: track.match.name for track in self.tracked.tracks}


def test_comparisons_are_marked_as_settled_once_the_answer_is():
    """And no more from the first one that contradicts it, or with a new generation of the gallery."""
    channel = Channel()

    def settled(match):
        """Of the next frame in which the face is compared."""
        for _ in range(20):
            pending = channel.update(LEFT, after=0.5)
            channel.tracker.record(pending, [match] * len(pending.rows))
            if pending.rows:
                return bool(pending.settled)
        raise AssertionError("not compared any more")

    window = RecognitionSettings().vote_window
    assert [settled(UNKNOWN) for _ in range(window)] == [False] * window
    assert [settled(UNKNOWN), settled(UNKNOWN), settled(ANN)] == [True] * 3
    assert not settled(UNKNOWN)
    channel.generation += 1
    assert not settled(UNKNOWN)


def test_a_person_is_named_after_two_votes_that_agree():
    channel = Channel()
    channel.show((LEFT, ANN))
    assert channel.names == [None]
    assert channel.tracked.track_ids == (NO_TRACK,)
    channel.show((LEFT, ANN))
    assert channel.names == ["Ann"]
    assert channel.tracked.track_ids == (1,)
    assert channel.tracks == {1: "Ann"}


def test_a_face_that_is_not_found_is_expected_where_it_was_heading():
    channel = Channel()
    for step in range(6):
        channel.show(([100 + 10 * step, 100, 180 + 10 * step, 180], ANN))
    assert channel.tracked.tracks[0].expected_box is None
    channel.show()
    (hidden,) = channel.tracked.tracks
    assert hidden.box.tolist() == [150, 100, 230, 180]
    assert 155 < hidden.expected_box[0] <= 160
    assert hidden.expected_box[1] == 100


def test_a_settled_face_is_compared_again_only_after_the_interval():
    channel = Channel(reembed_after_s=0.95)
    compared = [bool(channel.show((LEFT, ANN))) for _ in range(32)]
    assert [frame for frame, was_compared in enumerate(compared) if was_compared] == [0, 1, 11, 30]


def test_with_an_interval_of_zero_faces_are_compared_in_every_frame():
    channel = Channel(reembed_after_s=0)
    assert all(channel.show((LEFT, ANN)) for _ in range(20))


def test_a_stranger_is_compared_until_the_window_is_full():
    channel = Channel(vote_window=5)
    assert [bool(channel.show((LEFT, UNKNOWN))) for _ in range(9)] == [True] * 5 + [False] * 4
    assert channel.tracked.matches == (UNKNOWN,)


def test_a_settled_face_that_resembles_another_person_is_compared_at_once():
    channel = Channel()
    for _ in range(10):
        channel.show((LEFT, UNKNOWN))
    frames = 0
    while channel.names != ["Ann"]:
        channel.show((LEFT, ANN))
        frames += 1
    assert frames <= 10 + 3


def test_one_outlier_does_not_change_a_name():
    channel = Channel(reembed_after_s=0)
    for match in (ANN, ANN, ANN, BOB, UNKNOWN, ANN, BOB, ANN):
        channel.show((LEFT, match))
        assert channel.names in ([None], ["Ann"])
    assert channel.names == ["Ann"]


def test_two_people_who_swap_places_unseen_are_distinguished_again():
    channel = Channel(reembed_after_s=1)
    for _ in range(10):
        channel.show((LEFT, ANN), (RIGHT, BOB))
    for _ in range(16):
        channel.show((LEFT, BOB), (RIGHT, ANN))
    assert channel.names == ["Bob", "Ann"]


def test_a_changed_gallery_is_compared_with_at_once_and_the_name_stays_meanwhile():
    channel = Channel(reembed_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN), (RIGHT, UNKNOWN))
    assert channel.show((LEFT, ANN), (RIGHT, UNKNOWN)) == []
    channel.generation = 2
    assert channel.show((LEFT, ANN), (RIGHT, BOB)) == [0, 1]
    assert channel.names == ["Ann", None]
    channel.show((LEFT, ANN), (RIGHT, BOB))
    assert channel.names == ["Ann", "Bob"]


def test_a_person_removed_from_the_gallery_loses_the_name_within_two_votes():
    channel = Channel(reembed_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN))
    channel.generation = 2
    channel.show((LEFT, UNKNOWN))
    channel.show((LEFT, UNKNOWN))
    assert channel.names == [None]


def test_a_face_that_comes_out_from_behind_something_is_compared_at_once():
    channel = Channel(reembed_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN))
    channel.show()
    assert channel.tracks == {1: "Ann"}
    assert channel.show((LEFT, ANN)) == [0]


def test_a_face_without_embedding_is_tried_again():
    channel = Channel()
    not_embedded = Match(None, Reason.NOT_COMPARED_YET)
    assert all(channel.show((LEFT, not_embedded)) for _ in range(10))
    assert channel.tracked.matches == (not_embedded,)


def test_a_face_that_a_gate_rejects_shows_the_newest_reason_and_is_compared_as_soon_as_possible():
    channel = Channel()
    assert [channel.show((LEFT, SMALL)) for _ in range(5)] == [[0]] * 5
    assert channel.tracked.matches == (SMALL,)
    assert channel.tracked.tracks[0].match == SMALL
    for _ in range(2):
        channel.show((LEFT, ANN))
    assert channel.names == ["Ann"]


def test_a_face_that_becomes_small_keeps_its_name():
    channel = Channel(reembed_after_s=0)
    for _ in range(3):
        channel.show((LEFT, ANN))
    channel.show((LEFT, SMALL))
    assert channel.names == ["Ann"]


def test_more_required_votes_than_the_window_holds_still_allow_names():
    channel = Channel(vote_window=1, min_votes=3)
    channel.show((LEFT, ANN))
    assert channel.names == ["Ann"]


def test_unrelated_pictures_are_each_complete_in_themselves():
    channel = Channel(TrackingSettings(min_hits=5))
    for number, match in enumerate((ANN, BOB, ANN), start=1):
        assert channel.show((LEFT, match), continues=False) == [0]
        assert channel.names == [match.name]
        assert channel.tracked.track_ids == (number,)
        assert channel.tracks == {number: match.name}
    channel.show(continues=False)
    assert channel.tracks == {}


def test_a_video_after_unrelated_pictures_starts_new_tracks():
    channel = Channel()
    channel.show((LEFT, ANN), continues=False)
    channel.show((LEFT, BOB))
    assert channel.tracked.track_ids == (NO_TRACK,)
    channel.show((LEFT, BOB))
    assert channel.tracks == {2: "Bob"}


def test_a_track_that_left_takes_its_votes_with_it():
    channel = Channel()
    for _ in range(5):
        channel.show((LEFT, ANN))
    for _ in range(15):
        channel.show()
    assert channel.tracks == {}
    channel.show((LEFT, UNKNOWN))
    assert channel.names == [None]


def test_attributes_stay_with_the_face_wherever_it_goes_and_leave_with_it():
    channel = Channel()
    old, young = FaceAttributes(age=70.0), FaceAttributes(age=20.0)
    channel.show((LEFT, ANN), (RIGHT, BOB), attributes=(old, young))
    pending = channel.update(RIGHT, LEFT)
    assert pending.attributes == (young, old)
    tracked = channel.tracker.record(pending, [BOB, ANN], None, pending.attributes)
    assert tracked.attributes == (young, old)
    assert [track.attributes for track in tracked.tracks] == [old, young]
    for _ in range(15):
        channel.show()
    assert channel.update(LEFT).attributes == (NO_ATTRIBUTES,)


def test_tracks_know_when_and_where_the_face_was_seen():
    channel = Channel()
    channel.show((LEFT, ANN))
    channel.show((LEFT, ANN))
    channel.show()
    (track,) = channel.tracked.tracks
    assert (track.first_seen, track.last_seen) == pytest.approx((0.1, 0.2))
    np.testing.assert_array_equal(track.box, LEFT)
    assert track.box.dtype == np.float32


def test_a_clock_that_jumps_back_does_not_stop_comparisons():
    channel = Channel(reembed_after_s=1)
    for _ in range(5):
        channel.show((LEFT, ANN))
    assert channel.show((LEFT, ANN), after=-100) == [0]
    assert channel.names == ["Ann"]


def test_calls_in_the_wrong_order_or_of_the_wrong_length_are_errors():
    channel = Channel()
    stale = channel.update(LEFT)
    pending = channel.update(LEFT, RIGHT)
    with pytest.raises(ValueError, match="latest update"):
        channel.tracker.record(stale, [ANN])
    with pytest.raises(ValueError, match="2 matches, got 1"):
        channel.tracker.record(pending, [ANN])
    with pytest.raises(ValueError, match="2 attributes or none, got 1"):
        channel.tracker.record(pending, [ANN, BOB], None, [NO_ATTRIBUTES])
    channel.tracker.record(pending, [ANN, BOB])
    with pytest.raises(ValueError, match="only once"):
        channel.tracker.record(pending, [ANN, BOB])


def test_a_frame_without_faces_has_nothing_to_compare():
    channel = Channel()
    assert channel.show() == []
    assert (channel.tracked.matches, channel.tracked.track_ids, channel.tracked.tracks) == ((), (), ())


NO_FACE = Match(None, Reason.NOT_A_FACE, measured=0.7, limit=0.5)


def test_what_is_no_face_is_no_visitor_however_long_it_is_there():
    channel = Channel()
    for _ in range(30):
        channel.show((LEFT, NO_FACE))
    assert channel.tracks == {} and channel.tracked.track_ids == (NO_TRACK,)
    assert channel.tracked.matches[0].why == "not_a_face 0.70>0.50"
    channel.show()
    assert channel.tracks == {}


def test_what_is_no_face_in_a_picture_is_no_visitor():
    channel = Channel()
    channel.show((LEFT, NO_FACE), (RIGHT, UNKNOWN), continues=False)
    assert channel.tracked.track_ids == (NO_TRACK, 1)


def test_a_person_who_was_once_taken_for_no_face_is_a_visitor():
    channel = Channel()
    channel.show((LEFT, NO_FACE))
    channel.show((LEFT, ANN))
    channel.show((LEFT, ANN))
    assert channel.tracks == {1: "Ann"}


def test_what_is_no_face_is_seldom_embedded_again():
    channel = Channel(reembed_after_s=1)
    compared = sum(bool(channel.show((LEFT, NO_FACE))) for _ in range(50))
    assert 5 < compared < 10


def test_an_unknown_face_that_was_never_seen_clearly_must_be_seen_more_often():
    channel, ids = Channel(TrackingSettings(min_hits=2, min_hits_unknown=4)), []
    for _ in range(4):
        channel.show((LEFT, UNKNOWN))
        ids += channel.tracked.track_ids
    assert ids == [NO_TRACK, NO_TRACK, NO_TRACK, 1]
