"""How often is a face in a video given a wrong name? Composes clips with cuts, crossings and takeovers, and counts.

    PYTHONPATH=. .venv/bin/python tests/composed_clips.py --faces DIR [--backgrounds DIR] [--cache FILE.npz]

DIR has one folder of photos per person, like LFW. Some of the people with three photos or more are enrolled with one
photo each; the others are strangers. The clips are the same for the same pictures and `--seed`. The networks are real;
their results are stored in FILE, so that tracking can be measured again within seconds. Not a test: it needs pictures.

With --write FOLDER, it only writes the clips as videos, with gallery and truth for `python -m app evaluate video`.
The columns `1 right` and `1 wrong` are those of single frames: every face in every frame, without tracks and votes.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from app.identity.calibration import calibrate
from app.identity.index import PersonIndex
from app.pipeline import Pipeline
from app.recognizer import Recognizer
from app.settings import AttentionSettings, Settings
from app.tools.demo import visitors
from app.types import Faces, Frame, Look

WIDTH, HEIGHT = 1280, 720
ENROLLED = 24


class Head(NamedTuple):
    """A face cut out of a photo."""

    person: str
    known: bool
    pixels: np.ndarray
    mask: np.ndarray
    face: float
    """Width of the face, as a share of that of the cutout."""


class Shown(NamedTuple):
    """A head in a frame."""

    head: Head
    x: float
    y: float
    size: float
    angle: float = 0.0
    opacity: float = 1.0


class Scene(NamedTuple):
    """A frame to be: what is seen, and in front of what."""

    background: np.ndarray
    heads: list
    """The farthest first."""
    gain: float = 1.0


class Truth(NamedTuple):
    name: str
    known: bool
    x: float
    y: float
    size: float


def render(scene):
    image = scene.background.copy()
    truths = []
    for head, x, y, size, angle, opacity in scene.heads:
        side = size / head.face
        rows = head.pixels.shape[0]
        matrix = cv2.getRotationMatrix2D((rows / 2, rows / 2), angle, side / rows)
        matrix[:, 2] += side / 2 - rows / 2
        span = int(np.ceil(side))
        pixels = cv2.warpAffine(
            head.pixels, matrix, (span, span), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        mask = cv2.warpAffine(head.mask, matrix, (span, span)) * opacity
        left, top = round(x - span / 2), round(y - span / 2)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + span, WIDTH), min(top + span, HEIGHT)
        if x2 <= x1 or y2 <= y1:
            continue
        part = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
        weight = mask[part][..., None]
        target = image[y1:y2, x1:x2]
        image[y1:y2, x1:x2] = (target * (1 - weight) + pixels[part] * weight).astype(np.uint8)
        if opacity >= 0.85:
            truths.append(Truth(head.person, head.known, x, y, size))
        elif opacity > 0.15:
            truths.append(Truth("", head.known, x, y, size))
    if scene.gain != 1:
        image = cv2.convertScaleAbs(image, alpha=scene.gain)
    return image, truths


class Director:
    """Writes the clips."""

    def __init__(self, known, strangers, backgrounds, seed):
        self.known, self.strangers, self.backgrounds = known, strangers, backgrounds
        self.rng = np.random.default_rng(seed)

    def cast(self, count, strangers=1):
        people = [self.known[at] for at in self.rng.choice(len(self.known), count - strangers, replace=False)]
        people += [self.strangers[at] for at in self.rng.choice(len(self.strangers), strangers, replace=False)]
        return [people[at] for at in self.rng.permutation(count)]

    def pick(self, options):
        return options[self.rng.integers(len(options))]

    def sway(self, head, x, y, size, frames, fps):
        """Somebody who sits and talks."""
        phase, speed = self.rng.uniform(0, 6, 4), self.rng.uniform(1, 4, 4)
        for frame in range(frames):
            a, b, c, d = np.sin(phase + speed * frame / fps)
            yield Shown(head, x + 0.12 * size * a, y + 0.06 * size * b, size * (1 + 0.04 * c), 5 * d)

    def dialogue(self, fps, seconds=8):
        """Cuts between close-ups; the faces are at about the same place."""
        people = self.cast(4)
        rooms = [self.pick(self.backgrounds) for _ in people]
        x, y, size = self.rng.uniform(400, 880), self.rng.uniform(250, 450), self.rng.uniform(110, 240)
        last, frames = -1, 0
        while frames < seconds * fps:
            at = int(self.pick([one for one in range(4) if one != last]))
            room = rooms[last] if self.rng.random() < 0.25 and last >= 0 else rooms[at]
            count = int(self.rng.uniform(0.7, 2.6) * fps)
            dx, dy, scale = self.rng.normal(0, 0.15, 3)
            for head in self.sway(
                self.pick(people[at]), x + dx * size, y + dy * size, size * np.exp(scale), count, fps
            ):
                yield Scene(room, [head])
            last, frames = at, frames + count

    def two_shots(self, fps, seconds=8):
        """Two people together, then one of them, then the other two …"""
        people = self.cast(4)
        frames = 0
        while frames < seconds * fps:
            room, count = self.pick(self.backgrounds), int(self.rng.uniform(0.7, 2.6) * fps)
            chosen = self.rng.choice(4, self.rng.integers(1, 4), replace=False)
            size = self.rng.uniform(90, 160)
            places = np.linspace(300, 980, len(chosen)) if len(chosen) > 1 else [self.rng.uniform(300, 980)]
            moves = [
                self.sway(
                    self.pick(people[at]), x + self.rng.normal(0, 20), 350 + self.rng.normal(0, 30), size, count, fps
                )
                for at, x in zip(chosen, places)
            ]
            for heads in zip(*moves):
                yield Scene(room, list(heads))
            frames += count

    def crossing(self, fps, seconds=8):
        """Two people walk past one another, several times; the nearer one hides the other."""
        near, far = (self.pick(photos) for photos in self.cast(2, int(self.rng.integers(0, 2))))
        room, period, dy = self.pick(self.backgrounds), self.rng.uniform(2.5, 4), self.rng.uniform(-25, 25)
        size = self.rng.uniform(90, 150)
        for frame in range(int(seconds * fps)):
            swing = np.cos(2 * np.pi * frame / fps / period)
            bob = 4 * np.sin(9 * frame / fps)
            heads = [
                Shown(far, 640 + 300 * swing, 340 + dy + bob, size * 0.85),
                Shown(near, 640 - 380 * swing, 350 - bob, size),
            ]
            yield Scene(room, heads)

    def takeover(self, fps, seconds=8):
        """One comes in front of another who stands, stays, and leaves; then the next one."""
        people = self.cast(4)
        stands, room = self.pick(people[0]), self.pick(self.backgrounds)
        size, frames, part = 120, int(seconds * fps), seconds / 3
        still = list(self.sway(stands, 640, 350, size, frames, fps))
        comers = [self.pick(photos) for photos in people[1:]]
        for frame in range(frames):
            at = frame / fps / part
            comer, phase = comers[min(int(at), 2)], at % 1
            reach = 700 * max(0, 1 - 4 * phase) if phase < 0.5 else -700 * max(0, 4 * phase - 3)
            yield Scene(room, [still[frame], Shown(comer, 640 + reach, 352, size * 1.25)])

    def door(self, fps, seconds=8):
        """People walk in close together in two directions."""
        people = [self.pick(photos) for photos in self.cast(5, 2)]
        room, starts = self.pick(self.backgrounds), self.rng.uniform(0, 5, 5)
        size = self.rng.uniform(80, 120)
        sizes, ways = size * self.rng.uniform(0.9, 1.2, 5), self.rng.choice([-1, 1], 5)
        heights = 350 + self.rng.uniform(-0.4, 0.4, 5) * size
        order = np.argsort(sizes)
        for frame in range(int(seconds * fps)):
            heads = []
            for at in order:
                travelled = (frame / fps - starts[at]) * 4.5 * size
                x = travelled if ways[at] > 0 else WIDTH - travelled
                if 0 < x < WIDTH:
                    heads.append(Shown(people[at], x, heights[at] + 4 * np.sin(8 * frame / fps + at), sizes[at]))
            yield Scene(room, heads)

    def settled(self, fps, seconds=8):
        """Two people sit; the light changes, and one turns into another photo of the same person."""
        people = self.cast(2, 0)
        room, frames = self.pick(self.backgrounds), int(seconds * fps)
        size = self.rng.uniform(100, 170)
        first = [list(self.sway(photos[0], x, 350, size, frames, fps)) for photos, x in zip(people, (380, 900))]
        later = people[0][-1]
        for frame in range(frames):
            gain = 0.55 if frame * 3 > frames else 1.0
            blend = np.clip((frame / fps - seconds / 2) / 0.4, 0, 1)
            one, two = first[0][frame], first[1][frame]
            heads = (
                [one, one._replace(head=later, opacity=float(blend))]
                if 0 < blend < 1
                else [one._replace(head=later if blend else one.head)]
            )
            yield Scene(room, [*heads, two], gain)

    def dissolve(self, fps, seconds=8):
        """Close-ups that fade into one another."""
        people = self.cast(4)
        room, frames = self.pick(self.backgrounds), int(seconds * fps)
        x, size = self.rng.uniform(400, 880), self.rng.uniform(120, 200)
        shots = [
            list(self.sway(self.pick(photos), x + self.rng.normal(0, 0.1) * size, 350, size, frames, fps))
            for photos in people
        ]
        part = seconds / 4
        for frame in range(frames):
            at, phase = divmod(frame / fps / part, 1)
            this, following = shots[int(at) % 4][frame], shots[(int(at) + 1) % 4][frame]
            blend = float(np.clip((phase - 0.75) / 0.25, 0, 1))
            heads = [this._replace(opacity=1.0), following._replace(opacity=blend)] if blend else [this]
            if 0.15 < blend < 0.85:
                heads[0] = this
            yield Scene(room, heads)

    def walk_past(self, fps, seconds=8):
        """One after another walks past, 1.4 m/s with a face of 85 px."""
        people = [self.pick(photos) for photos in self.cast(4)]
        room = self.pick(self.backgrounds)
        for frame in range(int(seconds * fps)):
            at, phase = divmod(frame / fps / 2, 1)
            x = phase * 2 * 9 * 85 - 60
            yield Scene(room, [Shown(people[int(at) % 4], x, 350, 85)] if x < WIDTH + 60 else [])


KINDS = [
    *[("dialogue", 25)] * 4,
    *[("two_shots", 25)] * 4,
    ("dialogue", 8),
    ("two_shots", 8),
    *[("crossing", fps) for fps in (25, 25, 8, 8, 5)],
    *[("takeover", fps) for fps in (25, 25, 8, 5)],
    *[("door", fps) for fps in (25, 25, 8, 8, 5)],
    *[("dissolve", fps) for fps in (25, 25, 8)],
    *[("settled", fps) for fps in (25, 25, 25, 8)],
    *[("walk_past", fps) for fps in (5, 8, 10, 15)],
]


def cut_out(recognizer, person, known, path):
    image = cv2.imread(str(path))
    (faces,) = recognizer.find([image])
    if len(faces) == 0:
        return None
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    middle = np.linalg.norm(centres - np.array(image.shape[1::-1]) / 2, axis=1).argmin()
    return Head(person, known, *visitors.cut_out(image, faces.boxes[middle]))


def casting(recognizer, folder, seed, false_accept_rate):
    """The photos of enrolled people and strangers, and a gallery of one photo each that no clip shows."""
    rng = np.random.default_rng(seed)
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    many = [path for path in folders if len(list(path.iterdir())) >= 3]
    chosen = [many[at] for at in rng.permutation(len(many))[:ENROLLED]]
    others = [path for path in folders if path not in chosen]
    vectors, names, known, strangers = [], [], [], []
    for path in chosen:
        photos = sorted(path.iterdir())[:4]
        image = cv2.imread(str(photos[0]))
        (faces,) = recognizer.find([image])
        heads = [cut_out(recognizer, path.name, True, photo) for photo in photos[1:]]
        if len(faces) and all(heads):
            vectors.append(recognizer.embed(image, faces[0]).embeddings[0])
            names.append(path.name)
            known.append(heads)
    for at in rng.permutation(len(others))[:ENROLLED]:
        heads = [cut_out(recognizer, others[at].name, False, photo) for photo in sorted(others[at].iterdir())[:3]]
        if all(heads):
            strangers.append(heads)
    vectors, calibration, threshold = np.array(vectors, np.float32), None, None
    if false_accept_rate is not None:
        reference = recognizer.reference
        calibration = calibrate(vectors, names, reference.strangers, reference.same_person, recognizer.recognition)
        threshold = calibration.threshold(false_accept_rate)
    return known, strangers, PersonIndex(vectors, names, names, 1, calibration, threshold)


class Remembering:
    """A recognizer that runs the networks once per frame, and then knows the answers. Counts embeddings."""

    def __init__(self, recognizer, memory):
        self._recognizer, self._memory = recognizer, memory
        self.key, self.embedded = "", 0
        self.attribute_models = None

    def find(self, images, timer=None, **options):
        if f"{self.key} boxes" not in self._memory:
            (faces,) = self._recognizer.find(images)
            faces = self._recognizer.embed(images[0], faces) if len(faces) else faces
            for name in ("boxes", "scores", "landmarks", "embeddings"):
                value = getattr(faces, name)
                self._memory[f"{self.key} {name}"] = np.empty((0, 1), np.float32) if value is None else value
        return [Faces(**{name: self._memory[f"{self.key} {name}"] for name in ("boxes", "scores", "landmarks")})]

    embed_good = Recognizer.embed_good
    embed_good_from = Recognizer.embed_good_from

    def embed(self, image, faces, rows, timer=None, crops=None):
        known = self._memory[f"{self.key} embeddings"]
        vectors = np.full_like(known, np.nan)
        vectors[list(rows)] = known[list(rows)]
        self.embedded += len(rows)
        return dataclasses.replace(faces, embeddings=vectors)

    def __getattr__(self, name):
        return getattr(self._recognizer, name)


class Counting:
    """A recognizer that counts embeddings. It looks where attention wants, so its results cannot be stored."""

    def __init__(self, recognizer):
        self._recognizer = recognizer
        self.key, self.embedded = "", 0

    embed_good = Recognizer.embed_good
    embed_good_from = Recognizer.embed_good_from

    def embed(self, image, faces, rows, timer=None, crops=None):
        self.embedded += len(rows)
        return self._recognizer.embed(image, faces, rows, timer, crops)

    def __getattr__(self, name):
        return getattr(self._recognizer, name)


class GalleryOf:
    def __init__(self, index):
        self.index = index


def visible(truths):
    """Without the heads whose middle is hidden by a nearer one, which was drawn later."""
    return [
        truth
        for at, truth in enumerate(truths)
        if not any(
            truth.name and np.hypot(near.x - truth.x, near.y - truth.y) < 0.4 * near.size for near in truths[at + 1 :]
        )
    ]


def truth_of(box, truths):
    """The head that a detection belongs to: the nearest one."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    near = [truth for truth in truths if np.hypot(truth.x - x, truth.y - y) < 0.5 * truth.size]
    return min(near, key=lambda truth: np.hypot(truth.x - x, truth.y - y), default=None)


