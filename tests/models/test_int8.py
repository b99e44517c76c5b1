"""int8 is calibrated with the inputs that the networks get at run time, made from photos."""

import dataclasses

import cv2
import numpy as np
import pytest

from app.errors import ModelError, SourceError
from app.models.int8 import MAX_PHOTOS, MIN_PHOTOS
from app.models.loading import ModelLoader
from app.settings import DetectionSettings
from app.vision.align import align_faces


@pytest.fixture
def wanted(settings):
    return dataclasses.replace(
        settings,
        models=dataclasses.replace(settings.models, precision="int8"),
        detection=DetectionSettings(input_size=320),
    )


def put_photos(folder, image, count=MIN_PHOTOS):
    folder.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", image)[1].tobytes()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encoded)


def inputs(loader, name):
    return list(loader.calibration_inputs(loader.catalog.entries[name]))


def test_a_detector_gets_each_photo_as_it_is_prepared_at_run_time(wanted, portraits):
    image = portraits[0].image
    put_photos(wanted.gallery.folder, image)
    loader = ModelLoader(wanted)
    shown = inputs(loader, "retinaface_mnet025")
    assert len(shown) == MIN_PHOTOS < MAX_PHOTOS
    expected = loader.with_models(precision="fp32").open_detector().prepare([image]).tensors[0]
    for tensor in shown:
        np.testing.assert_array_equal(tensor, expected)


def test_an_embedder_gets_the_aligned_faces(wanted, portraits):
    image = portraits[0].image
    put_photos(wanted.gallery.folder / "Collins", image)
    put_photos(wanted.gallery.folder / "no face", np.zeros((100, 100, 3), np.uint8), 1)
    loader = ModelLoader(wanted)
    plain = loader.with_models(precision="fp32")
    detector, embedder = plain.open_detector(), plain.open_embedder()
    (faces,) = detector.detect([image])
    expected = embedder.prepare(align_faces(image, faces.landmarks, embedder.crop_size))
    shown = inputs(loader, "mobilefacenet")
    assert [tensor.shape for tensor in shown] == [(1, 3, 112, 112)] * MIN_PHOTOS
    for tensor in shown:
        np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("count", [0, MIN_PHOTOS - 1])
def test_too_few_photos_are_refused_before_a_network_is_opened(wanted, portraits, count):
    put_photos(wanted.gallery.folder, portraits[0].image, count)
    loader = ModelLoader(wanted)
    with pytest.raises(ModelError, match=rf"{count or 'none'}.*build mobilefacenet --precision int8 --calibration DIR"):
        loader.calibration_inputs(loader.embedder_entry)


@pytest.mark.parametrize("photos", [0, MIN_PHOTOS])
def test_other_models_than_detectors_and_embedders_are_refused(wanted, portraits, photos):
    put_photos(wanted.gallery.folder, portraits[0].image, photos)
    loader = ModelLoader(wanted)
    with pytest.raises(ModelError, match=r"minifasnet_v2 .*antispoof"):
        loader.calibration_inputs(loader.catalog.require("minifasnet_v2"))


def test_a_folder_that_is_named_comes_before_the_gallery_and_is_not_a_pattern(wanted, portraits, tmp_path):
    put_photos(tmp_path / "br[1]" / "Collins", portraits[0].image)
    loader = ModelLoader(wanted, tmp_path / "br[1]")
    assert len(inputs(loader, "mobilefacenet")) == MIN_PHOTOS
    with pytest.raises(SourceError, match="nowhere"):
        ModelLoader(wanted, tmp_path / "nowhere")


def test_files_that_are_no_pictures_are_skipped_by_name(wanted, portraits, caplog):
    put_photos(wanted.gallery.folder, portraits[0].image)
    (wanted.gallery.folder / "broken.jpg").write_bytes(b"no picture")
    assert len(inputs(ModelLoader(wanted), "retinaface_mnet025")) == MIN_PHOTOS
    assert "broken.jpg" in caplog.text
