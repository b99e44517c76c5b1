"""Real networks are measured by batch and backend; what cannot be run is told, and costs nothing else."""

import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.tools.benchmark.networks import Demand, NetworkSpeed, NotMeasured, measure_networks
from app.tools.benchmark.subjects import cut_to, subject_of

ONNX = Demand(batches=(1, 3), backends=("onnx",), seconds=0.0)
GREY = np.full((72, 128, 3), 96, np.uint8)


@pytest.fixture(scope="module")
def entries():
    return read_catalog(CATALOG).entries


def measured(subjects, count=lambda done, total: None):
    return list(measure_networks(subjects, GREY, count))


def test_detector_and_embedder_by_batch(entries):
    detector = subject_of(entries["retinaface_mnet025"], (128, 64))
    embedder = subject_of(entries["mobilefacenet"], (128, 64))
    counts = []
    outcomes = measured([(detector, ONNX), (embedder, ONNX)], lambda done, total: counts.append((done, total)))
    assert [(found.model, found.size, found.batch) for found in outcomes] == [
        ("retinaface_mnet025", (128, 64), 1),
        ("retinaface_mnet025", (128, 64), 3),
        ("mobilefacenet", (112, 112), 1),
        ("mobilefacenet", (112, 112), 3),
    ]
    for found in outcomes:
        assert found.backend == "onnx" and found.precision == "fp32"
        assert found.transfer is None
        assert found.inference.runs == 3 and found.inference.p50 > 0
        assert found.decode is not None
        assert found.images_per_s == pytest.approx(found.batch * 1000 / found.total.p50)
    assert counts[0] == (0, 4) and counts[-1] == (4, 4)


def test_batch_of_faces_is_measured_against_one_call_a_face(entries):
    one, three = measured([(subject_of(entries["mobilefacenet"], (0, 0)), ONNX)])
    assert one.singly is None
    assert three.singly.runs == 3


def test_random_weights_decode_nothing(entries):
    (found,) = measured(
        [
            (
                subject_of(entries["retinaface_mnet025"], (64, 64), random_weights=True),
                dataclasses.replace(ONNX, batches=(1,)),
            )
        ]
    )
    assert found.decode is None and found.random_weights


def test_what_cannot_be_opened_is_told_and_the_rest_is_measured(entries, tmp_path):
    broken = dataclasses.replace(entries["mobilefacenet"], file=tmp_path / "gone.onnx", name="gone")
    whole = entries["mobilefacenet"]
    demand = dataclasses.replace(ONNX, batches=(1,))
    lost, found = measured([(subject_of(broken, (0, 0)), demand), (subject_of(whole, (0, 0)), demand)])
    assert isinstance(lost, NotMeasured)
    assert lost.model == "gone" and "missing" in lost.reason
    assert isinstance(found, NetworkSpeed)


def test_variant_that_does_not_run_here_leaves_the_other(entries):
    demand = Demand(batches=(1,), backends=("onnx",), precisions=("int8", "fp32"), seconds=0.0)
    lost, found = measured([(subject_of(entries["mobilefacenet"], (0, 0)), demand)])
    assert isinstance(lost, NotMeasured) and lost.precision == "int8"
    assert isinstance(found, NetworkSpeed) and found.precision == "fp32"


def test_stopping_early_keeps_what_came_before(entries):
    outcomes = measure_networks([(subject_of(entries["mobilefacenet"], (0, 0)), ONNX)], GREY, lambda done, total: None)
    assert next(outcomes).batch == 1
    outcomes.close()


def test_networks_that_only_look_at_a_face_are_refused(entries):
    with pytest.raises(ModelError, match="detectors and embedders can be measured"):
        subject_of(entries["genderage"], (640, 640))


def test_as_json_holds_numbers_and_names(entries):
    import json

    (found, _) = measured([(subject_of(entries["mobilefacenet"], (0, 0)), ONNX)])
    facts = json.loads(json.dumps(found.as_json()))
    assert facts["inference_ms"]["p50"] == found.inference.p50
    assert facts["images_per_s"] == found.images_per_s
    assert facts["transfer"] is None


def test_picture_is_cut_to_the_sizes_aspect():
    picture = np.zeros((100, 400, 3), np.uint8)
    picture[:, 150:250] = 200
    square = cut_to(picture, (50, 50))
    assert square.shape == (50, 50, 3)
    assert (square == 200).all()
