"""One network on two backends: planted differences come out in the right size, and equal ones as none."""

import math

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.models.catalog import read_catalog
from app.models.families import DETECTORS, EMBEDDERS
from app.settings import DetectionSettings
from app.tools.comparison import (
    EmbeddingsEffect,
    FacesEffect,
    OutputDifference,
    compare_detectors,
    compare_embedders,
    matched_faces,
)
from app.types import Faces


def faces(*boxes, scores=None):
    count = len(boxes)
    scores = np.full(count, 0.9) if scores is None else np.asarray(scores)
    boxes = np.reshape(np.asarray(boxes, np.float32), (count, 4))
    return Faces(boxes, scores.astype(np.float32), np.zeros((count, 5, 2), np.float32))


class Disturbed:
    """An engine whose answers are changed on the way."""

    def __init__(self, engine, change):
        self.inputs, self.outputs, self.max_batch = engine.inputs, engine.outputs, engine.max_batch
        self._engine, self._change = engine, change

    def run(self, feeds):
        return {name: self._change(name, value) for name, value in self._engine.run(feeds).items()}

    def close(self):
        self._engine.close()


@pytest.fixture
def opened():
    """Makes the built-in detector or embedder, on engines that change its answers."""
    entries = read_catalog(CATALOG).entries

    def make(name, change=lambda name, value: value):
        entry = entries[name]
        engine = Disturbed(OnnxEngine(entry.file, threads=1), change)
        if entry.task == "detection":
            return DETECTORS[entry.family](engine, entry, DetectionSettings(input_size=320, min_score=entry.min_score))
        return EMBEDDERS[entry.family](engine, entry)

    return make


def test_differences_are_gathered_over_all_runs():
    difference = OutputDifference()
    difference.add(np.array([3.0, 3.0]), np.array([3.0, 2.0]))
    difference.add(np.array([-4.0, 4.0, 4.0, 4.0]), np.array([-4.0, 4.0, 4.5, 4.0]))
    rms = math.sqrt((2 * 9 + 4 * 16) / 6)
    assert difference.as_json() == pytest.approx(
        {"max": 1.0, "mean": 0.25, "max_relative": 1 / rms, "mean_relative": 0.25 / rms}
    )


def test_outputs_of_different_shapes_are_an_error_and_not_stretched():
    with pytest.raises(ModelError, match=r"\(2, 3\) and \(1, 3\)"):
        OutputDifference().add(np.zeros((2, 3)), np.zeros((1, 3)))


def test_the_same_faces_are_paired_whatever_their_order():
    a = faces((0, 0, 10, 10), (100, 0, 110, 10))
    b = faces((100, 0, 110, 10), (1, 0, 10, 10), (500, 500, 510, 510))
    assert matched_faces(a, b) == [(1, 0, 1.0), (0, 1, pytest.approx(0.9))]


def test_a_face_is_paired_only_once_and_only_when_half_of_it_overlaps():
    twice = faces((0, 0, 10, 10), (1, 0, 11, 10))
    assert [(a, b) for a, b, _ in matched_faces(twice, faces((0, 0, 10, 10)))] == [(0, 0)]
    assert matched_faces(faces((0, 0, 10, 10)), faces((6, 0, 16, 10))) == []
    assert matched_faces(faces(), faces((0, 0, 10, 10))) == []


def test_what_the_difference_does_to_faces_is_counted():
    effect = FacesEffect()
    effect.add(faces((0, 0, 10, 10), (50, 50, 60, 60), scores=[0.9, 0.8]), faces((0, 0, 10, 10), scores=[0.7]))
    effect.add(faces(), faces((5, 5, 9, 9)))
    assert effect.as_json() == {
        "found_by_both": 1,
        "only_by_a": 1,
        "only_by_b": 1,
        "iou_mean": 1.0,
        "iou_min": 1.0,
        "score_difference_mean": pytest.approx(0.2),
        "score_difference_max": pytest.approx(0.2),
    }


def test_without_a_face_there_are_no_figures_but_no_fault_either():
    assert FacesEffect().as_json()["iou_mean"] is None
    assert EmbeddingsEffect().as_json() == {"faces": 0, "cosine_mean": None, "cosine_min": None}


def test_a_planted_error_of_a_detector_is_found(opened, portraits):
    pictures = [portrait.image for portrait in portraits]
    lower = opened("retinaface_mnet025", lambda name, value: value - 0.125 if name == "conf" else value)
    result = compare_detectors("net", pictures, opened("retinaface_mnet025"), lower)
    report = result.as_json()
    assert report["pictures"] == len(pictures)
    assert report["outputs"]["conf"]["max"] == pytest.approx(0.125, abs=1e-6)
    assert report["outputs"]["conf"]["mean"] == pytest.approx(0.125, abs=1e-6)
    assert report["outputs"]["loc"]["max"] == 0
    assert report["effect"]["found_by_both"] >= len(pictures)
    assert report["effect"]["score_difference_mean"] == pytest.approx(0.125, abs=1e-6)
    assert report["effect"]["iou_min"] == 1
    assert "conf" in result.text() and "1.25e-01" in result.text()


@pytest.fixture
def fixed(tmp_path):
    """Makes the built-in detector from a file that is fixed to one size; None leaves any size to it."""
    onnx = pytest.importorskip("onnx")
    entry = read_catalog(CATALOG).entries["retinaface_mnet025"]

    def make(size):
        path = tmp_path / f"{size}.onnx"
        model = onnx.load(str(entry.file))
        sides = model.graph.input[0].type.tensor_type.shape.dim[2:]
        for dimension, side in zip(sides, (size or ())[::-1]):
            dimension.dim_value = side
        onnx.save(model, str(path))
        return DETECTORS[entry.family](
            OnnxEngine(path, threads=1), entry, DetectionSettings(input_size=320, min_score=entry.min_score)
        )

    return make


@pytest.mark.parametrize(("size_a", "size_b"), [((320, 256), None), (None, (320, 256)), ((320, 256), (320, 256))])
def test_a_detector_with_one_size_and_one_for_any_are_shown_the_same(fixed, portraits, size_a, size_b):
    pictures = [portrait.image for portrait in portraits]
    report = compare_detectors("net", pictures, fixed(size_a), fixed(size_b)).as_json()
    assert all(output["max"] == 0 for output in report["outputs"].values())
    assert report["effect"]["found_by_both"] >= len(pictures)


def test_two_detectors_for_different_sizes_cannot_be_compared(fixed, portraits):
    with pytest.raises(ModelError, match="320 x 256 and 320 x 320"):
        compare_detectors("net", [portraits[0].image], fixed((320, 256)), fixed((320, 320)))


def test_a_planted_error_of_an_embedder_is_found(opened, portraits):
    pictures = [portrait.image for portrait in portraits]
    doubled = opened("mobilefacenet", lambda name, value: value * 2)
    report = compare_embedders(
        "net", pictures, opened("retinaface_mnet025"), opened("mobilefacenet"), doubled
    ).as_json()
    (output,) = report["outputs"].values()
    assert output["max"] > 0
    assert report["effect"]["faces"] >= len(pictures)
    # Twice as long, but in the same direction.
    assert report["effect"]["cosine_min"] == pytest.approx(1, abs=1e-6)
    turned = opened("mobilefacenet", lambda name, value: -value)
    turned_report = compare_embedders(
        "net", pictures[:1], opened("retinaface_mnet025"), opened("mobilefacenet"), turned
    ).as_json()
    assert turned_report["effect"]["cosine_mean"] == pytest.approx(-1, abs=1e-6)
