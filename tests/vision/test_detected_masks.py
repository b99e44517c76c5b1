"""A detector that predicts masks: each probability stays with its face, up to the picture and the events."""

import contextlib
import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

pytest.importorskip("onnx", reason="the networks of these tests are built with the package onnx")

from planted import CASES, Case, open_planted, picture
from slow_decoders import ANCHORS, STRIDES, RetinafaceMxnet, empty_answers, plant_faces

from app.events.event import attribute_fields
from app.gallery.gallery import Gallery
from app.models.loading import ModelLoader
from app.output.annotate import attributes_text
from app.pipeline import Pipeline
from app.settings import DetectionSettings, ModelSettings, QualitySettings, Settings
from app.types import NO_ATTRIBUTES, Faces, Frame

SIZE = (192, 160)
NUMBERED = next(case for case in CASES if "mask" in case.roles)
NAMED = Case(
    "mnet_cov2",
    "retinaface_mxnet",
    RetinafaceMxnet(0.2),
    tuple(
        f"face_rpn_{kind}_stride{{}}_output"
        for kind in ("cls_prob_reshape", "bbox_pred", "landmark_pred", "type_prob_reshape")
    ),
    ("score", "box", "landmarks", "mask"),
    True,
    facts={"landmark_scale": 0.2},
)
FACES = [((20, 30, 52, 66), 16, 0.9), ((100, 40, 170, 130), 32, 0.6), ((60, 90, 84, 120), 8, 0.05)]
"""Box, stride, and how likely a mask is."""


def answers_with_masks(case, faces=FACES):
    answers = empty_answers(case.family, SIZE, np.random.default_rng(5))
    for stride in case.strides:
        kinds = np.exp(answers["mask", stride])
        answers["mask", stride][:] = kinds / kinds.sum(axis=3, keepdims=True)
    for box, stride, mask in faces:
        points = [(box[0] + part, box[1] + part) for part in (8, 10, 12, 14, 16)]
        for anchor, score in ((0, 0.9), (1, 0.8)):
            plant_faces(case.family, case.meaning, answers, [(box, points, stride, anchor)])
            row, column = int((box[1] + box[3]) / 2 / stride), int((box[0] + box[2]) / 2 / stride)
            answers["score", stride][row, column, anchor] = score
            # The other anchor sees the same face worse, and is wrong of its mask.
            found = mask if anchor == 0 else 1 - mask
            answers["mask", stride][row, column, anchor] = [0.1 * (1 - found), 0.9 * (1 - found), found]
    return answers


@pytest.mark.parametrize("case", [NAMED, NUMBERED], ids=str)
def test_each_face_keeps_its_own_mask_when_overlaps_are_dropped(tmp_path, case):
    mirrored = [(box, stride, 1 - mask) for box, stride, mask in FACES]
    answers = [answers_with_masks(case), answers_with_masks(case, mirrored)]
    detector = open_planted(tmp_path, case, answers)
    assert detector.predicts_masks
    for faces, expected in zip(detector.detect([picture(number, SIZE) for number in range(2)]), (FACES, mirrored)):
        assert len(faces) == len(expected)
        for box, _, mask in expected:
            row = np.abs(faces.boxes - box).max(axis=1).argmin()
            assert faces.mask_probabilities[row] == pytest.approx(mask, abs=1e-6)


def test_every_candidate_has_the_mask_of_its_own_cell_and_anchor(tmp_path):
    answers = answers_with_masks(NAMED)
    for stride in NAMED.strides:
        answers["score", stride][:] = np.where(answers["score", stride] > 0.15, 0.7, 0.1)
    detector = open_planted(tmp_path, NAMED, [answers], SIZE, 1, settings=DetectionSettings(min_score=0.5))
    prepared = detector.prepare([picture(0, SIZE)])
    found = detector.candidates(detector.infer(prepared)[0], SIZE, detector.min_score)
    expected = [
        answers["mask", stride][row, column, anchor][2]
        for stride in STRIDES[NAMED.family]
        for row in range(SIZE[1] // stride)
        for column in range(SIZE[0] // stride)
        for anchor in range(ANCHORS[NAMED.family])
        if answers["score", stride][row, column, anchor][0] >= 0.5
    ]
    assert len(expected) > 100
    np.testing.assert_array_equal(found.mask_probabilities, expected)


def test_masks_reach_picture_and_events_without_an_attribute_model(tmp_path, recognizer, settings):
    detector = open_planted(tmp_path, NAMED, [answers_with_masks(NAMED)])
    # There are no real faces in the picture of planted ones.
    no_gates = QualitySettings(
        max_yaw_deg=180, max_pitch_deg=180, max_roll_deg=180, max_landmark_error=10, min_sharpness=0, max_non_face=1
    )
    settings = dataclasses.replace(settings, quality=no_gates)
    reader = ModelLoader(Settings(models=ModelSettings(catalog=CATALOG))).open_attributes(detector.predicts_masks)
    with_masks = dataclasses.replace(recognizer, detector=detector, attribute_models=reader)
    with contextlib.closing(Gallery(settings, with_masks)) as gallery:
        pipeline = Pipeline(with_masks, gallery, settings)
        results = [pipeline.process(Frame(picture(0, SIZE), "door", i, i * 0.04)) for i in range(5)]
    found = {round(float(box[0])): one for box, one in zip(results[-1].faces.boxes, results[-1].attributes)}
    assert [attributes_text(found[left]) for left in (20, 100)] == ["mask", "mask"]
    assert attribute_fields(found[20]) == {"mask": True, "mask_probability": 0.9}
    assert [track.attributes.mask for track in results[-1].tracks].count(True) == 2


def test_a_detected_mask_counts_as_worn_from_a_fifth_on():
    reader = ModelLoader(Settings(models=ModelSettings(catalog=CATALOG))).open_attributes(True)
    faces = Faces(
        np.zeros((2, 4), np.float32),
        np.ones(2, np.float32),
        np.zeros((2, 5, 2), np.float32),
        mask_probabilities=np.array([0.25, 0.15], np.float32),
    )
    worn, bare = reader.predict(picture(0, SIZE), faces, [0, 1], [NO_ATTRIBUTES] * 2)
    assert (worn.mask, bare.mask) == (True, False)
    assert bare.mask_probability == pytest.approx(0.15) and bare.no_mask_probability is None
    bared = dataclasses.replace(faces, mask_probabilities=np.zeros(2, np.float32))
    kept = reader.predict(picture(0, SIZE), bared, [], [worn] * 2)
    assert [one.mask for one in kept] == [True, True]


def test_other_detectors_predict_no_masks(tmp_path, networks):
    plain = next(case for case in CASES if case.title == "mxnet")
    detector = open_planted(tmp_path, plain, [answers_with_masks(plain)])
    (faces,) = detector.detect([picture(0, SIZE)])
    assert len(faces) == 3 and faces.mask_probabilities is None
    assert not detector.predicts_masks and not networks[0].predicts_masks
