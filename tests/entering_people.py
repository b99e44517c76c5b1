"""Composes videos of a fixed camera to which people come one after another, with the truth for `evaluate video`.

    PYTHONPATH=. .venv/bin/python tests/entering_people.py OUT --faces DIR [--backgrounds DIR] [--size 1280x720]

DIR has one folder of photos per person, like LFW. People come in from a side, from behind a door, or with their back to
the camera; they walk through, stay a while, or go again. In between nobody is there. The picture has the noise of a
sensor and is compressed with H.264. For each face size in pixels, OUT gets a video, `NAME.csv` with who is visible,
`NAME.boxes.csv` with the box of every face, and `idle.mp4` has nobody in it. `gallery/` has one photo of each
person that no video shows. Not a test: it needs pictures. The same pictures and `--seed` give the same videos.
"""

import argparse
import functools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from composed_clips import cut_out

from app.output.video_encoders import open_video_writer
from app.recognizer import Recognizer
from app.settings import Settings
from app.tools.demo.visitors import FACE_HEIGHT, SensorNoise, Visitor, draw

FACE_SIZES = ((16, 32), (32, 64), (64, 128))
ENROLLED = 24
NOISE = 4.0
CRF = 26
MIN_VISIBLE = 0.85
MIN_SIMILARITY = 0.45
"""Of a person's two photos: what is measured is the time until a name, not whether the embedder knows the person."""


class Face(NamedTuple):
    """What is true of a frame."""

    number: int
    """Counts the appearances of the video."""
    name: str
    box: tuple
    whole: bool
    """Or else only half of it is visible; a name is right by then, but the face need not be found."""


class Stage:
    """The background, and the people in front of it."""

    def __init__(self, background, seed):
        self.background = background
        self.height, self.width = background.shape[:2]
        self.rng = np.random.default_rng(seed)

    def visit(self, head, size, fps, kind):
        """The frames of one person's visit."""
        rng = self.rng
        y = float(rng.uniform(0.25, 0.5)) * self.height
        # The average walk is 9 faces a second.
        speed = float(rng.uniform(5, 10)) * size / fps
        side = int(rng.choice([-1, 1]))
        begin, end = (-2 * size, self.width + 2 * size)[::side]
        stop = float(rng.uniform(0.2, 0.8)) * self.width
        stay = int(3 * fps)
        door = None
        if kind == "door":
            begin, door = stop - 3 * size, stop - 1.5 * size
            stop += float(rng.uniform(0, 2)) * size
        path = [*self._walk(begin, end if kind == "through" else stop, speed)]
        from_behind = [kind == "turn"] * len(path)
        if kind in ("turn", "stay", "door"):
            sway = stop + 0.15 * size * np.sin(np.arange(stay) / fps * 2)
            path += sway.tolist()
            from_behind += [False] * stay
            leaving = [*self._walk(stop, begin, speed)]
            path += leaving
            from_behind += [kind == "turn"] * len(leaving)
        for frame, (x, is_turned) in enumerate(zip(path, from_behind)):
            bob = 0.04 * size * np.sin(frame / fps * 11)
            yield Visitor(head, x, y + bob, size, frame / fps * 5.5, is_turned, door)

    def truth(self, person, number):
        """None while the face is not to be seen."""
        half, tall = person.width / 2, person.width * FACE_HEIGHT / 2
        box = (person.x - half, person.y - tall, person.x + half, person.y + tall)
        left = max(0.0, person.door or 0.0)
        visible = (min(box[2], self.width) - max(box[0], left)) / person.width
        if visible < 0.5 or person.from_behind:
            return None
        return Face(number, person.head.person if person.head.known else "", box, visible >= MIN_VISIBLE)

    def _walk(self, begin, end, speed):
        return np.arange(begin, end, speed if end > begin else -speed).tolist()


def visits(stage, heads, sizes, fps, count):
    """The people and the faces of each frame: `count` visits, with one to three seconds without anybody in between."""
    kinds = ("through", "stay", "door", "turn")
    number = 0
    for at in range(count):
        for _ in range(int(stage.rng.uniform(1, 3) * fps)):
            yield [], []
        head, kind = heads[at % len(heads)], kinds[at % len(kinds)]
        size = float(np.exp(stage.rng.uniform(*np.log([sizes[0] + 1, sizes[1] - 1]))))
        before = None
        for person in stage.visit(head, size, fps, kind):
            face = stage.truth(person, number)
            if face is None and before is not None:
                number += 1
            before = face
            yield [person], [face] if face else []
        number += before is not None


