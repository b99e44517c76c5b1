"""A network in int8 runs on processors that are good at it, and only from a file of its own."""

import dataclasses
import importlib.util

import numpy as np
import pytest
from shipped import CATALOG

from app.errors import ModelError
from app.inference import backends
from app.inference.backends import open_network
from app.inference.engine import NetworkSpec
from app.inference.host import has_int8_instructions
from app.models.catalog import read_catalog

DETECTOR = read_catalog(CATALOG).require("retinaface_mnet025")
SPEC = NetworkSpec(
    DETECTOR.name,
    DETECTOR.file,
    "",
    (1, 3, 320, 320),
    "int8",
    threads=1,
    int8_path=DETECTOR.int8_file,
    exact_precision=True,
)

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def processor(monkeypatch):
    def choose(is_good):
        monkeypatch.setattr(backends, "has_int8_instructions", lambda: is_good)

    return choose


@pytest.mark.parametrize(
    ("flags", "is_good"),
    [
        ("fpu avx2 avx_vnni", True),
        ("fpu avx512f avx512_vnni", True),
        ("fpu amx_bf16 amx_tile amx_int8", True),
        ("fpu avx2 avx512f", False),
        ("fpu avx512_vnni_of_another_kind", False),
    ],
)
def test_a_processor_is_good_at_int8_by_its_flags(tmp_path, flags, is_good):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Abacus\nflags\t\t: {flags}\n\n", encoding="utf-8")
    assert has_int8_instructions(cpuinfo) is is_good


def test_a_processor_that_nothing_is_known_about_is_not_good_at_int8(tmp_path):
    assert not has_int8_instructions(tmp_path / "missing")


@pytest.mark.skipif(not has_int8_instructions(), reason="the processor has no VNNI, and sums would be cut off")
@pytest.mark.parametrize("backend", ["onnx", pytest.param("openvino", marks=needs_openvino)])
def test_the_detector_in_int8_answers_nearly_as_in_fp32(backend):
    picture = {"input": np.random.default_rng(0).uniform(-100, 130, (1, 3, 96, 128)).astype(np.float32)}
    answers = []
    for precision in ("fp32", "int8"):
        opened = open_network(dataclasses.replace(SPEC, precision=precision), backend)
        assert (opened.backend, opened.precision) == (backend, precision)
        answers.append(opened.run(picture))
        opened.close()
    exact, rounded = answers
    assert any((rounded[name] != values).any() for name, values in exact.items())
    for name, values in exact.items():
        assert np.corrcoef(rounded[name].ravel(), values.ravel())[0, 1] > 0.97, name


@pytest.mark.parametrize("backend", ["onnx", pytest.param("openvino", marks=needs_openvino)])
def test_other_processors_are_refused(processor, backend):
    processor(False)
    with pytest.raises(ModelError, match="VNNI"):
        open_network(SPEC, backend)


def test_a_network_without_a_file_in_int8_is_refused(processor):
    processor(True)
    with pytest.raises(ModelError, match="quantised"):
        open_network(dataclasses.replace(SPEC, int8_path=None), "onnx")


def test_files_in_int8_were_made_from_the_networks_that_are_shipped():
    onnx = pytest.importorskip("onnx")
    entries = [entry for entry in read_catalog(CATALOG).entries.values() if entry.built_in and entry.int8_file]
    assert entries
    for entry in entries:
        notes = {note.key: note.value for note in onnx.load(str(entry.verified_int8_file())).metadata_props}
        assert notes["made_from_sha256"] == entry.sha256, f"run python -m training.int8 {entry.name} again"
