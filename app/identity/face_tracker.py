"""Following the faces of one channel, with the votes on who they are and their attributes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Collection, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from app.identity.appearance import MAX_UNCLEAR, Appearance, Verdict, remembered, verdict
from app.identity.frame_faces import Moment, PendingFaces, TrackedFaces, tracks_of
from app.identity.frame_rate import FrameRate
from app.identity.name_holders import NameHolders
from app.identity.prediction import LastLooks, expected_faces
from app.identity.tracker import Pairs, TrackerState, advance, at_time, confirmed, pair, predicted_boxes, restarted
from app.identity.votes import NO_VOTES, TrackVotes, add_vote, clarity, needs_embedding, required_votes, shaken
from app.look import NOBODY, ExpectedFaces
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_ATTRIBUTES, NOT_COMPARED_YET, Continuity, FaceAttributes, Faces, Match, Reason, Track

DEFAULT_THRESHOLD = 0.42
_CLEAR = 0.5
"""Clarity of a face whose embedding is reliable: it may contradict, and it is reported even if seen only once."""
_CLEAR_SCORE = 0.9
"""Score of such a face: what is mistaken for a face has less."""
_MIN_FRAME_RATE = 4.0
"""A person who walks past moves farther between two frames than faces are paired."""
_SECONDS_IN_VIEW = 0.75
"""Time in which such a person must be seen often enough for a track and a name."""
_NEVER = 1 << 30
"""Hits that no track has: it is confirmed after its comparison, and not at all while it is no face."""


class FaceTracker:
    """Follows the faces of one channel. Used by one thread.

    Two calls per frame:

        pending = tracker.update(faces, time, generation)
        ...  # embed and compare the faces of pending.rows
        tracked = tracker.record(pending, matches, embeddings)

    Not every frame has to be looked at, nor all of it: `expected` says where faces should be and how long each can do
    without, and `predicted` completes the frame with those that were not looked at.

    A track is one person. Where the picture allows that another person took the place of the face (after a cut, a jump,
    next to a rival, or when it looks different), the track is *in doubt*: it shows no name, and the face is compared
    with the earlier embeddings of the track in every frame, until it is clear whether it continues the track, continues
    a hidden one, or starts a new one.
    """

    def __init__(
        self, tracking: TrackingSettings, recognition: RecognitionSettings, threshold: float = DEFAULT_THRESHOLD
    ) -> None:
        """`threshold` is the cosine from which two embeddings are of one person."""
        self._tracking = tracking
        self._recognition = recognition
        self._threshold = threshold
        self._state = TrackerState()
        self._rows = np.empty(0, np.int64)
        self._votes: Dict[int, TrackVotes] = {}
        self._attributes: Dict[int, FaceAttributes] = {}
        self._appearances: Dict[int, Appearance] = {}
        self._doubts: Dict[int, int] = {}
        """Tracks in doubt, and after how many comparisons it is still not clear who they are."""
        self._names = NameHolders()
        self._last_looks = LastLooks()
        self._shown: Dict[int, Match] = {}
        """The answers after the last look."""
        self._rate = FrameRate()
        self._pictures_continue = True
        self._generation = 0
        self._pending: Optional[PendingFaces] = None
        self._moment: Optional[Moment] = None

    @property
    def frame_rate(self) -> Optional[float]:
        """Frames per second lately (median); None: not known yet."""
        return self._rate.value

    @property
    def min_frame_rate(self) -> float:
        """Frames per second below which people who walk past are missed, with these settings."""
        frames = max(self._tracking.min_hits, required_votes(self._recognition))
        return max(_MIN_FRAME_RATE, frames / _SECONDS_IN_VIEW)

    def update(
        self,
        faces: Faces,
        time: float,
        generation: int,
        continues: bool = True,
        continuity: Optional[Continuity] = None,
        patience: float = 1.0,
        looked_at: Optional[Collection[int]] = None,
    ) -> PendingFaces:
        """Assigns the faces of a new frame to tracks, and chooses those to compare.

        These are the faces whose answer is not settled, settled ones from time to time or with a new generation of the
        gallery, those that were hidden, as another person may have stepped out, and those in doubt.

        With more `patience`, settled faces are compared so many times less often. `looked_at` are the keys of the
        expected tracks whose faces would have been found; None: all.

        A picture that does not continue the one before starts new tracks, which are confirmed and named at once: there
        will be no second frame.
        """
        continuity = continuity or Continuity()
        self._generation = generation
        moment = self._moment = self._assign(faces, time, continues, continuity.thumbnails, looked_at)
        self._doubt(moment, continuity.cut)
        rules, keys = self._rules(), self._keys()
        votes = [self._votes.get(key, NO_VOTES) for key in keys]
        rows = tuple(
            face
            for face, key in enumerate(keys)
            if face in moment.returned
            or key in self._doubts
            or needs_embedding(votes[face], time, generation, rules, moment.clarities[face], patience)
        )
        self._pending = PendingFaces(
            rows=rows,
            unverified=tuple(face for face in rows if not votes[face].verified),
            settled=tuple(face for face in rows if votes[face].is_settled(generation, rules)),
            attributes=tuple(self._attributes.get(key, NO_ATTRIBUTES) for key in keys),
        )
        return self._pending

    def expected(
        self,
        time: float,
        generation: int,
        max_s: float,
        thumbnails_at: Callable[[np.ndarray], np.ndarray],
        patience: float = 1.0,
    ) -> ExpectedFaces:
        """Where the tracks should be in a frame that was not looked at yet, and for how long each may be predicted.

        That is never longer than `max_s`. `thumbnails_at` gives the `Continuity.thumbnails` of boxes in this frame: a
        face that no longer looks as it did has to be looked at.
        """
        self._rate.count(time)
        if not len(self._state):
            return NOBODY
        state, rules = self._state, self._rules()
        votes = [self._votes.get(key, NO_VOTES) for key in state.keys.tolist()]
        boxes = predicted_boxes(state, time)
        urgent = ~self._last_looks.resemble(state, boxes, thumbnails_at)
        urgent |= np.array([key in self._doubts for key in state.keys.tolist()], np.bool_)
        return expected_faces(
            replace(state, time=time, boxes=boxes),
            self._last_looks.ages(state, time),
            urgent,
            named=np.array([one.published.name is not None for one in votes], np.bool_),
            undecided=np.array(
                [needs_embedding(one, time, generation, rules, patience=patience) for one in votes], np.bool_
            ),
            max_s=min(max_s, self._tracking.forget_after_s / 2),
        )

    def predicted(self, time: float) -> Tuple[Faces, TrackedFaces]:
        """The faces that were not looked at in this frame, where they are expected, and all tracks."""
        state, boxes = self._state, predicted_boxes(self._state, time)
        unseen = ~state.hidden & (state.last_seen < time)
        keys = state.keys[unseen].tolist()
        faces, clarities = self._last_looks.moved(keys, boxes[unseen])
        return faces, TrackedFaces(
            matches=tuple(self._shown.get(key, NOT_COMPARED_YET) for key in keys),
            track_ids=tuple(state.ids[unseen].tolist()),
            tracks=self._tracks(np.where(state.hidden | unseen)[0], boxes),
            attributes=tuple(self._attributes.get(key, NO_ATTRIBUTES) for key in keys if self._attributes),
            clarities=clarities,
        )

    def _assign(
        self,
        faces: Faces,
        time: float,
        continues: bool,
        thumbnails: Optional[np.ndarray],
        looked_at: Optional[Collection[int]],
    ) -> Moment:
        """Pairs faces and tracks by where they are."""
        state = self._state
        if not (continues and self._pictures_continue):
            state = restarted(state)
        self._pictures_continue = continues
        if continues:
            self._rate.count(time)
        before = at_time(state, time, self._tracking.forget_after_s)
        pairs = pair(before, faces.boxes, self._tracking)
        clarities = clarity(faces)
        clear = (clarities >= _CLEAR) & (faces.scores >= _CLEAR_SCORE)
        returned = set(pairs.faces[before.hidden[pairs.tracks]].tolist())
        seen = None if looked_at is None else np.array([key in looked_at for key in before.keys.tolist()], np.bool_)
        moment = Moment(faces, clarities, thumbnails, before, pairs, clear, returned, seen)
        self._advance(moment, pairs)
        return moment

    def _advance(self, moment: Moment, pairs: Pairs) -> None:
        # Ids are given in `_confirm`, when the faces are compared.
        tracking = replace(self._tracking, min_hits=_NEVER)
        self._state, self._rows = advance(
            moment.before, moment.faces.boxes, pairs, tracking, moment.clear, moment.looked_at
        )

    def _doubt(self, moment: Moment, cut: bool) -> None:
        """Finds the tracks whose face may be another person's."""
        before, pairs = moment.before, moment.pairs
        for face, track, doubtful in zip(pairs.faces.tolist(), pairs.tracks.tolist(), pairs.doubtful.tolist()):
            key = int(before.keys[track])
            known = self._appearances.get(key)
            elapsed = before.time - float(before.last_seen[track])
            if known is not None and (cut or doubtful or not known.resembles(moment.thumbnail(face), elapsed)):
                self._doubts.setdefault(key, 0)

    def record(
        self,
        pending: PendingFaces,
        matches: Sequence[Match],
        embeddings: Optional[np.ndarray] = None,
        attributes: Sequence[FaceAttributes] = (),
    ) -> TrackedFaces:
        """Completes the frame: `matches` has one entry per face of `pending.rows`, `attributes` one per face or none.

        `embeddings` (N x D) has a row for each face of the frame; rows of NaN were not embedded. A face that a gate
        rejected has a match without a name and with the gate's reason.
        """
        moment = self._take(pending, matches, attributes)
        compared = dict(zip(pending.rows, matches))
        vectors = {
            face: embeddings[face]
            for face, match in compared.items()
            if embeddings is not None and match.reason.compared and np.isfinite(embeddings[face]).all()
        }
        verified = self._settle_doubts(moment, compared, vectors)
        self._count(moment, compared, vectors, verified)
        self._attributes.update(zip(self._keys(), attributes))
        self._confirm()
        shown = self._shown = self._answers()
        self._forget_gone()
        keys = self._keys()
        self._last_looks.remember(moment, keys)
        return TrackedFaces(
            matches=tuple(shown[key] for key in keys),
            track_ids=tuple(self._state.ids[self._rows].tolist()),
            tracks=self._tracks(np.flatnonzero(self._state.hidden), predicted_boxes(self._state)),
            attributes=tuple(attributes),
            clarities=tuple(moment.clarities.tolist()),
        )

    def _take(self, pending: PendingFaces, matches: Sequence[Match], attributes: Sequence[FaceAttributes]) -> Moment:
        """The frame that `update` began, once."""
        moment = self._moment
        if moment is None or pending is not self._pending:
            raise ValueError("FaceTracker.record: expected the result of the latest update, and only once")
        if len(matches) != len(pending.rows):
            raise ValueError(f"FaceTracker.record: expected {len(pending.rows)} matches, got {len(matches)}")
        if attributes and len(attributes) != len(pending.attributes):
            raise ValueError(
                f"FaceTracker.record: expected {len(pending.attributes)} attributes or none, got {len(attributes)}"
            )
        self._pending = self._moment = None
        return moment

    def _count(
        self, moment: Moment, compared: Dict[int, Match], vectors: Dict[int, np.ndarray], verified: Set[int]
    ) -> None:
        """Adds the comparisons to the votes of the tracks that are not in doubt."""
        time, rules, keys = self._state.time, self._rules(), self._keys()
        for face, match in compared.items():
            key, weight = keys[face], float(moment.clarities[face])
            if key in self._doubts:
                continue
            votes = self._votes.get(key, NO_VOTES)
            has_name = votes.generation == self._generation and votes.published.name is not None
            unconfirmed = has_name and match.name is None
            # A comparison that answers whether it is still the same person is no further vote against the name: many
            # cuts or a busy background would withdraw a name that a settled track keeps.
            if not (face in verified and unconfirmed):
                votes = add_vote(votes, match, time, self._generation, rules, weight)
            self._votes[key] = shaken(votes) if face in verified or unconfirmed else votes
            if face in vectors:
                known, weight = self._appearances.get(key), 0.0 if unconfirmed else weight
                self._appearances[key] = remembered(known, vectors[face], weight, moment.thumbnail(face))

    def _forget_gone(self) -> None:
        alive = set(self._state.keys.tolist())
        columns: Tuple[Dict[int, Any], ...] = (self._votes, self._attributes, self._appearances, self._doubts)
        for kept in (*columns, *self._last_looks.kept):
            for key in [key for key in kept if key not in alive]:
                del kept[key]

    def _settle_doubts(self, moment: Moment, compared: Dict[int, Match], vectors: Dict[int, np.ndarray]) -> Set[int]:
        """Decides of each face in doubt whether it belongs to its track, to another one, or starts a new one.

        Returns the faces that belong to their tracks.
        """
        verified: Set[int] = set()
        before = moment.before
        paired = dict(zip(moment.pairs.faces.tolist(), moment.pairs.tracks.tolist()))
        track_of = dict(paired)
        free = [face for face in vectors if face not in track_of]
        for face, track in paired.items():
            key = int(before.keys[track])
            known = self._appearances.get(key)
            if face not in vectors or known is None:
                continue
            clear = bool(moment.clarities[face] >= _CLEAR)
            found = verdict(known, self._published(key), vectors[face], compared[face], self._threshold, clear)
            if key not in self._doubts and face not in moment.returned:
                if found is Verdict.OTHER and known.weight >= 1 and moment.clarities[face] >= _CLEAR:
                    self._doubts[key] = 0
                continue
            if found is Verdict.UNCLEAR:
                self._doubts[key] = self._doubts.get(key, 0) + 1
                found = Verdict.OTHER if self._doubts[key] >= MAX_UNCLEAR else found
            if found is not Verdict.UNCLEAR:
                self._doubts.pop(key, None)
            if found is Verdict.SAME:
                verified.add(face)
            if found is Verdict.OTHER:
                free.append(face)
                del track_of[face]
        if not free:
            return verified
        self._link(free, track_of, before, compared, vectors)
        if track_of != paired:
            pairs = Pairs(
                np.array(list(track_of), np.int64),
                np.array(list(track_of.values()), np.int64),
                np.zeros(len(track_of), np.bool_),
            )
            self._advance(moment, pairs)
        return verified

    def _link(
        self,
        free: List[int],
        track_of: Dict[int, int],
        before: TrackerState,
        compared: Dict[int, Match],
        vectors: Dict[int, np.ndarray],
    ) -> None:
        """Gives free faces the tracks of the same person that no other face has, the most similar ones first."""
        taken = set(track_of.values())
        candidates = []
        for track, key in enumerate(before.keys.tolist()):
            known = self._appearances.get(key)
            if track in taken or known is None:
                continue
            for face in free:
                found = verdict(known, self._published(key), vectors[face], compared[face], self._threshold)
                if found is Verdict.SAME:
                    candidates.append((-known.similarity(vectors[face], clear=True), face, track))
        for _, face, track in sorted(candidates):
            if face not in track_of and track not in taken:
                track_of[face] = track
                taken.add(track)
                self._doubts.pop(int(before.keys[track]), None)

    def _confirm(self) -> None:
        """Gives ids to tracks that were seen often enough; what is no face gets none."""
        state, min_hits = self._state, self._tracking.min_hits if self._pictures_continue else 1
        votes = [self._votes.get(key, NO_VOTES) for key in state.keys.tolist()]
        is_face = np.array([vote.is_face for vote in votes], np.bool_)
        named = np.array([vote.published.name is not None for vote in votes], np.bool_)
        unknown_hits = max(min_hits, self._tracking.min_hits_unknown) if self._pictures_continue else 1
        required = np.where(named | state.clear, min_hits, unknown_hits)
        self._state = confirmed(replace(state, clear=state.clear & is_face), np.where(is_face, required, _NEVER))

    def _published(self, key: int) -> Match:
        return self._votes.get(key, NO_VOTES).published

    def _answers(self) -> Dict[int, Match]:
        """The answer of each track. Of several with one name the best keeps it; hidden ones among the others end."""
        state = self._state
        hidden = dict(zip(state.keys.tolist(), state.hidden.tolist()))
        shown = {key: self._published(key) for key in hidden}
        for key in self._doubts:
            if key in shown and shown[key].name is not None:
                shown[key] = shown[key].unnamed(Reason.TRACK_IN_DOUBT)
        ended = self._names.give(shown, self._votes, hidden)
        if ended:
            kept = np.array([key not in ended for key in state.keys.tolist()], np.bool_)
            self._state, self._rows = state.chosen(kept), (np.cumsum(kept) - 1)[self._rows]
        return shown

    def _tracks(self, unseen: np.ndarray, expected: np.ndarray) -> Tuple[Track, ...]:
        return tracks_of(self._state, unseen, expected, self._shown, self._votes, self._attributes)

    def _keys(self) -> Sequence[int]:
        """The track of each face."""
        keys: Sequence[int] = self._state.keys[self._rows].tolist()
        return keys

    def _rules(self) -> RecognitionSettings:
        if self._pictures_continue:
            return self._recognition
        return replace(self._recognition, vote_window=1, min_votes=1)
