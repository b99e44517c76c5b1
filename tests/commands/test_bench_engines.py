"""`bench engines` measures the given networks, writes the figures, and keeps those measured before Ctrl-C."""

import json

import pytest

from app.commands.bench.engines import collect


def test_figures_in_three_forms(completed, tmp_path):
    code, out, err = completed(
        *("bench", "engines", "mobilefacenet", "--batch", "1,2", "--backend", "onnx", "--seconds", "0.01"),
        *("--json", tmp_path / "speed.json", "--markdown", tmp_path / "speed.md"),
    )
    assert code == 0, err
    assert "one by one" in out
    facts = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [(row["model"], row["batch"]) for row in facts["measured"]] == [("mobilefacenet", 1), ("mobilefacenet", 2)]
    assert facts["machine"] in out
    assert "| mobilefacenet | 112x112 | ONNX Runtime, fp32 | 1 |" in (tmp_path / "speed.md").read_text(encoding="utf-8")


def test_detector_by_size(completed):
    words = ("bench", "engines", "retinaface_mnet025", "--batch", "1", "--backend", "onnx", "--seconds", "0.01")
    code, out, err = completed(*words, "--size", "96x64,64x64")
    assert code == 0, err
    assert "96x64" in out and "64x64" in out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--batch", "0"), "--batch: '0'"),
        (("--batch", "1,two"), "--batch: 'two'"),
        (("--seconds", "nan"), "--seconds: 'nan'"),
        (("--seconds", "long"), "--seconds: 'long'"),
        (("mobilefacenet", "w600k_mbf"), "engines pull w600k_mbf --accept-licence"),
        (("--size", "640"), "--size: '640'"),
        (("--size", "10x10"), "--size: '10x10'"),
        (("--backend", "onnx,abacus"), "'abacus'"),
        (("no_such_model",), "has no model 'no_such_model'"),
        (("genderage",), "genderage"),
        (("mobilefacenet", "--published"), "--published"),
        (("--published", "--batch", "7"), "--batch"),
    ],
)
def test_invalid_arguments(answered, config_file, words, answer):
    code, _, err = answered("bench", "engines", *words, "--config", config_file)
    assert code == 2 and answer in err


def test_a_batch_that_the_backend_takes_in_parts_is_marked(completed, tmp_path):
    words = ("--batch", "4,6", "--backend", "onnx", "--seconds", "0.01", "--json", tmp_path / "speed.json")
    code, out, err = completed("bench", "engines", "mobilefacenet", *words)
    assert code == 0, err
    assert out.count(" 6, by 4 ") == 2 and "4, by" not in out
    assert "demo's picture" not in out, "no detector was measured"
    facts = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [(row["batch"], row["at_once"]) for row in facts["measured"]] == [(4, 4), (6, 4)]


def test_nothing_measured_is_a_failure(completed):
    words = ("bench", "engines", "mobilefacenet", "--backend", "onnx", "--precision", "int8", "--batch", "1")
    code, out, _ = completed(*words)
    assert code == 1
    assert "Not measured" in out and "images/s" not in out


def test_what_was_measured_before_ctrl_c_is_kept():
    def measuring():
        yield "first"
        yield "second"
        raise KeyboardInterrupt

    assert collect(measuring()) == (["first", "second"], True)
    assert collect(iter(["all"])) == (["all"], False)
