"""Attribute models get the right crop of the image, and their outputs are read as their family defines them."""

import dataclasses
import hashlib

import numpy as np
import pytest
import yaml
from shipped import CATALOG

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.models.catalog import read_catalog
from app.models.loading import ModelLoader
from app.settings import AttributeSettings, ModelSettings, Settings
from app.types import NO_ATTRIBUTES, Faces, Gender
from app.vision.align import cut_squares, cut_surroundings, surroundings, template

pytest.importorskip("onnx")
from seeing_networks import write_planted_network, write_seeing_network

FACTS = {
    "gender_age": ("attributes", [96, 96], "rgb"),
    "mask": ("attributes", [112, 112], "rgb"),
    "antispoof": ("antispoof", [80, 80], "bgr"),
    "landmarks106": ("landmarks", [192, 192], "rgb"),
}
TWO_FACES = np.array([[20, 30, 80, 110], [200, 60, 280, 140]], np.float32)


@pytest.fixture
def models(tmp_path):
    """Adds a network of a family to a temporary catalogue; returns the settings that open it."""
    entries = {}

    def add(name, family, write, **facts):
        task, crop, channels = FACTS[family]
        facts = {"crop": crop, "channels": channels, "mean": [0, 0, 0], "divisor": 1, **facts}
        path = tmp_path / f"{name}.onnx"
        write(path, tuple(facts["crop"]))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        made_here = {"licence": "made here", "source": "made here"}
        entries[name] = {"task": task, "family": family, "file": path.name, "sha256": sha256, **made_here, **facts}
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
        return ModelSettings(catalog=tmp_path / "catalog.yaml", backend="onnx")

    return add


def planted(answers, **options):
    return lambda path, size: write_planted_network(path, size, answers, **options)