def write(path, stage, frames, fps, seed):
    """The video, and its truth: `NAME.csv` and `NAME.boxes.csv`."""
    noise = SensorNoise(stage.background.shape, NOISE, np.random.default_rng(seed))
    writer = open_video_writer(path, (stage.width, stage.height), CRF, fps)
    names, boxes = ["first,last,names"], ["frame,face,x1,y1,x2,y2"]
    try:
        for index, (people, faces) in enumerate(frames):
            writer.write(noise.add(draw(stage.background, people)), index / fps)
            names.append(f"{index},{index},{'|'.join(sorted({face.name for face in faces if face.name}))}")
            boxes += [
                f"{index},{face.number}," + ",".join(f"{edge:.1f}" for edge in face.box) for face in faces if face.whole
            ]
    finally:
        writer.close(1 / fps)
    path.with_suffix(".csv").write_text("\n".join(names) + "\n", encoding="utf-8")
    path.with_suffix(".boxes.csv").write_text("\n".join(boxes) + "\n", encoding="utf-8")


def similarity(recognizer, *photos):
    """Of the faces of two photos; 0 if either has several faces or none."""
    images = [cv2.imread(str(photo)) for photo in photos]
    found = recognizer.find(images)
    if any(len(faces) != 1 for faces in found):
        return 0
    one, other = (recognizer.embed(image, faces).embeddings[0] for image, faces in zip(images, found))
    return float(one @ other)


def casting(recognizer, folder, gallery, rng):
    """Heads of enrolled people and strangers; writes the photos with which they are enrolled."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and len(list(path.iterdir())) >= 2)
    heads = []
    for path in (folders[at] for at in rng.permutation(len(folders))):
        first, second = sorted(path.iterdir())[:2]
        head = cut_out(recognizer, path.name, True, second)
        if head is None or similarity(recognizer, first, second) < MIN_SIMILARITY:
            continue
        if len(heads) % 4 == 3:
            heads.append(head._replace(known=False))
            continue
        target = gallery / f"{path.name}{first.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(first.read_bytes())
        heads.append(head)
        if len(heads) >= 1.33 * ENROLLED:
            break
    return heads


def without_faces(recognizer, paths, size):
    """The pictures in which no face is found at their own size."""
    for path in paths:
        image = cv2.imread(str(path))
        if image is not None and not len(recognizer.find([image])[0]):
            yield cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)


def texture(size, rng):
    """A background without pictures."""
    layers = [
        (
            share,
            cv2.resize(
                rng.integers(0, 256, (size[1] // cell, size[0] // cell, 3), np.uint8),
                size,
                interpolation=cv2.INTER_CUBIC,
            ),
        )
        for cell, share in ((80, 0.6), (12, 0.25), (3, 0.15))
    ]
    return functools.reduce(np.add, (share * layer for share, layer in layers)).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--visits", type=int, default=24, help="per video")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = tuple(map(int, options.size.split("x")))
    rng = np.random.default_rng(options.seed)
    with Recognizer.from_settings(Settings()) as recognizer:
        heads = casting(recognizer, options.faces, options.out / "gallery", rng)
        backgrounds = [texture(size, rng)]
        if options.backgrounds:
            paths = sorted(options.backgrounds.iterdir())
            found = without_faces(recognizer, (paths[at] for at in rng.permutation(len(paths))), size)
            backgrounds = [next(found) for _ in range(len(FACE_SIZES) + 1)]
    for number, sizes in enumerate([*FACE_SIZES, None]):
        stage = Stage(backgrounds[number % len(backgrounds)], (options.seed, number))
        if sizes is None:
            name, frames = "idle", [([], [])] * int(60 * options.fps)
        else:
            name = f"faces-{sizes[0]}-{sizes[1]}"
            frames = visits(
                stage, [heads[at] for at in rng.permutation(len(heads))], sizes, options.fps, options.visits
            )
        write(options.out / f"{name}.mp4", stage, frames, options.fps, (options.seed, number))


if __name__ == "__main__":
    main()
