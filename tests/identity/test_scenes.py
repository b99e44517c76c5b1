"""Scenes with planted faces drive the real tracker, comparison and votes: nobody gets another person's name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.identity.face_tracker import FaceTracker
from app.identity.index import PersonIndex, decide
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_TRACK, Continuity, Faces, Reason

THRESHOLD, MARGIN, DIMENSION = 0.42, 0.03, 512
PEOPLE = ["Ann", "Bob", "Cid", "Dot"]
CAST = [*PEOPLE, "stranger", "other stranger"]
FRONTAL = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# Orthogonal, so that the similarity of two people is 0, and that of a face to its photo is the `likeness` of the face.
BASIS = np.linalg.qr(np.random.default_rng(5).normal(size=(DIMENSION, len(CAST))))[0]
FACES = dict(zip(CAST, BASIS.T))
FACES["Ann's twin"] = unit(FACES["Ann"] + 0.35 * FACES["other stranger"])
FACES["Ann in a hat"] = unit(0.6 * FACES["Ann"] + 0.8 * FACES["other stranger"])
FACES["Ann in a large hat"] = unit(0.38 * FACES["Ann"] + 0.92 * FACES["other stranger"])


class Stage:
    """A channel in which planted faces appear; a face is (person, x) or (person, x, options)."""

    def __init__(self, fps=25, seed=0, **recognition):
        rules = RecognitionSettings(**recognition)
        self.tracker = FaceTracker(TrackingSettings(), rules, THRESHOLD)
        self.people = PersonIndex(np.array([FACES[name] for name in PEOPLE], np.float32), PEOPLE, PEOPLE, 1)
        self.rng, self.fps, self.time = np.random.default_rng(seed), fps, 0.0
        self.embedded = self.shown = 0
        self.tracked = None
        self.history = []

    def show(self, *faces, cut=False):
        """One frame; returns the names at the faces."""
        self.time += 1 / self.fps
        self.shown += len(faces)
        boxes, vectors, scores = [], [], []
        for person, x, *options in faces:
            options = options[0] if options else {}
            size, y = options.get("size", 80), options.get("y", 100)
            boxes.append(np.array([x, y, x + size, y + size]) + self.rng.normal(0, 0.015 * size, 4))
            noise = self.rng.normal(size=DIMENSION)
            noise = unit(noise - BASIS @ (BASIS.T @ noise))
            likeness = options.get("likeness", 0.75)
            other, share = options.get("becomes", (person, 0.0))
            face = unit((1 - share) * FACES[person] + share * FACES[other])
            vectors.append(unit(likeness * face + np.sqrt(1 - likeness**2) * noise))
            scores.append(options.get("score", 0.99))
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        landmarks = boxes[:, None, :2] + FRONTAL * (boxes[:, None, 2:] - boxes[:, None, :2])
        pending = self.tracker.update(
            Faces(boxes, np.array(scores, np.float32), landmarks), self.time, 1, continuity=Continuity(cut)
        )
        embeddings = np.full((len(faces), DIMENSION), np.nan, np.float32)
        for row in pending.rows:
            embeddings[row] = vectors[row]
        found = self.people.search(embeddings[list(pending.rows)])
        matches = [decide(candidates, THRESHOLD, MARGIN) for candidates in found]
        self.embedded += len(matches)
        self.tracked = self.tracker.record(pending, matches, embeddings)
        self.history.append(tuple((face[0], match.name) for face, match in zip(faces, self.tracked.matches)))
        return self.names

    @property
    def names(self):
        return [match.name for match in self.tracked.matches]

    @property
    def ids(self):
        return list(self.tracked.track_ids)

    @property
    def wrong(self):
        """Faces with a name that is not theirs, in all frames so far."""
        return [pair for frame in self.history for pair in frame if pair[1] not in (None, pair[0])]


@pytest.mark.parametrize("fps", [5, 8, 25])
@pytest.mark.parametrize("successor", ["Bob", "stranger"])
def test_after_a_cut_another_person_at_the_same_place_never_has_the_old_name(fps, successor):
    stage = Stage(fps)
    for _ in range(20):
        stage.show(("Ann", 100))
    assert stage.names == ["Ann"]
    stage.show((successor, 100), cut=True)
    assert stage.names == [None]
    stage.show((successor, 100))
    assert stage.names == [successor if successor in PEOPLE else None]
    assert stage.ids == [2]
    assert stage.wrong == []


@pytest.mark.parametrize("successor", ["Bob", "stranger"])
def test_a_name_does_not_survive_a_dissolve_in_which_each_picture_resembles_the_one_before(successor):
    stage = Stage()
    for _ in range(20):
        stage.show(("Ann", 100))
    for share in np.linspace(0, 1, 13):
        stage.show(("Ann", 100, {"becomes": (successor, share), "likeness": 0.9}), cut=True)
    assert "Ann" not in stage.names
    for _ in range(25):
        stage.show((successor, 100))
        assert "Ann" not in stage.names
    assert stage.ids == [2]


def test_a_face_that_was_in_doubt_is_compared_again_soon():
    stage = Stage()
    for _ in range(200):
        stage.show(("Ann", 100))
    stage.show(("Ann", 100), cut=True)
    before = stage.embedded
    compared = []
    for _ in range(25):
        stage.show(("Ann", 100))
        compared.append(stage.embedded - before)
    assert [compared[at] for at in (4, 8, 24)] == [0, 1, 2], "after a quarter of a second, and a half more"
    assert stage.names == ["Ann"]


def test_a_person_who_is_still_there_after_a_cut_keeps_track_and_name():
    stage = Stage()
    for _ in range(20):
        stage.show(("Ann", 100))
    for _ in range(5):
        stage.show(("Ann", 100), cut=True)
        assert (stage.names, stage.ids) == (["Ann"], [1])


def test_after_a_cut_people_keep_their_tracks_wherever_they_are_shown():
    stage = Stage()
    for _ in range(20):
        stage.show(("Ann", 100), ("Bob", 400))
    stage.show(("Bob", 100), ("Ann", 400), cut=True)
    assert (stage.names, stage.ids) == (["Bob", "Ann"], [2, 1])
    stage.show(("Ann", 700, {"size": 160}), cut=True)
    assert (stage.names, stage.ids) == (["Ann"], [1])


def test_two_strangers_are_two_tracks():
    stage = Stage()
    for _ in range(20):
        stage.show(("stranger", 100))
    for _ in range(20):
        stage.show(("other stranger", 100), cut=stage.shown == 20)
    assert stage.ids == [2]
    assert stage.wrong == []


def test_a_face_that_may_be_another_person_has_no_name_until_it_can():
    stage = Stage()
    for _ in range(20):
        stage.show(("Ann", 100))
    stage.show(("Ann", 100, {"likeness": 0.4}), cut=True)
    assert stage.tracked.matches[0].reason is Reason.TRACK_IN_DOUBT
    assert stage.ids == [1]
    stage.show(("Ann", 100))
    assert (stage.names, stage.ids) == (["Ann"], [1])


def test_a_face_that_stays_unclear_starts_a_new_track():
    stage = Stage()
    for _ in range(20):
        stage.show(("Ann", 100))
    ids = []
    for frame in range(5):
        stage.show(("Ann", 100, {"likeness": 0.38}), cut=frame == 0)
        assert stage.names == [None]
        ids += stage.ids
    assert ids[0] == 1 and ids[-1] == 2


def test_a_takeover_without_any_sign_ends_with_the_second_contradicting_look():
    stage = Stage(reembed_after_s=0.5)
    for _ in range(20):
        stage.show(("Ann", 100))
    for _ in range(60):
        stage.show(("stranger", 100))
    assert stage.names == [None] and stage.ids == [2]
    assert len(stage.wrong) <= 26


@pytest.mark.parametrize("fps", [5, 8, 25])
def test_people_who_cross_keep_their_names(fps):
    stage = Stage(fps)
    for n in range(int(3 * fps)):
        step = 3 * 80 * n / fps
        stage.show(("Ann", 100 + step), ("Bob", 800 - step, {"y": 120}))
    assert stage.names == ["Ann", "Bob"]
    assert stage.wrong == []


@pytest.mark.parametrize("fps", [5, 8, 25])
def test_a_person_hidden_by_another_comes_back_under_the_same_id(fps):
    stage = Stage(fps)
    for n in range(int(4 * fps)):
        x = 120 * n / fps
        hidden = 195 < x < 285
        stage.show(("Bob", 240), *([] if hidden else [("Ann", x, {"y": 110})]))
    assert stage.names == ["Bob", "Ann"]
    assert {track.id for track in stage.tracked.tracks} == {1, 2}
    assert stage.wrong == []


@pytest.mark.parametrize("fps", [5, 25])
def test_one_who_steps_out_where_another_was_hidden_does_not_get_the_name(fps):
    stage = Stage(fps)
    for _ in range(10):
        stage.show(("Ann", 100))
    stage.show()
    stage.show()
    for _ in range(5):
        stage.show(("stranger", 105))
    assert stage.wrong == []
    assert stage.ids == [2]


def test_one_who_leaves_does_not_lend_the_name_to_one_who_enters():
    stage = Stage()
    for n in range(60):
        gone = 6 * max(0, n - 20)
        faces = [("Ann", 200 - gone, {"y": 100})] if gone < 110 else []
        faces += [("stranger", 400 - gone, {"y": 105})] if gone > 60 else []
        stage.show(*faces)
    assert stage.names == [None]
    assert stage.wrong == []


@pytest.mark.parametrize("fps", [5, 8, 10, 12, 15, 25])
def test_a_person_who_walks_past_is_reported_and_named(fps):
    stage = Stage(fps)
    for n in range(int(1.2 * fps)):
        stage.show(("Ann", 100 + 9 * 80 * n / fps))
    assert (stage.names, stage.ids) == (["Ann"], [1])


def test_a_clear_face_in_a_single_frame_is_reported_once_but_an_uncertain_one_is_not():
    stage = Stage(5)
    stage.show(("Ann", 100), ("stranger", 500, {"score": 0.6}))
    reported = set()
    for _ in range(10):
        stage.show()
        reported |= {(track.id, track.match.name, track.match.nearest) for track in stage.tracked.tracks}
    assert reported == {(1, None, "Ann")}
    assert stage.tracked.tracks == ()


@pytest.mark.parametrize("seed", range(5))
def test_of_two_who_resemble_one_person_only_the_better_one_has_the_name(seed):
    stage = Stage(seed=seed)
    for _ in range(50):
        stage.show(("Ann's twin", 100, {"likeness": 0.7}), ("Ann", 400, {"likeness": 0.95}))
    assert stage.names == [None, "Ann"]
    assert stage.tracked.matches[0].reason is Reason.NAME_TAKEN
    stage.show(("Ann's twin", 100), ("Ann", 400))
    for _ in range(30):
        stage.show(("Ann's twin", 100))
    assert stage.names == ["Ann"]


def test_a_late_good_look_gives_the_name_at_once():
    stage = Stage()
    for _ in range(100):
        stage.show(("Ann", 100, {"likeness": 0.2, "size": 30}))
    assert stage.names == [None]
    frames = 0
    while stage.names == [None] and frames < 20:
        stage.show(("Ann", 100, {"size": 30 + 3 * frames}))
        frames += 1
    assert stage.names == ["Ann"] and frames < 20


def test_a_settled_face_costs_hardly_any_embeddings():
    stage = Stage(fps=10)
    for n in range(300):
        stage.show(("Ann", 100 + 10 * np.sin(n / 10)), ("stranger", 400 + 10 * np.cos(n / 10)))
    assert stage.embedded / stage.shown < 0.06
    assert stage.names == ["Ann", None]


def test_a_track_knows_its_votes_and_when_it_was_named():
    stage = Stage()
    for _ in range(10):
        stage.show(("Ann", 100))
    (track,) = stage.tracked.tracks
    assert track.votes == stage.embedded == 2
    assert track.time_to_first_name == pytest.approx(1 / 25)


def test_the_frame_rate_that_is_needed_depends_on_the_settings():
    stage = Stage(fps=5)
    for _ in range(50):
        stage.show()
        assert stage.tracker.frame_rate is None
    stage.show()
    assert stage.tracker.frame_rate == pytest.approx(5)
    assert stage.tracker.min_frame_rate == 4
    assert Stage(min_votes=6, vote_window=6).tracker.min_frame_rate == 8


def test_doubts_that_are_answered_with_yes_do_not_withdraw_a_name():
    """The face resembles the track's earlier faces, though it no longer resembles the photo in the gallery."""
    stage = Stage(reembed_after_s=60)
    for _ in range(5):
        stage.show(("Ann in a hat", 100, {"likeness": 0.97}))
    for _ in range(20):
        stage.show(("Ann in a large hat", 100, {"likeness": 0.97}), cut=True)
        assert (stage.names, stage.ids) == (["Ann"], [1])


cast = st.lists(
    st.tuples(st.sampled_from([*CAST, "Ann's twin"]), st.integers(0, 6), st.floats(0.3, 0.95)),
    max_size=4,
    unique_by=lambda face: face[1],
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cast, st.booleans(), st.integers(1, 4)), max_size=12), st.sampled_from([3, 8, 25]))
def test_no_two_tracks_ever_share_a_name_and_ids_never_repeat(shots, fps):
    stage, departed, present = Stage(fps), set(), set()
    for faces, cut, frames in shots:
        for frame in range(frames):
            stage.show(
                *((person, 60 * place, {"likeness": likeness}) for person, place, likeness in faces),
                cut=cut and frame == 0,
            )
            tracks = stage.tracked.tracks
            names = [track.match.name for track in tracks if track.match.name]
            assert len(names) == len(set(names))
            shown = [name for name in stage.names if name]
            assert len(shown) == len(set(shown))
            visible = [number for number in stage.ids if number != NO_TRACK]
            assert len(visible) == len(set(visible))
            now = {track.id for track in tracks}
            assert set(visible) <= now
            departed |= present - now
            assert departed.isdisjoint(now)
            present = now
