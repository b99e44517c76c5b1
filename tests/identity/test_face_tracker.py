"""One channel from frame to frame: who is looked at when, and what is said of them."""

import numpy as np
import pytest

from app.identity.face_tracker import ChannelTracker
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_ATTRIBUTES, NO_TRACK, FaceAttributes, Match, Reason

ANN = Match("Ann", Reason.MATCHED, 0.7, "Ann")
BOB = Match("Bob", Reason.MATCHED, 0.6, "Bob")
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.2, "Ann")
LEFT, RIGHT = [100, 100, 180, 180], [400, 100, 480, 180]


class Channel:
    """Runs the pipeline's part for frames a tenth of a second apart."""

    def __init__(self, tracking=None, **recognition):
        self.tracker = ChannelTracker(tracking or TrackingSettings(), RecognitionSettings(**recognition))
        self.time = 0.0
        self.generation = 1

    def show(self, *faces, continues=True, after=0.1):
        """`faces` are (box, what a look at it gives); the faces that were looked at."""
        self.time += after
        boxes = np.array([place for place, _ in faces], np.float32).reshape(-1, 4)
        self.tracker.update(boxes, self.time, continues)
        chosen = self.tracker.faces_to_look_at(self.generation)
        for face in chosen:
            self.tracker.record_look(face, faces[face][1], self.generation)
        return chosen

    @property
    def names(self):
        return [match.name for match in self.tracker.matches()]

    @property
    def tracks(self):
        return {track.id: track.match.name for track in self.tracker.tracks()}


def test_a_person_is_named_after_two_looks_that_agree():
    channel = Channel()
    channel.show((LEFT, ANN))
    assert channel.names == [None]
    assert channel.tracker.track_ids() == (NO_TRACK,)
    channel.show((LEFT, ANN))
    assert channel.names == ["Ann"]
    assert channel.tracker.track_ids() == (1,)
    assert channel.tracks == {1: "Ann"}


def test_a_settled_face_is_looked_at_again_only_after_its_time():
    channel = Channel(look_again_after_s=0.95)
    looked = [bool(channel.show((LEFT, ANN))) for _ in range(32)]
    assert [frame for frame, look in enumerate(looked) if look] == [0, 1, 11, 21, 31]


def test_with_an_interval_of_zero_every_frame_is_looked_at():
    channel = Channel(look_again_after_s=0)
    assert all(channel.show((LEFT, ANN)) for _ in range(20))


def test_a_stranger_is_looked_at_until_the_window_is_full():
    channel = Channel(looks=5)
    assert [bool(channel.show((LEFT, UNKNOWN))) for _ in range(9)] == [True] * 5 + [False] * 4
    assert channel.tracker.matches() == (UNKNOWN,)


def test_a_settled_face_that_looks_like_somebody_else_is_looked_at_at_once():
    channel = Channel()
    for _ in range(10):
        channel.show((LEFT, UNKNOWN))
    frames = 0
    while channel.names != ["Ann"]:
        channel.show((LEFT, ANN))
        frames += 1
    assert frames <= 10 + 3


def test_one_slip_does_not_change_a_name():
    channel = Channel(look_again_after_s=0)
    for match in (ANN, ANN, ANN, BOB, UNKNOWN, ANN, BOB, ANN):
        channel.show((LEFT, match))
        assert channel.names in ([None], ["Ann"])
    assert channel.names == ["Ann"]


def test_two_people_who_swap_places_unseen_are_told_apart_again():
    channel = Channel(look_again_after_s=1)
    for _ in range(10):
        channel.show((LEFT, ANN), (RIGHT, BOB))
    for _ in range(16):
        channel.show((LEFT, BOB), (RIGHT, ANN))
    assert channel.names == ["Bob", "Ann"]


def test_a_changed_gallery_is_asked_at_once_and_the_name_stays_meanwhile():
    channel = Channel(look_again_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN), (RIGHT, UNKNOWN))
    assert channel.show((LEFT, ANN), (RIGHT, UNKNOWN)) == []
    channel.generation = 2
    assert channel.show((LEFT, ANN), (RIGHT, BOB)) == [0, 1]
    assert channel.names == ["Ann", None]
    channel.show((LEFT, ANN), (RIGHT, BOB))
    assert channel.names == ["Ann", "Bob"]