def write_clip(path, scenes, fps):
    """The clip as a video, and who is visible in it as `evaluate video` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(f"{path}.mp4", cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH, HEIGHT))
    rows = ["first,last,names"]
    for index, scene in enumerate(scenes):
        image, truths = render(scene)
        writer.write(image)
        names = sorted({truth.name for truth in visible(truths) if truth.known and truth.name})
        rows.append(f"{index},{index},{'|'.join(names)}")
    writer.release()
    path.with_suffix(".csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


COUNTS = (
    *("frames", "faces", "right", "wrong", "unknown", "twice", "untracked", "embedded", "1 right", "1 wrong"),
    *map(str, Look),
)


def measure(scenes, fps, name, recognizer, people, attention, verbose):
    counts = dict.fromkeys(COUNTS, 0)
    pipeline = Pipeline(recognizer, GalleryOf(people), Settings(attention=AttentionSettings(mode=attention)))
    recognizer.embedded, seen = 0, {}
    for index, scene in enumerate(scenes):
        image, truths = render(scene)
        truths = visible(truths)
        recognizer.key = f"{name} {index}"
        result = pipeline.process(Frame(image, "clip", index, 0.0, index / fps))
        counts[str(result.look)] += 1
        counts["frames"] += 1
        for truth in truths:
            if truth.name:
                seen.setdefault(truth.name, False)
        for track in result.tracks:
            if track.match.name in seen:
                seen[track.match.name] = True
        named = [match.name for match in result.matches if match.name]
        counts["twice"] += len(named) - len(set(named))
        embedded = recognizer.embedded
        alone = recognizer.identify(recognizer.embed(image, result.faces, range(len(result.faces))), people)
        recognizer.embedded = embedded
        for box, match, track, single in zip(result.faces.boxes, result.matches, result.track_ids, alone):
            truth = truth_of(box, truths)
            if single.name is not None:
                mistaken = truth is None or (truth.name and truth.name != single.name)
                counts["1 wrong"] += bool(mistaken)
                counts["1 right"] += not mistaken and bool(truth.name)
            counts["faces"] += 1
            counts["untracked"] += track == 0
            if match.name is None:
                counts["unknown"] += 1
            elif truth is None or (truth.name and truth.name != match.name):
                counts["wrong"] += 1
                if verbose:
                    real = truth and truth.name
                    print(f"  {name} frame {index}: {match.name} {match.similarity:.2f} on {real}, track {track}")
            else:
                counts["right"] += bool(truth.name)
    counts["embedded"] = recognizer.embedded
    counts["tracks"] = max((track.id for track in result.tracks), default=0)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--false-accept-rate", type=float, help="as recognition.false_accept_rate")
    parser.add_argument("--attention", choices=("off", "auto"), default="off")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--write", type=Path, help="write videos and truth for `evaluate video` to this folder")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    backgrounds = [rng.integers(60, 200, (6, 8, 3), np.uint8) for _ in range(8)]
    if options.backgrounds:
        backgrounds = [
            cv2.imread(str(path)) for path in sorted(options.backgrounds.iterdir())[::4] if path.suffix == ".jpg"
        ]
    backgrounds = [cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for image in backgrounds]
    total = dict.fromkeys((*COUNTS, "tracks"), 0)
    clips = {}
    with Recognizer.from_settings(Settings()) as recognizer:
        memory = dict(np.load(options.cache)) if options.cache and options.cache.is_file() else {}
        if memory.get("fingerprint") != recognizer.fingerprint:
            memory = {"fingerprint": np.array(recognizer.fingerprint)}
        size = len(memory)
        known, strangers, people = casting(recognizer, options.faces, options.seed, options.false_accept_rate)
        if options.write:
            for name in sorted({heads[0].person for heads in known}):
                photo = sorted((options.faces / name).iterdir())[0]
                target = options.write / "gallery" / f"{name}{photo.suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(photo.read_bytes())
        watching = Remembering(recognizer, memory) if options.attention == "off" else Counting(recognizer)
        by_kind = {}
        for number, (kind, fps) in enumerate(KINDS):
            name = f"{options.seed} {number} {kind} {fps}"
            if options.only and options.only not in name:
                continue
            director = Director(known, strangers, backgrounds, (options.seed, number))
            if options.write:
                write_clip(options.write / name.replace(" ", "-"), getattr(director, kind)(fps), fps)
                continue
            scenes = getattr(director, kind)(fps)
            counts = measure(scenes, fps, name, watching, people, options.attention, options.verbose)
            row = by_kind.setdefault((kind, fps), dict.fromkeys(total, 0))
            for key, value in counts.items():
                total[key] += value
                row[key] += value
            clips[name] = counts
    columns = list(total)
    print(f"{'clips':20}" + "".join(f"{column:>10}" for column in columns))
    for (kind, fps), row in [*by_kind.items(), (("all", 0), total)]:
        label = kind if kind == "all" else f"{kind} {fps}/s"
        print(f"{label:20}" + "".join(f"{row[column]:>10}" for column in columns))
    wrong, embedded = (total[name] / max(1, total["faces"]) for name in ("wrong", "embedded"))
    print(f"{100 * wrong:.2f} % of the faces have a wrong name; {embedded:.3f} embeddings per face")
    if options.cache and len(memory) != size:
        np.savez(options.cache, **memory)
    if options.json:
        options.json.write_text(json.dumps({"total": total, "clips": clips}, indent=1))


if __name__ == "__main__":
    main()
