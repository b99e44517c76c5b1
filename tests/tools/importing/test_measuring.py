"""What drawn pictures tell of a network: its activation and the size of its anchors."""

import numpy as np
import pytest
from made_networks import run_onnx, trained_arrays
from shipped import ROOT

from app.tools.importing.architectures import retinaface_on_mobilenet
from app.tools.importing.measuring import (
    KNOWN_ANCHORS,
    drawn_face,
    fit_of_statistics,
    fitting_better,
    known_anchors,
    measured_anchors,
    network_input,
    overlapping_discs,
)

BGR_MEAN = (104, 117, 123)


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_the_activation_is_told_by_what_normalisations_remember(slope):
    arrays = trained_arrays(slope)
    fits = {guess: fit_of_statistics(retinaface_on_mobilenet(guess), arrays) for guess in (0.0, 0.1)}
    assert fitting_better(fits) == slope, fits


def test_nothing_is_decided_between_two_that_fit_alike():
    assert fitting_better({0.0: 0.30, 0.1: 0.25}) is None


@pytest.mark.parametrize("size", [(640, 480), (320, 320)])
def test_the_anchors_of_the_built_in_detector_are_measured_on_drawn_faces(size):
    content = (ROOT / "engines" / "retinaface_mnet025.onnx").read_bytes()
    measured = measured_anchors(lambda image: run_onnx(content, network_input(image, "bgr", BGR_MEAN, 1)), size)
    assert len(measured) >= 3
    assert known_anchors(measured) == ((10, 20), (32, 64), (128, 256))


def planted(side_of, centre, size):
    """What a perfect detector with these anchors says of one face at `centre`, in every cell within 40 pixels."""
    loc, conf, landms = [], [], []
    for stride, sides in side_of.items():
        for row in range(size[1] // stride):
            for column in range(size[0] // stride):
                offset = np.array(centre) - ((column + 0.5) * stride, (row + 0.5) * stride)
                for side in sides:
                    messages = offset / (0.1 * side)
                    loc.append([*messages, 0, 0])
                    landms.append(np.tile(messages, 5))
                    conf.append([0, 1] if np.abs(offset).max() < 40 else [1, 0])
    return {"loc": np.array([loc]), "conf": np.array([conf]), "landms": np.array([landms])}


@pytest.mark.parametrize("anchors", [*KNOWN_ANCHORS, ((7, 9), (41, 77), (150, 300))])
def test_sides_come_back_exactly_where_cells_agree(anchors):
    outputs = planted(dict(zip((8, 16, 32), anchors)), (150, 130), (320, 256))
    measured = measured_anchors(lambda image: outputs, (320, 256))
    expected = {(stride, n): side for stride, sides in zip((8, 16, 32), anchors) for n, side in enumerate(sides)}
    assert measured == pytest.approx(expected, rel=1e-6)
    assert known_anchors(measured) == (anchors if anchors in KNOWN_ANCHORS else None)


def test_a_network_that_sees_no_face_tells_nothing():
    rows = 2 * (40 * 32 + 20 * 16 + 10 * 8)
    silent = {"loc": np.zeros((1, rows, 4)), "conf": np.zeros((1, rows, 2)), "landms": np.zeros((1, rows, 10))}
    assert measured_anchors(lambda image: silent, (320, 256)) == {}
    assert known_anchors({}) is None


def test_pictures_are_drawn_alike_every_time():
    assert np.array_equal(overlapping_discs((64, 48)), overlapping_discs((64, 48)))
    assert drawn_face((96, 64), 30).shape == (64, 96, 3)
