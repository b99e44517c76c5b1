"""What int8 is learnt from: the photos of the gallery, or of a folder that is named, when there are enough."""

import dataclasses

import cv2
import pytest

from app.errors import ModelError, SourceError
from app.models.catalog import read_catalog
from app.models.int8_pictures import LEAST_PICTURES, MOST_PICTURES, inputs_for_int8
from app.models.loading import embedder_entry


@pytest.fixture
def wanted(settings):
    return dataclasses.replace(settings, models=dataclasses.replace(settings.models, precision="int8"))


def put_photos(folder, portrait, count):
    folder.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", portrait.image)[1].tobytes()
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(encoded)


def test_an_embedder_learns_from_the_faces_of_the_gallery(wanted, portraits):
    put_photos(wanted.gallery.folder / "Collins", portraits[0], LEAST_PICTURES)
    shown = list(inputs_for_int8(wanted)(embedder_entry(wanted.models)))
    assert [tensor.shape for tensor in shown] == [(1, 3, 112, 112)] * LEAST_PICTURES


def test_too_few_photos_are_told_before_a_network_is_opened(wanted, portraits):
    inputs_for = inputs_for_int8(wanted)
    entry = embedder_entry(wanted.models)
    with pytest.raises(ModelError, match="gallery has none: add some"):
        inputs_for(entry)
    put_photos(wanted.gallery.folder, portraits[0], LEAST_PICTURES - 1)
    with pytest.raises(ModelError, match=r"has 4 photos: .* build mobilefacenet --precision int8 --calibration DIR"):
        inputs_for(entry)
    put_photos(wanted.gallery.folder, portraits[0], LEAST_PICTURES)
    inputs_for(entry)


@pytest.mark.parametrize("photos", [0, LEAST_PICTURES])
def test_a_network_that_int8_is_not_offered_for_is_told_so_however_many_photos_there_are(wanted, portraits, photos):
    put_photos(wanted.gallery.folder, portraits[0], photos)
    liveness = read_catalog(wanted.models.catalog).require("minifasnet_v2")
    with pytest.raises(ModelError, match="minifasnet_v2 is for antispoof; int8 is offered for detectors and embedders"):
        inputs_for_int8(wanted)(liveness)


def test_a_folder_is_no_pattern(wanted, portraits, tmp_path):
    put_photos(tmp_path / "br[1]" / "Collins", portraits[0], LEAST_PICTURES)
    entry = embedder_entry(wanted.models)
    assert len(list(inputs_for_int8(wanted, tmp_path / "br[1]")(entry))) == LEAST_PICTURES


def test_a_folder_that_is_named_goes_before_the_gallery_and_must_be_there(wanted, portraits, tmp_path):
    put_photos(tmp_path / "photos", portraits[0], LEAST_PICTURES)
    inputs_for_int8(wanted, tmp_path / "photos")(embedder_entry(wanted.models))
    with pytest.raises(SourceError, match="nowhere"):
        inputs_for_int8(wanted, tmp_path / "nowhere")


def test_what_is_no_picture_is_left_out_and_named(wanted, portraits, caplog):
    put_photos(wanted.gallery.folder, portraits[0], LEAST_PICTURES)
    (wanted.gallery.folder / "broken.jpg").write_bytes(b"no picture")
    detector = read_catalog(wanted.models.catalog).require("retinaface_mnet025")
    assert len(list(inputs_for_int8(wanted)(detector))) == LEAST_PICTURES < MOST_PICTURES
    assert "left out" in caplog.text and "broken.jpg" in caplog.text
