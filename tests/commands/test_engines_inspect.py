"""`engines inspect` takes files and names, as text and as JSON."""

import json
import re

import pytest
from shipped import CATALOG, ROOT

ENGINES = ROOT / "engines"


@pytest.fixture
def said(answered, config_file):
    """Runs `engines inspect`: exit code, standard output, standard error."""
    return lambda *words: answered("engines", "inspect", *words, "--config", config_file)


def test_model_of_the_catalogue(said):
    pytest.importorskip("onnx")
    code, out, _ = said("mobilefacenet")
    assert code == 0
    assert "embedding ? x 128 float32" in out
    assert "1.05 million" in out and "50 Conv" in out


def test_layers_are_listed_on_request(said):
    pytest.importorskip("onnx")
    short = said(ENGINES / "mobilefacenet.onnx")[1]
    long = said(ENGINES / "mobilefacenet.onnx", "--layers")[1]
    assert not re.search(r"Flatten +/Flatten", short)
    assert re.search(r"Flatten +/Flatten", long)


def test_json_contains_everything(said):
    pytest.importorskip("onnx")
    (facts,) = json.loads(said("mobilefacenet", "--json")[1])
    assert facts["file"].endswith("mobilefacenet.onnx")
    assert facts["precision"] == "fp32"
    assert len(facts["layers"]) == sum(facts["operators"].values())


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("mobilefacenett", "did you mean 'mobilefacenet'"),
        ("gone.onnx", "gone.onnx"),
        ("some/where", "some/where"),
        (ENGINES, "is a folder"),
        (CATALOG, "only .onnx and .engine files"),
    ],
)
def test_what_cannot_be_inspected(said, word, answer):
    code, _, err = said(word)
    assert code == 2 and answer in err


@pytest.mark.parametrize(("share", "damage"), [(0.5, "not an ONNX file, or incomplete"), (0, "the file is empty")])
def test_truncated_and_empty_files_are_refused(said, tmp_path, share, damage):
    content = (ENGINES / "mobilefacenet.onnx").read_bytes()
    left = tmp_path / "left.onnx"
    left.write_bytes(content[: int(share * len(content))])
    code, out, err = said(left)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"error: {left}: {damage}; ")


def test_engine_without_tensorrt_shows_its_metadata(said, tmp_path):
    engine = tmp_path / "finder.engine"
    engine.write_bytes(b"engine")
    engine.with_suffix(".json").write_text('{"precision": "fp16", "gpu": "Orin"}', encoding="utf-8")
    code, out, _ = said(engine)
    assert code == 0
    assert "precision: fp16" in out and "gpu: Orin" in out
    assert "not verified" in out


def test_a_file_that_cannot_be_an_engine_is_refused(said, tmp_path):
    engine = tmp_path / "finder.engine"
    engine.write_bytes(b"")
    code, _, err = said(engine)
    assert code == 2 and str(engine) in err and "is empty" in err
    engine.write_bytes((ENGINES / "retinaface_mnet025.onnx").read_bytes())
    code, _, err = said(engine)
    assert code == 2 and str(engine) in err and ".onnx" in err


def test_engine_with_broken_metadata(said, tmp_path):
    engine = tmp_path / "finder.engine"
    engine.write_bytes(b"engine")
    engine.with_suffix(".json").write_text("{", encoding="utf-8")
    code, _, err = said(engine)
    assert code == 2 and "engines build" in err
