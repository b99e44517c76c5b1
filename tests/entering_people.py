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
import zlib
from pathlib import Path
from typing import NamedTuple, Optional

import cv2
import numpy as np
from composed_clips import Head, cut_out

from app.output.video_encoders import open_video_writer
from app.recognizer import Recognizer
from app.settings import Settings

FACE_SIZES = ((16, 32), (32, 64), (64, 128))
ENROLLED = 24
NOISE = 4.0
CRF = 26
MIN_VISIBLE = 0.85


class Person(NamedTuple):
    """One of the people of a frame."""

    head: Head
    x: float
    y: float
    """Middle of the face."""
    width: float
    """Of the face."""
    step: float
    """Where in a stride the legs are, in radians."""
    face: float = 1.0
    """0: seen from behind."""
    door: Optional[float] = None
    """The person is hidden to the left of this column."""


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

    def draw(self, people):
        """The picture without noise."""
        image = self.background.copy()
        for person in people:
            behind = image.copy() if person.door is not None else None
            self._draw_body(image, person)
            self._draw_head(image, person)
            if behind is not None:
                door = int(max(0, person.door))
                image[:, :door] = behind[:, :door]
        return image

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
        faces = [1.0] * len(path)
        if kind in ("turn", "stay", "door"):
            sway = stop + 0.15 * size * np.sin(np.arange(stay) / fps * 2)
            path += sway.tolist()
            faces = [float(kind != "turn")] * len(faces) + [1.0] * stay
            leaving = [*self._walk(stop, begin, speed)]
            path += leaving
            faces += [float(kind != "turn")] * len(leaving)
        for frame, (x, face) in enumerate(zip(path, faces)):
            bob = 0.04 * size * np.sin(frame / fps * 11)
            yield Person(head, x, y + bob, size, frame / fps * 5.5, face, door)

    def truth(self, person, number):
        """None while the face is not to be seen."""
        half, tall = person.width / 2, person.width * 0.64
        box = (person.x - half, person.y - tall, person.x + half, person.y + tall)
        left = max(0.0, person.door or 0.0)
        visible = (min(box[2], self.width) - max(box[0], left)) / person.width
        if visible < 0.5 or person.face < 0.5:
            return None
        return Face(number, person.head.person if person.head.known else "", box, visible >= MIN_VISIBLE)

    def _walk(self, begin, end, speed):
        return np.arange(begin, end, speed if end > begin else -speed).tolist()

    def _draw_body(self, image, person):
        rng = np.random.default_rng(zlib.crc32(person.head.pixels.tobytes()))
        coat, legs, hair = rng.integers(20, 220, (3, 3)).tolist()
        x, y, w = person.x, person.y, person.width
        swing = 0.5 * w * np.sin(person.step)
        self._fill(
            image,
            legs,
            [(x - w * 0.7, y + 4 * w), (x, y + 4 * w), (x - swing, y + 8 * w), (x - swing - w * 0.5, y + 8 * w)],
        )
        self._fill(
            image,
            legs,
            [(x, y + 4 * w), (x + w * 0.7, y + 4 * w), (x + swing + w * 0.5, y + 8 * w), (x + swing, y + 8 * w)],
        )
        shoulders = [
            (x - w * 0.3, y + 0.7 * w),
            (x + w * 0.3, y + 0.7 * w),
            (x + w * 1.2, y + 1.2 * w),
            (x + w, y + 4.2 * w),
        ]
        self._fill(image, coat, [*shoulders, (x - w, y + 4.2 * w), (x - w * 1.2, y + 1.2 * w)])
        stripe = [max(0, value - 50) for value in coat]
        for at in (1.8, 2.6, 3.4):
            self._fill(
                image,
                stripe,
                [(x - w, y + at * w), (x + w, y + at * w), (x + w, y + (at + 0.25) * w), (x - w, y + (at + 0.25) * w)],
            )
        if person.face < 0.5:
            around = np.linspace(0, 2 * np.pi, 24)
            self._fill(image, hair, np.stack([x + 0.62 * w * np.cos(around), y + 0.82 * w * np.sin(around)], 1))

    def _fill(self, image, colour, points):
        cv2.fillPoly(image, [np.round(np.array(points) * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    def _draw_head(self, image, person):
        if person.face < 0.5:
            return
        head, rows = person.head, person.head.pixels.shape[0]
        side = person.width / head.face
        scale = side / rows
        left, top = int(np.floor(person.x - side / 2)), int(np.floor(person.y - side / 2))
        span = int(np.ceil(side)) + 1
        matrix = np.float32([[scale, 0, person.x - side / 2 - left], [0, scale, person.y - side / 2 - top]])
        # Warping leaves out pixels where it shrinks.
        shrunk = max(1, int(np.ceil(1 / scale)))
        pixels, mask = (cv2.blur(layer, (shrunk, shrunk)) for layer in (head.pixels, head.mask))
        pixels = cv2.warpAffine(pixels, matrix, (span, span), borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(mask, matrix, (span, span))
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + span, self.width), min(top + span, self.height)
        if x1 >= x2 or y1 >= y2:
            return
        part = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
        weight = mask[part][..., None]
        target = image[y1:y2, x1:x2]
        image[y1:y2, x1:x2] = (target * (1 - weight) + pixels[part] * weight).astype(np.uint8)


class SensorNoise:
    """Added to every picture of a camera."""

    def __init__(self, shape, sigma, rng):
        self._rng = rng
        self._noise = rng.normal(0, sigma, shape).astype(np.int16)

    def add(self, image):
        shift = self._rng.integers(0, image.shape[:2])
        return cv2.add(image, np.roll(self._noise, shift, (0, 1)), dtype=cv2.CV_8U)


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
            writer.write(noise.add(stage.draw(people)), index / fps)
            names.append(f"{index},{index},{'|'.join(sorted({face.name for face in faces if face.name}))}")
            boxes += [
                f"{index},{face.number}," + ",".join(f"{edge:.1f}" for edge in face.box) for face in faces if face.whole
            ]
    finally:
        writer.close(1 / fps)
    path.with_suffix(".csv").write_text("\n".join(names) + "\n", encoding="utf-8")
    path.with_suffix(".boxes.csv").write_text("\n".join(boxes) + "\n", encoding="utf-8")


def casting(recognizer, folder, gallery, rng):
    """Heads of enrolled people and strangers; writes the photos with which they are enrolled."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and len(list(path.iterdir())) >= 2)
    heads = []
    for path in (folders[at] for at in rng.permutation(len(folders))):
        first, second = sorted(path.iterdir())[:2]
        head = cut_out(recognizer, path.name, True, second)
        if head is None:
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
