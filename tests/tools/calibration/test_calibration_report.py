"""A calibration in sentences, as JSON and as a picture."""

import json
import re

import cv2
import numpy as np
import pytest

from app.errors import OutputError
from app.gallery.people import PhotoFinding, PhotoRecord
from app.identity.calibration import calibrate
from app.settings import RecognitionSettings
from app.tools.calibration.plot import INK, LEFT, RIGHT, TOP, WIDTH, curves, plot
from app.tools.calibration.report import calibration_json, calibration_text, one_in
from app.types import Reason

SIZE = 128


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def made(people, each):
    rng = np.random.default_rng(1)
    rows = unit(
        np.repeat(unit(rng.normal(size=(people, SIZE))), each, axis=0) + rng.normal(0, 0.05, (people * each, SIZE))
    )
    names = [f"p{row // each:02}" for row in range(len(rows))]
    finding = PhotoFinding(Reason.USED, rows[0])
    photos = [PhotoRecord(f"{name}/{row}.jpg", name, str(row), finding) for row, name in enumerate(names)]
    strangers = unit(rng.normal(size=(1500, SIZE)))
    found = calibrate(rows, names, strangers, rng.normal(0.7, 0.1, 200), RecognitionSettings())
    return found, photos


def test_the_sentence_has_threshold_rate_people_bound_and_share():
    found, photos = made(people=25, each=2)
    (sentence,) = re.findall(r"^at .*", calibration_text(found, photos, 0.001, 0.32, "default"), re.MULTILINE)
    threshold = float(sentence.split()[1])
    assert found.false_accept_rate(threshold) == pytest.approx(0.001, rel=0.05)
    for fact in ("in 1,000", "25 people", one_in(found.upper_bound(threshold)), "100 %"):
        assert fact in sentence


def test_with_one_photo_each_it_says_not_enough_photos():
    text = calibration_text(*made(people=3, each=1), 0.001, 0.32, "default")
    assert "not enough photos" in text and "looks would be named" not in text


def test_the_nearest_pair_and_its_photos_are_named():
    found, photos = made(people=5, each=2)
    one, other = (photos[row] for row in found.pair.rows)
    text = calibration_text(found, photos, 0.001, 0.32, "default")
    assert one.path in text and other.path in text and f"{found.pair.similarity:.2f}" in text
    facts = json.loads(json.dumps(calibration_json(found, photos, 0.001, 0.32)))
    assert facts["nearest_pair"]["photos"] == [one.path, other.path]
    assert facts["now"]["threshold"] == 0.32 and facts["wanted"]["named"]["of"] == 10


@pytest.mark.parametrize(
    ("rate", "text"), [(0.001, "1 in 1,000"), (1 / 312, "1 in 310"), (0.5, "1 in 2.0"), (1 / 23.4, "1 in 23")]
)
def test_rates_are_written_with_two_digits(rate, text):
    assert one_in(rate) == text


def test_the_picture_shows_the_threshold_at_its_place(tmp_path):
    found, _ = made(people=5, each=2)
    drawn = curves(found.tail.similarities, found.own, np.empty(0))
    plot(drawn, "5 people", 0.4, tmp_path / "plot.png")
    image = cv2.imread(str(tmp_path / "plot.png"))
    at = round(LEFT + 0.5 * (WIDTH - LEFT - RIGHT))
    assert tuple(image[TOP + 3, at]) == INK
    assert tuple(image[TOP + 3, at + 40]) == (255, 255, 255)
    assert [curve.title for curve in drawn] != [
        curve.title for curve in curves(drawn[0].similarities, np.empty(0), found.own)
    ]
    with pytest.raises(OutputError):
        plot(drawn, "", 0.4, tmp_path / "no folder" / "plot.png")
