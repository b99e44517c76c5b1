"""`bench` measures the whole program on a generated recording."""

import json

import pytest


def test_stages_and_loops_are_measured(completed, tmp_path):
    code, out, err = completed("bench", "--faces", "1", "--frames", "5", "--json", tmp_path / "speed.json")
    assert code == 0, err
    facts = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert {"decode", "detect", "embed", "encode"} <= set(facts["stages_ms"])
    assert len(facts["loops"]) == 2
    assert facts["machine"] in out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--faces", "9"), "--faces: '9'"),
        (("--frames", "many"), "--frames: 'many'"),
        (("--embedder", "w600k_r50"), "model 'w600k_r50' is missing"),
    ],
)
def test_invalid_arguments_are_refused_first(completed, words, answer):
    code, out, err = completed("bench", *words)
    assert code == 2 and answer in err and not out


def test_an_unwritable_json_file_is_an_error(completed, tmp_path):
    code, _, err = completed("bench", "--faces", "0", "--frames", "1", "--json", tmp_path / "gone" / "speed.json")
    assert code == 2 and "cannot be written" in err


@pytest.mark.slow
def test_channels_are_measured_with_cameras_that_it_plays(completed, tmp_path):
    """How many are carried depends on the machine, but the frames are real ones, and nothing is missing."""
    words = ("--channels", "2", "--present", "100", "--seconds", "2", "--max-age", "30")
    code, out, err = completed("bench", "channels", *words, "--json", tmp_path / "channels.json")
    assert code in (0, 1), err
    facts = json.loads((tmp_path / "channels.json").read_text(encoding="utf-8"))
    assert [(load["channels"], load["present"]) for load in facts["loads"]] == [(2, 0.0), (2, 1.0)]
    for load in facts["loads"]:
        assert 0 < load["p50_age_s"] <= load["p95_age_s"]
        assert load["loop_ms"] > 0 and load["reader_ms"] > 0 and load["cores"] > 0
        assert sum(load["looks"].values()) == pytest.approx(1)
    assert facts["machine"] in out
