"""Crops become unit vectors that are similar for one person; other networks are rejected."""

import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.models.loading import ModelLoader
from app.settings import ModelSettings, Settings
from app.vision.align import align_faces
from app.vision.embedder import FaceEmbedder
from app.vision.preprocessing import Preprocessing
from app.vision.quality import main_face

RGB = Preprocessing("rgb", (127.5, 127.5, 127.5), 128)


@pytest.fixture
def crop_of(networks):
    def cut(image):
        detector, embedder = networks
        (faces,) = detector.detect([image])
        return align_faces(image, faces.landmarks[[main_face(faces, image.shape[1::-1])]], embedder.crop_size)

    return cut


def test_embeddings_have_unit_length_and_the_dimensions_of_the_catalogue(networks, crop_of, portraits):
    crops = np.concatenate([crop_of(portrait.image) for portrait in portraits])
    vectors = networks[1].embed(crops)
    assert vectors.shape == (3, networks[1].dimensions) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_person_mirrored_is_nearer_than_two_people(networks, crop_of, portraits):
    collins, hopper, stranger = (portrait.image for portrait in portraits)
    crops = [crop_of(image) for image in (collins, np.ascontiguousarray(collins[:, ::-1]), hopper, stranger)]
    vectors = networks[1].embed(np.concatenate(crops))
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.7
    assert max(similarity[0, 2], similarity[0, 3], similarity[2, 3]) < 0.4


def test_no_faces_give_no_embeddings(networks):
    assert networks[1].embed(np.empty((0, 112, 112, 3), np.uint8)).shape == (0, networks[1].dimensions)


def test_crops_of_another_size_are_an_error(networks):
    with pytest.raises(ValueError, match="112"):
        networks[1].embed(np.zeros((2, 96, 112, 3), np.uint8))


def test_a_detector_is_not_an_embedder():
    with pytest.raises(ModelError, match=r"found input .* conf "):
        FaceEmbedder(OnnxEngine(CATALOG.parent / "retinaface_mnet025.onnx"), RGB, (112, 112), 128)


def test_an_embedder_with_another_crop_is_an_error():
    with pytest.raises(ModelError, match=r"input \? x 3 x 112 x 96"):
        FaceEmbedder(OnnxEngine(CATALOG.parent / "mobilefacenet.onnx"), RGB, (96, 112), 128)


def test_a_model_of_another_task_is_not_opened():
    swapped = ModelSettings(catalog=CATALOG, detector="mobilefacenet", embedder="retinaface_mnet025")
    with pytest.raises(ModelError, match=r"'mobilefacenet' .*embedding"):
        ModelLoader(Settings(models=swapped)).open_detector()
    with pytest.raises(ModelError, match=r"'retinaface_mnet025' .*detection"):
        ModelLoader(Settings(models=dataclasses.replace(swapped))).open_embedder()
