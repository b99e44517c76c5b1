"""Planted faces in front of cameras drive the real tracker, comparison, votes, strangers and events."""

import numpy as np
from planted_visits import BASIS, DIMENSION, MODEL

from app.events.stream import EventStream
from app.gallery.strangers import LiveStrangers
from app.identity.face_tracker import FaceTracker
from app.identity.index import PersonIndex, decide
from app.settings import RecognitionSettings, StrangerSettings, TrackingSettings
from app.types import Faces, Frame, FrameResult

THRESHOLD, MARGIN = 0.42, 0.03
PEOPLE = {"Ann": 0, "Bob": 1}
CAST = {**PEOPLE, "Eva": 2, "Max": 3, "Tom": 4}
START = 1_800_000_000.0
FRONTAL = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


class StrangerStage:
    """Channels in which planted faces appear; a face is (person, x) or (person, x, options)."""

    def __init__(self, folder=None, *, enrolled=PEOPLE, start=START, fps=25, **settings):
        self.live = LiveStrangers(StrangerSettings(**settings), folder, MODEL, THRESHOLD, 1e-9)
        self.time = start
        self.live.open(start)
        rows = np.array([BASIS[PEOPLE[name]] for name in enrolled], np.float32).reshape(-1, DIMENSION)
        self.people = PersonIndex(rows, list(enrolled), list(enrolled), 1)
        self.trackers, self.stream, self.events = {}, EventStream(visit_gap_s=1.0), []
        self.rng, self.fps, self.index = np.random.default_rng(3), fps, 0

    def show(self, *faces, channel="door", frames=1, continues=True):
        """The same faces for some frames; returns the label at each: a name, a stranger, or None."""
        for _ in range(frames):
            labels = self._frame(faces, channel, continues)
        return labels

    def leave(self, channel="door"):
        """Two seconds without a face."""
        self.show(channel=channel, frames=2 * self.fps + 1)

    def close(self):
        self.live.close()
        self.events += self.stream.close()

    def _frame(self, faces, channel, continues):
        self.time += 1 / self.fps
        self.index += 1
        boxes, vectors = [], []
        for person, x, *options in faces:
            options = options[0] if options else {}
            size = options.get("size", 80)
            boxes.append(np.array([x, 100, x + size, 100 + size]) + self.rng.normal(0, 0.01 * size, 4))
            noise = self.rng.normal(size=DIMENSION)
            noise -= BASIS.T @ (BASIS @ noise)
            likeness = options.get("likeness", 0.85)
            plain = BASIS[CAST[person]] if isinstance(person, str) else person
            vectors.append(likeness * plain + np.sqrt(1 - likeness**2) * noise / np.linalg.norm(noise))
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        landmarks = boxes[:, None, :2] + FRONTAL * (boxes[:, None, 2:] - boxes[:, None, :2])
        found = Faces(boxes, np.full(len(boxes), 0.99, np.float32), landmarks)
        if channel not in self.trackers:
            self.trackers[channel] = FaceTracker(TrackingSettings(), RecognitionSettings(), THRESHOLD)
        tracker = self.trackers[channel]
        people = self.people.with_anchors(self.live.anchors)
        pending = tracker.update(found, self.time, people.generation, continues)
        embeddings = np.full((len(faces), DIMENSION), np.nan, np.float32)
        for row in pending.rows:
            embeddings[row] = vectors[row]
        candidates = people.search(embeddings[list(pending.rows)]) if pending.rows else []
        matches = [
            people.anchors.checked(decide(one, THRESHOLD, MARGIN), embeddings[row])
            for one, row in zip(candidates, pending.rows)
        ]
        found = Faces(found.boxes, found.scores, found.landmarks, embeddings if pending.rows else None)
        tracked = tracker.record(pending, matches, found.embeddings)
        frame = Frame(
            np.full((360, 640, 3), 90, np.uint8), channel, self.index, self.time, continues=continues, live=True
        )
        tracks = self.live.observe(frame, found, tracked.tracks, tracked.track_ids)
        result = FrameResult(frame, found, tracked.matches, tracked.track_ids, tracks)
        self.events += self.stream.handle(result)
        strangers = {track.id: track.stranger for track in tracks}
        return [match.name or strangers.get(track_id) for match, track_id in zip(tracked.matches, tracked.track_ids)]
