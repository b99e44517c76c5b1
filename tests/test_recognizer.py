"""The core object: any batch of images, embeddings of chosen faces, names with reasons."""

import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.identity.index import PersonIndex
from app.inference.onnx import OnnxEngine
from app.models.loading import ModelLoader
from app.recognizer import Recognizer, StageTimer
from app.settings import (
    AttributeSettings,
    DetectionSettings,
    ModelSettings,
    QualityLimits,
    RecognitionSettings,
    Settings,
)
from app.types import Reason
from app.vision.attribute_models import AttributeModels
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.face_network import FaceNetwork
from app.vision.retinaface import RetinaFace

MODELS = ModelSettings(catalog=CATALOG, backend="onnx")


@pytest.fixture
def images(portraits):
    return [np.ascontiguousarray(portrait.image) for portrait in portraits]


def test_images_of_different_sizes_give_together_what_they_give_alone(recognizer, images):
    images = [images[0], images[1][:, :-40], np.zeros((90, 160, 3), np.uint8)]
    together = recognizer.find(images)
    assert [len(faces) for faces in together] == [1, 1, 0]
    for faces, image in zip(together, images):
        (alone,) = recognizer.find([image])
        np.testing.assert_allclose(faces.boxes, alone.boxes, atol=1)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=1)


def test_no_images_give_no_answers(recognizer):
    assert recognizer.find([]) == []


def test_embeddings_have_unit_length_and_only_chosen_rows_have_one(recognizer, images):
    image = np.concatenate([images[0], np.zeros((40, images[0].shape[1], 3), np.uint8)])
    (faces,) = recognizer.find([image])
    faces = dataclasses.replace(
        faces,
        boxes=np.repeat(faces.boxes, 2, axis=0),
        scores=np.repeat(faces.scores, 2),
        landmarks=np.repeat(faces.landmarks, 2, axis=0),
    )
    both, second = recognizer.embed(image, faces), recognizer.embed(image, faces, [1])
    np.testing.assert_allclose(np.linalg.norm(both.embeddings, axis=1), 1, atol=1e-5)
    assert np.isnan(second.embeddings[0]).all()
    np.testing.assert_allclose(second.embeddings[1], both.embeddings[1], atol=1e-5)


def test_crops_that_were_aligned_before_are_embedded_alike(recognizer, images):
    (faces,) = recognizer.find([images[0]])
    embedded = recognizer.embed(images[0], faces)
    vectors = recognizer.embed_crops(recognizer.crops(images[0], faces))
    np.testing.assert_allclose(vectors, embedded.embeddings, atol=1e-5)


def test_a_person_is_named_with_the_photo_and_a_stranger_is_not(recognizer, images):
    embedded = [recognizer.embed(image, recognizer.find([image])[0]) for image in images]
    people = PersonIndex(embedded[0].embeddings, ["Eileen"], ["Eileen/1.jpg"])
    (known,), (stranger,) = (recognizer.identify(faces, people) for faces in (embedded[0], embedded[2]))
    assert (known.name, known.reason) == ("Eileen", Reason.MATCHED)
    assert (stranger.name, stranger.reason, stranger.nearest) == (None, Reason.BELOW_THRESHOLD, "Eileen")


def test_faces_without_embeddings_cannot_be_identified(recognizer, images):
    (faces,) = recognizer.find([images[0]])
    with pytest.raises(ValueError, match="embed"):
        recognizer.identify(faces, PersonIndex(np.empty((0, 128), np.float32), [], []))


def test_every_stage_is_timed(recognizer, images):
    timer = StageTimer()
    (faces,) = recognizer.find([images[0]], timer)
    embedded = recognizer.embed(images[0], faces, timer=timer)
    recognizer.identify(embedded, PersonIndex(embedded.embeddings, ["A"], ["a.jpg"]), timer=timer)
    assert list(timer.milliseconds) == ["preprocess", "detect", "boxes", "align", "embed", "match"]


def test_numbers_come_from_the_settings_or_else_from_the_models():
    own = ModelLoader(Settings(models=MODELS))
    assert own.threshold == own.embedder_entry.threshold and own.min_score == own.detector_entry.min_score
    chosen = Settings(
        models=MODELS, detection=DetectionSettings(min_score=0.9), recognition=RecognitionSettings(threshold=0.7)
    )
    with Recognizer.from_settings(chosen) as recognizer:
        assert (recognizer.threshold, recognizer.min_score, recognizer.margin) == (0.7, 0.9, chosen.recognition.margin)


def test_the_fingerprint_changes_with_what_a_photos_verdict_depends_on():
    def fingerprint(**changes):
        return ModelLoader(Settings(models=MODELS, **changes)).fingerprint

    assert fingerprint() == fingerprint(recognition=RecognitionSettings(threshold=0.7))
    assert fingerprint() != fingerprint(detection=DetectionSettings(input_size=960))


