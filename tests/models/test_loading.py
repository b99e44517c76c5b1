"""A network with a wrong entry is reported with its entry, before TensorRT spends minutes on it."""

import dataclasses
import sys

import gpu_double
import pytest
import yaml
from shipped import CATALOG

from app.errors import ModelError
from app.models.entry import MY_MODELS
from app.models.loading import ModelLoader
from app.settings import ModelSettings, Settings


@pytest.fixture
def odd(tmp_path):
    """A catalogue with our two models, and one of the user's own that calls the embedder a detector."""
    for name in ("mobilefacenet.onnx", "catalog.yaml"):
        (tmp_path / name).write_bytes((CATALOG.parent / name).read_bytes())
    facts = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["mobilefacenet"]
    shared = ("file", "sha256", "channels", "mean", "divisor", "licence", "source")
    entry = {"task": "detection", "family": "scrfd", **{key: facts[key] for key in shared}}
    (tmp_path / MY_MODELS).write_text(yaml.safe_dump({"odd": entry}), encoding="utf-8")
    return ModelSettings(catalog=tmp_path / "catalog.yaml", detector="odd", backend="onnx")


@pytest.fixture
def with_tensorrt(monkeypatch, tmp_path):
    """A GPU by its driver, and a TensorRT that is found but cannot do anything."""
    gpu_double.install_driver(monkeypatch, gpu_double.Driver())
    gpu_double.install_memory(monkeypatch, "cudart", gpu_double.Gpu())
    site = tmp_path / "site"
    (site / "tensorrt").mkdir(parents=True)
    (site / "tensorrt" / "__init__.py").write_text("raise ImportError('TensorRT was started')\n", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(str(site))


def refusal(models):
    with pytest.raises(ModelError) as error:
        ModelLoader(Settings(models=models)).open_detector().close()
    return str(error.value)


def test_a_wrong_family_is_an_error_with_the_model_and_its_catalogue(odd):
    folder = odd.catalog.parent
    facts = ("'odd'", str(folder / "mobilefacenet.onnx"), str(folder / MY_MODELS), "SCRFD")
    assert all(fact in refusal(odd) for fact in facts)


def test_a_wrong_family_is_reported_before_tensorrt_is_started(odd, with_tensorrt):
    assert "SCRFD" in refusal(dataclasses.replace(odd, backend="tensorrt"))


def test_the_network_is_not_checked_again_if_an_engine_exists(odd, with_tensorrt):
    (odd.catalog.parent / "mobilefacenet.fp16.engine").write_bytes(b"engine")
    assert "TensorRT was started" in refusal(dataclasses.replace(odd, backend="tensorrt"))


def test_without_onnx_runtime_tensorrt_is_started_right_away(odd, with_tensorrt, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "TensorRT was started" in refusal(dataclasses.replace(odd, backend="tensorrt"))


def test_a_valid_network_is_opened_on_tensorrt(odd, with_tensorrt):
    with pytest.raises(ModelError, match="TensorRT was started"):
        ModelLoader(Settings(models=dataclasses.replace(odd, backend="tensorrt"))).open_embedder().close()
