"""int8 learns from exactly what the networks are given at run time."""

import numpy as np
from shipped import CATALOG

from app.models.calibration_pictures import calibration_inputs
from app.models.catalog import read_catalog
from app.models.loading import load_detector, load_embedder
from app.settings import DetectionSettings, ModelSettings
from app.vision.align import align_faces

MODELS = ModelSettings(catalog=CATALOG, backend="onnx")
DETECTION = DetectionSettings(input_size=320)


def inputs(name, pictures):
    return list(calibration_inputs(read_catalog(CATALOG).require(name), pictures, MODELS, DETECTION))


def test_a_detector_sees_each_picture_as_it_is_prepared_at_run_time(portraits):
    pictures = [portrait.image for portrait in portraits[:2]]
    detector = load_detector(MODELS, DETECTION)
    shown = inputs("retinaface_mnet025", pictures)
    assert len(shown) == 2
    for tensor, picture in zip(shown, pictures):
        np.testing.assert_array_equal(tensor, detector.prepare([picture]).tensors[0])


def test_an_embedder_sees_the_faces_upright(portraits):
    picture = portraits[0].image
    empty = np.zeros((100, 100, 3), np.uint8)
    detector, embedder = load_detector(MODELS, DETECTION), load_embedder(MODELS)
    (faces,) = detector.detect([picture])
    expected = embedder.prepare(align_faces(picture, faces.landmarks, embedder.crop_size))
    shown = inputs("mobilefacenet", [empty, picture])
    assert {tensor.shape for tensor in shown} == {(1, 3, 112, 112)}
    np.testing.assert_array_equal(np.concatenate(shown), expected)
