"""`calibrate` on real photos: two people with two photos each."""

import json

import pytest
import yaml
from made_galleries import copy_photos


@pytest.fixture
def gallery(tmp_path, people_gallery):
    copy_photos(people_gallery, tmp_path / "gallery")
    return tmp_path / "gallery"


def test_the_threshold_is_written_into_the_settings_and_then_used(answered, config_file, gallery):
    with config_file.open("a", encoding="utf-8") as file:
        file.write("recognition:\n  margin: 0.05  # mine\n")
    code, out, err = answered("calibrate", "--apply", "--json", "--config", config_file)
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["people"], facts["photos"], facts["strangers"]) == (2, 4, 1500)
    assert facts["wanted"]["upper_bound_95"] > facts["wanted"]["false_accept_rate"] == pytest.approx(0.003, rel=0.05)
    text = config_file.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["recognition"] == {"threshold": facts["wanted"]["threshold"], "margin": 0.05}
    assert "# mine" in text and "# python -m app calibrate" in text
    again = json.loads(answered("calibrate", "--json", "--config", config_file)[1])
    assert again["now"]["threshold"] == facts["wanted"]["threshold"]


def test_a_threshold_is_written_again_and_pointed_out_if_it_is_lower(answered, config_file, gallery):
    for rate, is_lower in (("0.0001", False), ("0.01", True)):
        words = ("calibrate", "--apply", "--false-accept-rate", rate, "--config", config_file)
        code, out, err = answered(*words)
        assert code == 0, err
        assert ("warning: " in out) is is_lower


def test_a_lower_rate_needs_a_higher_threshold_and_a_picture_is_drawn(answered, config_file, gallery, tmp_path):
    rates = {}
    for rate in ("0.01", "0.0001"):
        code, out, err = answered(
            "calibrate", "--false-accept-rate", rate, "--json", "--plot", tmp_path / "p.png", "--config", config_file
        )
        assert code == 0, err
        rates[rate] = json.loads(out)["wanted"]["threshold"]
    assert rates["0.01"] < rates["0.0001"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_gallery_a_wrong_rate_and_a_rate_in_the_settings_are_errors(answered, config_file, tmp_path):
    (tmp_path / "gallery").mkdir()
    code, _, err = answered("calibrate", "--config", config_file)
    assert code == 2 and "people add" in err
    code, _, err = answered("calibrate", "--false-accept-rate", "2", "--config", config_file)
    assert code == 2 and "0.5" in err
    config_file.write_text("recognition: {false_accept_rate: 0.01}\n", encoding="utf-8")
    code, _, err = answered("calibrate", "--apply", "--config", config_file)
    assert code == 2 and f"{config_file}:1" in err
