"""Each family of detectors finds the faces planted in its outputs, in every layout."""

import logging
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the networks of these tests are built with the package onnx")

from planted import CASES, Case, dsfd_case, open_file, open_planted, picture
from shipped import ROOT
from slow_decoders import Scrfd, empty_answers, plant_faces, read_all

from app.errors import ModelError
from app.settings import DetectionSettings
from app.vision.model_outputs import DETECTOR_FAMILIES

SIZES = {"any size": ((None, None), (192, 160)), "fixed, odd": ((200, 136), (200, 136))}
"""By title: what the network is fixed to, and the size of its input in the test."""


def planted_faces(number, size):
    """Three faces, one a stride, elsewhere in every picture: box, points, stride, anchor."""
    width, height = size
    faces = []
    for stride, anchor, side, x, y in (
        (8, 0, 21.5, 14.3 + 9 * number, 12.7),
        (16, 1, 52.2, width - 70.4, 20.1 + 5 * number),
        (32, 0, 70.8, 8.6 + 6 * number, height - 90.3),
    ):
        box = (x, y, x + side, y + 1.2 * side)
        points = [
            (x + side * px, y + side * py) for px, py in ((0.3, 0.4), (0.72, 0.42), (0.5, 0.6), (0.3, 0.9), (0.7, 1))
        ]
        faces.append((box, points, stride, anchor))
    return faces


def answers_with_faces(case, count, size):
    random = np.random.default_rng(count)
    answers = [empty_answers(case.family, size, random) for _ in range(count)]
    for number, answer in enumerate(answers):
        faces = planted_faces(number, size)
        if len(case.strides) == 1:
            faces = [(box, points, case.strides[0], 0) for box, points, _, _ in faces]
        plant_faces(case.family, case.meaning, answer, faces)
    return answers


