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