def test_a_person_removed_from_the_gallery_loses_the_name_within_two_looks():
    channel = Channel(look_again_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN))
    channel.generation = 2
    channel.show((LEFT, UNKNOWN))
    channel.show((LEFT, UNKNOWN))
    assert channel.names == [None]


def test_a_face_that_comes_out_from_behind_something_is_looked_at_at_once():
    channel = Channel(look_again_after_s=60)
    for _ in range(5):
        channel.show((LEFT, ANN))
    channel.show()
    assert channel.tracks == {1: "Ann"}
    assert channel.show((LEFT, ANN)) == [0]


def test_a_face_without_embedding_is_tried_again():
    channel = Channel()
    not_embedded = Match(None, Reason.NOT_COMPARED_YET)
    assert all(channel.show((LEFT, not_embedded)) for _ in range(10))
    assert channel.tracker.matches() == (not_embedded,)


def test_small_faces_are_not_looked_at_and_say_so():
    channel = Channel(min_face_px=50)
    small = [100, 100, 180, 140]
    assert [channel.show((small, ANN)) for _ in range(5)] == [[]] * 5
    assert [match.reason for match in channel.tracker.matches()] == [Reason.TOO_SMALL]


def test_a_face_that_becomes_small_keeps_its_name():
    channel = Channel(min_face_px=70, look_again_after_s=0)
    for _ in range(3):
        channel.show((LEFT, ANN))
    assert channel.show(([105, 105, 170, 170], UNKNOWN)) == []
    assert channel.names == ["Ann"]


def test_more_agreement_than_looks_are_kept_does_not_forbid_every_name():
    channel = Channel(looks=1, min_agreeing_looks=3)
    channel.show((LEFT, ANN))
    assert channel.names == ["Ann"]


def test_unrelated_pictures_are_each_complete_in_themselves():
    channel = Channel(TrackingSettings(min_hits=5))
    for number, match in enumerate((ANN, BOB, ANN), start=1):
        assert channel.show((LEFT, match), continues=False) == [0]
        assert channel.names == [match.name]
        assert channel.tracker.track_ids() == (number,)
        assert channel.tracks == {number: match.name}
    channel.show(continues=False)
    assert channel.tracks == {}


def test_a_film_after_unrelated_pictures_starts_afresh():
    channel = Channel()
    channel.show((LEFT, ANN), continues=False)
    channel.show((LEFT, BOB))
    assert channel.tracker.track_ids() == (NO_TRACK,)
    channel.show((LEFT, BOB))
    assert channel.tracks == {2: "Bob"}


def test_a_track_that_left_takes_its_looks_with_it():
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
    channel.show((LEFT, ANN), (RIGHT, BOB))
    old, young = FaceAttributes(age=70.0), FaceAttributes(age=20.0)
    channel.tracker.record_attributes([old, young])
    channel.show((RIGHT, BOB), (LEFT, ANN))
    assert channel.tracker.attributes() == (young, old)
    assert [track.attributes for track in channel.tracker.tracks()] == [old, young]
    for _ in range(15):
        channel.show()
    channel.show((LEFT, ANN))
    assert channel.tracker.attributes() == (NO_ATTRIBUTES,)


def test_tracks_tell_when_and_where_the_face_was_seen():
    channel = Channel()
    channel.show((LEFT, ANN))
    channel.show((LEFT, ANN))
    channel.show()
    (track,) = channel.tracker.tracks()
    assert (track.first_seen, track.last_seen) == pytest.approx((0.1, 0.2))
    np.testing.assert_array_equal(track.box, LEFT)
    assert track.box.dtype == np.float32


def test_a_clock_that_jumps_back_does_not_stop_the_looks():
    channel = Channel(look_again_after_s=1)
    for _ in range(5):
        channel.show((LEFT, ANN))
    assert channel.show((LEFT, ANN), after=-100) == [0]
    assert channel.names == ["Ann"]


def test_an_answer_can_be_asked_before_the_first_frame():
    tracker = Channel().tracker
    assert (tracker.matches(), tracker.track_ids(), tracker.tracks()) == ((), (), ())
    assert tracker.faces_to_look_at(1) == []