def assert_found(faces, expected, scale=1):
    assert len(faces) == len(expected)
    for box, points, *_ in expected:
        row = np.abs(faces.boxes - np.array(box) * scale).max(axis=1).argmin()
        np.testing.assert_allclose(faces.boxes[row], np.array(box) * scale, atol=0.01)
        np.testing.assert_allclose(faces.landmarks[row], np.array(points) * scale, atol=0.01)
        assert faces.scores[row] == pytest.approx(0.9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_planted_faces_are_found(tmp_path, case, size):
    fixed, size = SIZES[size]
    answers = answers_with_faces(case, 3, size)
    detector = open_planted(tmp_path, case, answers, fixed, batch=1 if case.without_batch else None)
    together = detector.detect([picture(number, size) for number in range(3)])
    for number, faces in enumerate(together):
        assert_found(faces, planted_faces(number, size))
        (alone,) = detector.detect([picture(number, size)])
        np.testing.assert_array_equal(alone.boxes, faces.boxes)
        np.testing.assert_array_equal(alone.landmarks, faces.landmarks)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", [case for case in CASES if not case.without_batch], ids=str)
def test_a_network_with_a_fixed_batch_takes_any_number_of_frames(tmp_path, case, batch):
    size = (192, 160)
    detector = open_planted(tmp_path, case, answers_with_faces(case, 3, size), size, batch)
    for number, faces in enumerate(detector.detect([picture(number, size) for number in range(3)])):
        assert_found(faces, planted_faces(number, size))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_faces_of_a_shrunk_image_are_in_its_own_pixels(tmp_path, case):
    size = (200, 136)
    detector = open_planted(tmp_path, case, answers_with_faces(case, 1, size), size, 1)
    (faces,) = detector.detect([picture(0, (400, 272))])
    assert_found(faces, planted_faces(0, size), scale=2)


@pytest.mark.parametrize("case", [case for case in CASES if not case.without_batch], ids=str)
def test_openvino_finds_them_in_a_batch(tmp_path, case):
    pytest.importorskip("openvino")
    size = (192, 160)
    detector = open_planted(tmp_path, case, answers_with_faces(case, 3, size), backend="openvino")
    assert detector.runs_on.backend == "openvino"
    for number, faces in enumerate(detector.detect([picture(number, size) for number in range(3)])):
        assert_found(faces, planted_faces(number, size))
    detector.close()


@pytest.mark.parametrize("size", [(96, 64), (200, 136)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_candidates_are_those_of_the_slow_decoder(tmp_path, case, size):
    random = np.random.default_rng(7)
    answers = empty_answers(case.family, size, random)
    for (role, _), values in answers.items():
        if role in ("score", "objectness", "conf"):
            values[random.uniform(0, 1, values.shape) < 0.2] = 0.95
    detector = open_planted(tmp_path, case, [answers], size, settings=DetectionSettings(min_score=0.5), batch=1)
    prepared = detector.prepare([picture(0, size)])
    (outputs,) = detector.infer(prepared)
    found = detector.candidates(outputs, size, detector.min_score)
    expected = read_all(case.family, case.meaning, answers, 0.5)
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [box for _, box, _ in expected], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.landmarks, [points for _, _, points in expected], rtol=1e-5, atol=1e-4)


def one_case_per_family():
    return list({case.family: case for case in (*CASES, dsfd_case((192, 160)))}.values())


@pytest.mark.parametrize("case", one_case_per_family(), ids=str)
def test_the_minimum_score_is_the_model_s_own_unless_set(tmp_path, case):
    size = (192, 160)
    answers = answers_with_faces(case, 1, size)
    for (role, _), values in answers[0].items():
        if role in ("score", "objectness", "conf"):
            values[values > 0.5] = 0.55
    patient, strict = (replace(case, facts={**case.facts, "min_score": score}) for score in (0.54, 0.56))
    expected = ((case, None, case.family in ("scrfd", "centerface", "dsfd")), (case, 0.54, True), (case, 0.56, False))
    for model, said, is_found in (*expected, (patient, None, True), (strict, None, False), (strict, 0.54, True)):
        detector = open_planted(tmp_path, model, answers, size, batch=1, settings=DetectionSettings(min_score=said))
        (faces,) = detector.detect([picture(0, size)])
        detector.close()
        assert bool(len(faces)) == is_found, (model.facts, said)


@pytest.mark.parametrize("wanted", DETECTOR_FAMILIES)
@pytest.mark.parametrize("case", one_case_per_family(), ids=str)
def test_the_family_of_a_wrong_model_is_detected(tmp_path, case, wanted):
    if wanted == case.family:
        return
    answers = answers_with_faces(case, 1, (192, 160))
    with pytest.raises(ModelError) as error:
        open_planted(tmp_path, case, answers, batch=1, family=wanted)
    message = str(error.value)
    assert DETECTOR_FAMILIES[wanted].title in message and DETECTOR_FAMILIES[wanted].expected in message
    assert f"family {case.family}" in message
    assert all(f"{name} " in message for name in case.outputs(answers[0]))


def test_an_embedder_is_not_a_detector(tmp_path):
    copy = tmp_path / "embedder.onnx"
    copy.write_bytes((ROOT / "engines" / "mobilefacenet.onnx").read_bytes())
    with pytest.raises(ModelError, match="family arcface"):
        open_file(copy, "scrfd", {})


@pytest.mark.parametrize("size", [(192, 160), (200, 136), (640, 96)], ids=str)
def test_dsfds_boxes_are_those_of_the_slow_decoder(tmp_path, size):
    """Small and flat pictures have anchors that are larger than they are, and cells that reach beyond them."""
    case = dsfd_case(size, ("4{}", "5{}"))
    answers = empty_answers("dsfd", size, np.random.default_rng(7))
    for (role, _), values in answers.items():
        if role == "score":
            values[np.random.default_rng(8).uniform(0, 1, values.shape) < 0.3] = 0.95
    detector = open_planted(tmp_path, case, [answers], size, settings=DetectionSettings(min_score=0.5), batch=1)
    (outputs,) = detector.infer(detector.prepare([picture(0, size)]))
    found, expected = (
        detector.candidates(outputs, size, detector.min_score),
        read_all("dsfd", case.meaning, answers, 0.5),
    )
    assert len(found) == len(expected) > 100
    assert {box[2] - box[0] > size[0] / 3 for _, box, _ in expected} == {True, False}
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [box for _, box, _ in expected], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.landmarks, [points for _, _, points in expected], rtol=1e-5, atol=1e-4)


BOXES_ALONE = Case("scrfd without landmarks", "scrfd", Scrfd(), ("9{}", "8{}"), ("score", "box"))


def test_missing_landmarks_are_estimated_with_a_warning(tmp_path, caplog):
    size = (192, 160)
    with caplog.at_level(logging.WARNING):
        detector = open_planted(tmp_path, BOXES_ALONE, answers_with_faces(BOXES_ALONE, 1, size), size, 1)
        for _ in range(2):
            (faces,) = detector.detect([picture(0, size)])
    (warned,) = [record.message for record in caplog.records if "landmarks" in record.message]
    assert "SCRFD" in warned
    assert len(faces) == 3
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks.transpose(1, 0, 2)
    assert (faces.boxes[:, 0] < left_eye[:, 0]).all() and (left_eye[:, 0] < nose[:, 0]).all()
    assert (nose[:, 0] < right_eye[:, 0]).all() and (right_eye[:, 0] < faces.boxes[:, 2]).all()
    assert (left_eye[:, 1] < nose[:, 1]).all() and (nose[:, 1] < left_mouth[:, 1]).all()
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all() and (right_mouth[:, 1] < faces.boxes[:, 3]).all()


def test_a_fixed_batch_without_batch_dimension_in_the_outputs_is_an_error(tmp_path):
    case = next(case for case in CASES if case.without_batch)
    with pytest.raises(ModelError, match="takes 4 images"):
        open_planted(tmp_path, case, answers_with_faces(case, 1, (192, 160)), (192, 160), batch=4)


def test_a_network_fixed_to_a_tiny_size_is_an_error(tmp_path):
    case = next(case for case in CASES if case.family == "centerface")
    answers = empty_answers("centerface", (32, 32), np.random.default_rng(0))
    with pytest.raises(ModelError, match=r"32 x 32 pixels[\s\S]*--size free --batch dynamic"):
        open_planted(tmp_path, case, [answers], (32, 32), batch=10)


def test_outputs_for_another_size_are_an_error(tmp_path):
    case = next(case for case in CASES if case.title == "scrfd")
    detector = open_planted(tmp_path, case, answers_with_faces(case, 1, (192, 160)))
    with pytest.raises(ModelError, match=r"960.*stride 8.*12 x 12"):
        detector.detect([picture(0, (96, 96))])


def test_a_size_that_does_not_fill_the_grid_is_an_error_on_opening(tmp_path):
    case = next(case for case in CASES if case.title == "scrfd")
    answers = answers_with_faces(case, 1, (192, 160))
    cause = r"193 x 160.*960.*stride 8.*25 x 20.*--size 192x160 or --size 224x160"
    with pytest.raises(ModelError, match=f"^model 'planted' .*{cause}"):
        open_planted(tmp_path, case, answers, (193, 160))