def picture(greens=(0, 1), size=(320, 240), boxes=TWO_FACES, around=1.0):
    """Each face's surroundings have its number as green."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for green, (x1, y1, x2, y2) in zip(greens, boxes):
        reach = around * max(x2 - x1, y2 - y1)
        left, top = max(0, int((x1 + x2) / 2 - reach)), max(0, int((y1 + y2) / 2 - reach))
        image[top : int((y1 + y2) / 2 + reach), left : int((x1 + x2) / 2 + reach), 1] = green
    return image


def faces(boxes=TWO_FACES):
    scale = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None, None] / 112
    landmarks = boxes[:, None, :2] + template()[None] * scale
    return Faces(np.asarray(boxes, np.float32), np.ones(len(boxes), np.float32), landmarks.astype(np.float32))


def read(models, wanted, image=None, rows=(0, 1), before=None, found=None):
    reader = ModelLoader(Settings(models=models, attributes=wanted)).open_attributes()
    found = faces() if found is None else found
    before = [NO_ATTRIBUTES] * len(found) if before is None else before
    predicted = reader.predict(picture() if image is None else image, found, list(rows), before)
    reader.close()
    return predicted


def test_gender_is_the_larger_score_and_age_the_third_number_times_a_hundred(models):
    settings = models("ga", "gender_age", planted([[0.2, 1.4, 0.34], [2.0, -1.0, 0.29]]))
    one, other = read(settings, AttributeSettings(gender_age="ga"))
    assert (one.gender, round(one.age)) == (Gender.MALE, 34)
    assert (other.gender, round(other.age)) == (Gender.FEMALE, 29)
    assert one.mask is one.live_probability is one.pose is one.landmarks106 is None


def test_the_202_outputs_give_the_age_by_counting_years(models):
    def answer(years, male):
        older = [[0.1, 0.9] if year < years else [0.8, 0.2] for year in range(100)]
        return [1 - male, male, *np.ravel(older)]

    write = planted([answer(41, 0), answer(7, 1)])
    settings = models("ga1", "gender_age", write, crop=[112, 112], enlarge=0)
    one, other = read(settings, AttributeSettings(gender_age="ga1"))
    assert (one.gender, one.age) == (Gender.FEMALE, 41)
    assert (other.gender, other.age) == (Gender.MALE, 7)


@pytest.mark.parametrize("crop", [[112, 112], [224, 224]])
def test_masks_are_read_from_the_aligned_face_with_channels_last(models, crop):
    write = planted([[0.95, 0.05], [0.2, 0.8]], channels_last=True)
    settings = models("mask", "mask", write, crop=crop)
    one, other = read(settings, AttributeSettings(mask="mask"))
    assert one.mask is True and one.mask_probability == pytest.approx(0.95)
    assert other.mask is False and other.no_mask_probability == pytest.approx(0.8)


def test_a_mask_model_takes_precedence_over_the_detector(models):
    settings = models("mask", "mask", planted([[0.95, 0.05], [0.2, 0.8]], channels_last=True))
    found = dataclasses.replace(faces(), mask_probabilities=np.array([0.0, 1.0], np.float32))
    predicted = read(settings, AttributeSettings(mask="mask"), found=found)
    assert [one.mask for one in predicted] == [True, False]


@pytest.mark.parametrize(("answer", "mask"), [((0.89, 0.11), True), ((0.88, 0.12), False), ((0.9, 0.95), False)])
def test_a_mask_counts_as_worn_when_its_probability_is_high_and_the_higher_one(models, answer, mask):
    settings = models("mask", "mask", planted([np.float64(answer) + 1e-6], channels_last=True))
    (found,) = read(settings, AttributeSettings(mask="mask"), picture([0]), rows=[0], found=faces(TWO_FACES[:1]))
    assert found.mask is mask


def test_liveness_is_the_softmax_of_the_middle_score(models):
    settings = models("fas", "antispoof", planted([[0, 3, 0], [5, 1, 2]]))
    one, other = read(settings, AttributeSettings(antispoof="fas"), picture(size=(640, 480), around=1.6))
    assert one.live_probability == pytest.approx(np.exp(3) / (np.exp(3) + 2), rel=1e-5)
    assert other.live_probability == pytest.approx(np.exp(1) / (np.exp(5) + np.exp(1) + np.exp(2)), rel=1e-5)


def test_106_landmarks_are_in_the_image_s_pixels(models):
    corners = np.zeros((106, 2))
    corners[0], corners[1], corners[2] = (-1, -1), (1, 1), (0.5, 0)
    settings = models("lm", "landmarks106", planted([corners.ravel(), corners.ravel()]))
    predicted = read(settings, AttributeSettings(landmarks106="lm"))
    for box, one in zip(TWO_FACES, predicted):
        middle, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * 1.5 / 2
        np.testing.assert_allclose(one.landmarks106[:3], middle + reach * corners[:3], atol=1e-3)


def test_pose_needs_no_network_and_small_faces_get_none():
    boxes = np.array([[20, 30, 80, 110], [200, 60, 215, 75]], np.float32)
    predicted = read(ModelSettings(), AttributeSettings(head_pose=True), found=faces(boxes))
    assert abs(predicted[0].pose.yaw_deg) < 3 and predicted[1].pose is None


def test_lasting_attributes_are_predicted_for_the_chosen_rows_and_kept_for_the_others(models):
    settings = models("ga", "gender_age", planted([[0, 1, 0.34], [1, 0, 0.29]]))
    known = dataclasses.replace(NO_ATTRIBUTES, gender=Gender.MALE, age=70.0)
    predicted = read(settings, AttributeSettings(gender_age="ga"), rows=[1], before=[known, known])
    assert [round(one.age) for one in predicted] == [70, 29]
    untouched = read(settings, AttributeSettings(gender_age="ga"), rows=[], before=[known, known])
    assert [one.age for one in untouched] == [70, 70]


def test_the_square_is_the_longer_side_enlarged_around_the_centre():
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    (crop,) = cut_squares(image, np.array([[110, 100, 150, 164]]), 1.5, (96, 96))
    np.testing.assert_array_equal(crop, image[84:180, 82:178])
    (outside,) = cut_squares(image, np.array([[-32, -32, 32, 32]]), 1.5, (96, 96))
    assert not outside[:48, :].any() and not outside[:, :48].any() and outside[49:, 49:].any()


def test_surroundings_keep_the_proportions_and_stay_within_the_image():
    assert surroundings(np.array([100, 100, 120, 130]), 2.0, (640, 480)) == (90, 85, 130, 145)
    assert surroundings(np.array([0, 0, 20, 30]), 2.0, (640, 480)) == (0, 0, 40, 60)
    assert surroundings(np.array([600, 440, 640, 480]), 2.7, (640, 480)) == (532, 372, 640, 480)
    x1, y1, x2, y2 = surroundings(np.array([200, 100, 500, 400]), 2.7, (640, 480))
    assert (y1, y2) == (0, 480) and x2 - x1 == 480
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    (crop,) = cut_surroundings(image, np.array([[100, 100, 140, 140]]), 2.0, (80, 80))
    np.testing.assert_array_equal(crop, image[80:160, 80:160])


def test_the_antispoof_model_gets_raw_bgr(models):
    def write(path, size):
        write_seeing_network(path, size, [(40, 40)])

    settings = models("fas", "antispoof", write)
    reader = ModelLoader(Settings(models=settings, attributes=AttributeSettings(antispoof="fas"))).open_attributes()
    crop = np.full((1, 80, 80, 3), (7, 100, 250), np.uint8)
    np.testing.assert_allclose(reader.antispoof.answers(crop), [[7, 100, 250]])
    reader.close()


@pytest.mark.parametrize("family", FACTS)
def test_a_network_with_another_output_is_an_error(models, family):
    settings = models("odd", family, planted([[1.0] * 7]))
    with pytest.raises(ModelError, match=r"input .*answer \? x 7"):
        ModelLoader(Settings(models=settings, attributes=AttributeSettings(**{family: "odd"}))).open_attributes()


def test_a_model_of_another_family_is_an_error(models):
    settings = models("mask", "mask", planted([[1.0, 0.0]]))
    with pytest.raises(ModelError, match=r"'mask' .*attributes\.gender_age"):
        ModelLoader(Settings(models=settings, attributes=AttributeSettings(gender_age="mask"))).open_attributes()
    with pytest.raises(ModelError, match=r"'mask' .*attributes.*antispoof"):
        ModelLoader(Settings(models=settings, attributes=AttributeSettings(antispoof="mask"))).open_attributes()


def test_opened_models_are_closed_when_a_later_one_fails(models, monkeypatch):
    closed = []
    original = OnnxEngine.close
    monkeypatch.setattr(OnnxEngine, "close", lambda engine: (closed.append(engine), original(engine)))
    models("ga", "gender_age", planted([[0, 1, 0.34]]))
    settings = models("odd", "antispoof", planted([[1.0] * 7]))
    with pytest.raises(ModelError):
        ModelLoader(
            Settings(models=settings, attributes=AttributeSettings(gender_age="ga", antispoof="odd"))
        ).open_attributes()
    assert len(closed) == 2


def test_without_attributes_nothing_is_opened():
    assert ModelLoader(Settings(models=ModelSettings(catalog=CATALOG))).open_attributes() is None


@pytest.mark.parametrize(
    ("family", "usual", "wrong"), [("gender_age", 1.5, -1), ("mask", 0, 1.5), ("antispoof", 2.7, 0)]
)
def test_enlarge_defaults_to_that_of_the_family_and_is_checked(models, family, usual, wrong):
    path = models("one", family, planted([[1.0]])).catalog
    assert read_catalog(path).require("one").enlarge == usual
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries["one"]["enlarge"] = wrong
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    with pytest.raises(ModelError, match="'one': enlarge"):
        read_catalog(path)
