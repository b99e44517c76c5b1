"""Which faces are too bad to be compared? Makes good faces worse step by step, and counts what a gallery calls them.

    PYTHONPATH=. .venv/bin/python tests/degraded_faces.py --faces DIR [--empty DIR] [--probes 150]

DIR has one folder of photos per person, like LFW. Everybody is enrolled with one photo; people with more are probes.
It also turns every 15th photo, and counts how many enrolment would turn back.
`right` and `wrong` are names as `identify` gives them; `gated` are faces that the default limits for videos reject, and
`lost` those of them that would have got the right name. With `--empty`, a folder of pictures without faces, it also
counts how many false faces and how many of the photos' faces are near non-faces. Not a test: it needs pictures.
"""

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from app.gallery.upright import find_upright
from app.identity.index import PersonIndex
from app.recognizer import Recognizer
from app.settings import DetectionSettings, QualitySettings, Settings

LIMITS = QualitySettings().video_limits()


def shrunk(image, box, face_px):
    scale = face_px / (box[2] - box[0])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def blurred(image, box, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma * (box[2] - box[0]) / 92)


def with_gain(image, box, gain):
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(image.astype(np.float64) * gain + noise, 0, 255).astype(np.uint8)


def cut(image, box, part):
    return np.ascontiguousarray(image[:, int(box[0] + part * (box[2] - box[0])) :])


STEPS = [
    ("as it is", shrunk, 92),
    *[(f"{size} px wide", shrunk, size) for size in (40, 30, 20, 16, 12)],
    *[(f"blurred, sigma {sigma}", blurred, sigma) for sigma in (1, 2, 3, 4, 6)],
    *[(f"gain {gain}", with_gain, gain) for gain in (0.3, 0.15, 0.1, 0.07, 2, 3, 4)],
    *[(f"{part:.0%} of the box cut off", cut, part) for part in (0.2, 0.3, 0.4, 0.5)],
]


def main_face(recognizer, image):
    """The best face, and None without any."""
    (faces,) = recognizer.find([image])
    return faces[0] if len(faces) else None


def gallery_and_probes(recognizer, folder, count):
    rows, names, probes = [], [], []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        first, *others = sorted(person.iterdir())
        image = cv2.imread(str(first))
        face = main_face(recognizer, image)
        if face is None:
            continue
        rows.append(recognizer.embed(image, face).embeddings[0])
        names.append(person.name)
        probes += [(person.name, others[0])] if others else []
    chosen = np.random.default_rng(0).permutation(len(probes))[:count]
    return PersonIndex(np.array(rows), names, names), [probes[at] for at in chosen]


def count_names(recognizer, people, probes):
    print(f"{'':24}{'found':>7}{'right':>7}{'wrong':>7}{'gated':>7}{'lost':>7}  reasons")
    for label, worse, amount in STEPS:
        counts, reasons = Counter(), Counter()
        for name, path in probes:
            image = cv2.imread(str(path))
            face = main_face(recognizer, image)
            if face is None:
                continue
            image = worse(image, face.boxes[0], amount)
            face = main_face(recognizer, image)
            if face is None:
                continue
            (match,) = recognizer.identify(recognizer.embed(image, face), people)
            rejected = recognizer.embed_good(image, face, [0], LIMITS).rejected
            counts["found"] += 1
            counts["right"] += match.name == name
            counts["wrong"] += match.name not in (None, name)
            counts["gated"] += bool(rejected)
            counts["lost"] += bool(rejected) and match.name == name
            reasons.update(str(rejection.reason) for rejection in rejected.values())
        shown = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common(2))
        row = "".join(f"{counts[column]:>7}" for column in ("found", "right", "wrong", "gated", "lost"))
        print(f"{label:24}{row}  {shown}")


def count_non_faces(recognizer, label, paths):
    """Faces from a score of 0.5 on, and how many of them are `not_a_face`, live and in photos."""
    similarities, scores = [], []
    for path in paths:
        image = cv2.imread(str(path))
        (faces,) = recognizer.find([image])
        if len(faces):
            faces = recognizer.embed(image, faces)
            similarities += recognizer.non_face_similarities(faces.embeddings).tolist()
            scores += faces.scores.tolist()
    similarities, scores = np.array(similarities), np.array(scores)
    for minimum in (0.5, 0.6):
        chosen = similarities[scores >= minimum]
        live, photo = (
            np.count_nonzero(chosen > limit)
            for limit in (LIMITS.max_non_face, QualitySettings().photo_limits(0.8).max_non_face)
        )
        print(f"{label}, score {minimum}: {len(chosen)} faces, not_a_face {live} live, {photo} in a photo")


def count_orientations(recognizer, paths):
    """Photos as they are, on their sides and upside down: how many are turned upright as enrolment photos are."""
    limits = QualitySettings().photo_limits(recognizer.photo_score)
    turns = {"upright": None, "upside down": cv2.ROTATE_180, "on its side": cv2.ROTATE_90_CLOCKWISE}
    for label, turn in turns.items():
        right = 0
        for path in paths:
            image = cv2.imread(str(path))
            found = find_upright(image if turn is None else cv2.rotate(image, turn), recognizer, limits)
            right += found is not None and np.array_equal(found.picture, image)
        print(f"{label}: {right} of {len(paths)} photos were turned upright")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--empty", type=Path)
    parser.add_argument("--portraits", type=Path, help="pictures of one face each, to be counted among non-faces")
    parser.add_argument("--probes", type=int, default=150)
    options = parser.parse_args()
    with Recognizer.from_settings(Settings(detection=DetectionSettings(min_score=0.5))) as recognizer:
        count_names(recognizer, *gallery_and_probes(recognizer, options.faces, options.probes))
        count_orientations(recognizer, sorted(options.faces.glob("*/*.jpg"))[::15])
        if options.empty:
            count_non_faces(recognizer, "pictures without faces", sorted(options.empty.iterdir()))
        if options.portraits:
            count_non_faces(recognizer, "portraits", sorted(options.portraits.iterdir()))


if __name__ == "__main__":
    main()