def test_networks_are_warmed_up_in_the_shapes_that_will_come(monkeypatch):
    shapes = set()
    original = OnnxEngine.run

    def run(engine, feeds):
        shapes.update(value.shape for value in feeds.values())
        return original(engine, feeds)

    monkeypatch.setattr(OnnxEngine, "run", run)
    Recognizer.from_settings(Settings(models=MODELS, detection=DetectionSettings(input_size=320))).close()
    assert {(1, 3, 192, 320), (1, 3, 112, 112)} <= shapes
    assert max(shape[0] for shape in shapes if shape[2:] == (112, 112)) > 1


def test_attributes_are_read_only_where_they_are_wanted_or_come_with_the_detector():
    wanting = ModelLoader(Settings(models=MODELS, attributes=AttributeSettings(head_pose=True)))
    plain = ModelLoader(Settings(models=MODELS))
    assert plain.open_attributes() is None
    assert wanting.open_attributes().head_pose
    assert not plain.open_attributes(detector_predicts_masks=True).head_pose
    with Recognizer.from_loader(wanting, with_attributes=False) as recognizer:
        assert recognizer.attribute_models is None


def test_everything_is_closed_when_the_networks_cannot_be_warmed_up(monkeypatch):
    def fail(recognizer, frame_size):
        raise ModelError("out of memory")

    closed = []
    monkeypatch.setattr(Recognizer, "warm_up", fail)
    for kind in (FaceDetector, FaceNetwork, AttributeModels):
        monkeypatch.setattr(kind, "close", lambda opened: closed.append(type(opened)))
    loader = ModelLoader(Settings(models=MODELS, attributes=AttributeSettings(head_pose=True)))
    with pytest.raises(ModelError, match="out of memory"):
        Recognizer.from_loader(loader)
    assert set(closed) == {RetinaFace, FaceEmbedder, AttributeModels}


def test_the_catalogue_and_each_model_are_read_once(monkeypatch):
    from app.models import catalog, entry, loading

    read, hashed = [], []
    original_read, original_hash = catalog.read_catalog, entry.sha256_of
    monkeypatch.setattr(loading, "read_catalog", lambda path: read.append(path) or original_read(path))
    monkeypatch.setattr(entry, "sha256_of", lambda path: hashed.append(path) or original_hash(path))
    loader = ModelLoader(Settings(models=MODELS))
    for check in loader.checks():
        check()
    Recognizer.from_loader(loader).close()
    assert len(read) == 1 and len(hashed) == len(set(hashed)) == 2


def test_only_good_faces_are_embedded_and_the_others_have_a_reason(recognizer, images):
    (faces,) = recognizer.find([images[0]])
    embedded, rejected, quality = recognizer.embed_good(images[0], faces, [0], QualityLimits())
    assert quality[0].non_face[0] < 0.4 and quality[0].sharpness[0] > 20
    assert rejected == {} and np.isfinite(embedded.embeddings).all()
    for limits, reason in (
        (QualityLimits(min_face_px=1000), Reason.TOO_SMALL),
        (QualityLimits(min_sharpness=1e6), Reason.TOO_BLURRED),
    ):
        rejected_faces, rejected, _ = recognizer.embed_good(images[0], faces, [0], limits)
        assert rejected[0].reason is reason and rejected_faces.embeddings is None
    unlike, rejected, _ = recognizer.embed_good(images[0], faces, [0], QualityLimits(max_non_face=-1))
    assert np.isnan(unlike.embeddings).all()
    assert rejected[0].reason is Reason.NOT_A_FACE


def test_people_are_far_from_what_is_no_face(recognizer, images):
    faces = [recognizer.embed(image, recognizer.find([image])[0]) for image in images]
    similarities = np.concatenate([recognizer.non_face_similarities(one.embeddings) for one in faces])
    assert similarities.max() < 0.4
    things = recognizer.reference.non_faces[:5]
    assert recognizer.non_face_similarities(things) == pytest.approx(1, abs=1e-3)
    unknown = dataclasses.replace(recognizer, reference=None)
    assert np.isnan(unknown.non_face_similarities(things)).all()


def test_of_a_face_that_is_too_small_it_is_measured_once_whether_it_is_one(recognizer, images):
    (faces,) = recognizer.find([images[0]])
    for max_non_face, reason in ((0.5, Reason.TOO_SMALL), (-1, Reason.NOT_A_FACE)):
        limits = QualityLimits(min_face_px=1000, max_non_face=max_non_face)
        examined = recognizer.embed_good(images[0], faces, [0], limits, unverified=[0])
        assert examined.rejected[0].reason is reason and np.isfinite(examined.quality[0].non_face[0])
        assert examined.faces.embeddings is None
        assert np.isnan(recognizer.embed_good(images[0], faces, [0], limits).quality[0].non_face[0])


def test_a_call_can_ask_for_less_certain_faces_than_the_settings(recognizer, images):
    scores = {
        least: np.concatenate([faces.scores for faces in recognizer.find(images, min_score=least)])
        for least in (None, 0.02, 1.0)
    }
    assert recognizer.min_score <= scores[None].min()
    assert 0.02 <= scores[0.02].min() < recognizer.min_score
    assert len(scores[1.0]) == 0
