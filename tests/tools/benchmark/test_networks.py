"""Real networks are measured by batch and backend; what cannot be run is reported and does not stop the others."""

import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.tools.benchmark.cases import case_of, crop_to
from app.tools.benchmark.networks import BenchmarkOptions, NetworkSpeed, NotMeasured, measure_networks

ONNX = BenchmarkOptions(batches=(1, 3), backends=("onnx",), seconds=0.0)
GREY = np.full((72, 128, 3), 96, np.uint8)


@pytest.fixture(scope="module")
def entries():
    return read_catalog(CATALOG).entries


def measured(cases, on_progress=lambda done, total: None):
    return list(measure_networks(cases, GREY, on_progress))


def test_detector_and_embedder_by_batch(entries):
    detector = case_of(entries["retinaface_mnet025"], (128, 64))
    embedder = case_of(entries["mobilefacenet"], (128, 64))
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
    one, three = measured([(case_of(entries["mobilefacenet"], (0, 0)), ONNX)])
    assert one.singly is None
    assert three.singly.runs == 3


def test_random_weights_decode_nothing(entries):
    (found,) = measured(
        [
            (
                case_of(entries["retinaface_mnet025"], (64, 64), random_weights=True),
                dataclasses.replace(ONNX, batches=(1,)),
            )
        ]
    )
    assert found.decode is None and found.random_weights


def test_a_network_that_does_not_open_is_reported_and_the_rest_is_measured(entries, tmp_path):
    broken = dataclasses.replace(entries["mobilefacenet"], file=tmp_path / "gone.onnx", name="gone")
    whole = entries["mobilefacenet"]
    demand = dataclasses.replace(ONNX, batches=(1,))
    lost, found = measured([(case_of(broken, (0, 0)), demand), (case_of(whole, (0, 0)), demand)])
    assert isinstance(lost, NotMeasured)
    assert lost.model == "gone" and "missing" in lost.reason
    assert isinstance(found, NetworkSpeed)


def test_variant_that_does_not_run_here_leaves_the_other(entries):
    demand = BenchmarkOptions(batches=(1,), backends=("onnx",), precisions=("int8", "fp32"), seconds=0.0)
    lost, found = measured([(case_of(entries["mobilefacenet"], (0, 0)), demand)])
    assert isinstance(lost, NotMeasured) and lost.precision == "int8"
    assert isinstance(found, NetworkSpeed) and found.precision == "fp32"


def test_stopping_early_keeps_what_came_before(entries):
    outcomes = measure_networks([(case_of(entries["mobilefacenet"], (0, 0)), ONNX)], GREY, lambda done, total: None)
    assert next(outcomes).batch == 1
    outcomes.close()


def test_attribute_models_are_refused(entries):
    with pytest.raises(ModelError, match="genderage"):
        case_of(entries["genderage"], (640, 640))


def test_as_json_holds_numbers_and_names(entries):
    import json

    (found, _) = measured([(case_of(entries["mobilefacenet"], (0, 0)), ONNX)])
    facts = json.loads(json.dumps(found.as_json()))
    assert facts["inference_ms"]["p50"] == found.inference.p50
    assert facts["images_per_s"] == found.images_per_s
    assert facts["transfer"] is None


def test_picture_is_cropped_to_the_aspect_ratio():
    picture = np.zeros((100, 400, 3), np.uint8)
    picture[:, 150:250] = 200
    square = crop_to(picture, (50, 50))
    assert square.shape == (50, 50, 3)
    assert (square == 200).all()
