"""`engines compare` from the command line."""

import importlib.util
import json
import sys

import cv2
import pytest
from shipped import CATALOG

from app.inference import backends

needs_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO is not installed")


def compared(completed, tmp_path, *words):
    code, out, err = completed("engines", "compare", *words, "--json", tmp_path / "figures.json")
    assert code == 0, err
    return out, json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))


def test_a_detector_on_the_same_backend_twice_does_not_differ(completed, tmp_path):
    out, figures = compared(completed, tmp_path, "retinaface_mnet025", "--b", "onnx")
    assert figures["a"] == figures["b"] == "ONNX Runtime, fp32"
    assert set(figures["outputs"]) == {"loc", "conf", "landms"}
    assert all(output["max"] == 0 for output in figures["outputs"].values())
    assert figures["effect"]["found_by_both"] > 3 and figures["effect"]["only_by_a"] == 0
    assert "found by both" in out


def test_an_embedder_is_shown_the_faces_of_a_folder_of_pictures(completed, tmp_path, portraits):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, portrait in enumerate(portraits[:2]):
        cv2.imwrite(str(folder / f"{number}.png"), portrait.image)
    _, figures = compared(completed, tmp_path, "mobilefacenet", "--b", "onnx", "--images", folder)
    assert figures["pictures"] == 2
    assert figures["effect"]["faces"] == 2
    assert figures["effect"]["cosine_min"] == pytest.approx(1, abs=1e-6)


def test_a_backend_is_not_compared_with_itself_in_one_precision(answered, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.chdir(CATALOG.parent.parent)
    code, out, err = answered("engines", "compare", "mobilefacenet")
    assert (code, out) == (2, "")
    assert "ONNX Runtime, fp32" in err
    assert "pip install openvino" in err and "--b openvino" in err


@pytest.mark.parametrize("model", ["mobilefacenet", "retinaface_mnet025"])
def test_an_unavailable_precision_is_refused_and_no_other_is_compared(answered, monkeypatch, model):
    monkeypatch.setattr(backends, "has_int8_instructions", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.chdir(CATALOG.parent.parent)
    code, out, err = answered("engines", "compare", model, "--precision", "int8")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {model}: int8 ")
    assert "ONNX Runtime" in line


@needs_openvino
def test_openvino_in_fp32_equals_onnx_runtime(completed, tmp_path):
    _, figures = compared(completed, tmp_path, "mobilefacenet", "--b", "openvino", "--precision", "fp32")
    assert figures["b"] == "OpenVINO, fp32"
    assert figures["effect"]["cosine_min"] > 0.9999
    assert 0 < figures["outputs"]["embedding"]["max_relative"] < 1e-3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("minifasnet_v2",), "is for antispoof"),
        (("retinaface_mnet025", "--b", "abacus"), "'abacus': expected one of"),
        (("retinaface_mnet025", "--images", "nowhere"), "no such folder"),
        (("retinaface_mnet025", "--json", "nowhere/figures.json"), "nowhere"),
        (("retinaface_mnet025", "--json", "."), "it is a folder"),
        (("mobilefacenet", "--b", "onnx", "--precision", "int8"), "int8"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(completed, words, message):
    code, _, err = completed("engines", "compare", *words)
    assert code == 2
    assert message in err
