"""The fastest backend is measured once, remembered next to the model, and measured again when something has changed."""

import dataclasses
import importlib.util
import json
import logging
import os
import shutil

import pytest
from shipped import CATALOG

from app.inference import backend_choices, backends
from app.inference.backend_choices import FILE_NAME, BackendChoice, BackendChoices
from app.inference.engine import NetworkSpec

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")

MEASURED = BackendChoice(
    "net", "openvino", "OpenVINO", "bf16", {"ONNX Runtime": 22.71, "OpenVINO": 11.8}, "2026-01-31T12:00:00+00:00"
)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "net.onnx"
    shutil.copy(CATALOG.parent / "mobilefacenet.onnx", path)
    return NetworkSpec("net", path, "ab" * 32, (16, 3, 112, 112), threads=1)


@pytest.fixture
def measurements(monkeypatch):
    """The networks that were measured; each first candidate is reported as the fastest by far."""
    measured = []

    def times(engines, network):
        measured.append(network.name)
        return [1.0 + row for row in range(len(engines))]

    monkeypatch.setattr(backends, "min_times_ms", times)
    return measured


def opened(spec, **options):
    made = backends.open_network(spec, **options)
    made.engine.close()
    return made


def test_a_saved_choice_is_found_and_forgotten(spec):
    choices = BackendChoices(spec, "auto")
    assert choices.find() is None
    choices.save(MEASURED)
    assert BackendChoices(spec, "auto").find() == MEASURED
    BackendChoices(spec, "auto").forget()
    assert choices.find() is None


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "cd" * 32},
        {"precision": "fp32"},
        {"threads": 2},
        {"largest_input": (1, 3, 112, 112)},
    ],
)
def test_another_request_has_its_own_choice(spec, change):
    other = dataclasses.replace(spec, **change)
    BackendChoices(spec, "auto").save(MEASURED)
    assert BackendChoices(other, "auto").find() is None
    BackendChoices(other, "auto").save(dataclasses.replace(MEASURED, label="ONNX Runtime"))
    assert BackendChoices(spec, "auto").find() == MEASURED
    assert BackendChoices(spec, "openvino").find() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__version__", "99.0"),
        ("processor_name", lambda: "another processor"),
        ("available_cores", lambda: 999),
        ("board_model", lambda: "another board"),
        ("_runtime_versions", lambda: {"onnxruntime": ["onnxruntime-99.0"]}),
    ],
)
def test_another_machine_or_version_is_measured_again(spec, monkeypatch, name, value):
    BackendChoices(spec, "auto").save(MEASURED)
    monkeypatch.setattr(backend_choices, name, value)
    assert BackendChoices(spec, "auto").find() is None


def test_choices_of_old_versions_do_not_pile_up(spec, monkeypatch):
    for version in ("1.0", "1.1", "1.2"):
        monkeypatch.setattr(backend_choices, "__version__", version)
        BackendChoices(spec, "auto").save(MEASURED)
    (record,) = json.loads(spec.path.with_name(FILE_NAME).read_text())
    assert record["versions"]["program"] == "1.2"


def test_the_versions_of_installed_runtimes_are_known():
    versions = backend_choices._runtime_versions()
    assert any(name.startswith("onnxruntime") for name in versions["onnxruntime"])


def test_a_model_without_a_hash_is_not_remembered(spec):
    choices = BackendChoices(dataclasses.replace(spec, sha256=""), "auto")
    choices.save(MEASURED)
    assert choices.find() is None and not spec.path.with_name(FILE_NAME).exists()


@pytest.mark.parametrize("content", ["", "{", "{}", "[3]", '[{"request": 4}]', "\0", '"text"'])
def test_a_corrupt_file_is_ignored_and_replaced(spec, content):
    spec.path.with_name(FILE_NAME).write_text(content)
    choices = BackendChoices(spec, "auto")
    assert choices.find() is None
    choices.save(MEASURED)
    assert choices.find() == MEASURED


def test_a_corrupt_file_is_logged(spec, caplog):
    spec.path.with_name(FILE_NAME).write_text("{")
    assert BackendChoices(spec, "auto").find() is None
    assert FILE_NAME in caplog.text


@pytest.mark.parametrize("broken", [None, {}, {"model": "net"}, {**dataclasses.asdict(MEASURED), "times_ms": {}}])
def test_an_incomplete_record_counts_as_none(spec, broken):
    choices = BackendChoices(spec, "auto")
    choices.save(MEASURED)
    file = spec.path.with_name(FILE_NAME)
    (record,) = json.loads(file.read_text())
    file.write_text(json.dumps([{**record, "choice": broken}]))
    assert choices.find() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_reported_once(spec, caplog):
    caplog.set_level(logging.INFO)
    spec.path.parent.chmod(0o500)
    try:
        BackendChoices(spec, "auto").save(MEASURED)
        BackendChoices(spec, "auto").save(MEASURED)
    finally:
        spec.path.parent.chmod(0o700)
    assert len([record for record in caplog.records if FILE_NAME in record.getMessage()]) == 1


def test_a_folder_that_is_gone_is_reported_once(spec, caplog):
    caplog.set_level(logging.INFO)
    gone = dataclasses.replace(spec, path=spec.path.parent / "gone" / "net.onnx")
    BackendChoices(gone, "auto").save(MEASURED)
    BackendChoices(gone, "auto").save(MEASURED)
    assert [record.levelname for record in caplog.records] == ["INFO"]


@needs_openvino
def test_a_start_with_a_remembered_choice_measures_nothing(spec, measurements):
    first = opened(spec)
    assert measurements == ["net"]
    second = opened(spec)
    assert measurements == ["net"]
    assert (second.backend, second.label, second.precision) == (first.backend, first.label, first.precision)
    assert "1.0 ms" in second.reason and "2.0 ms" in second.reason


@needs_openvino
def test_the_remembered_choice_is_taken_even_where_another_one_is_faster_now(spec, measurements):
    BackendChoices(spec, "auto").save(MEASURED)
    assert opened(spec).backend == "openvino" and not measurements
    assert backends.remembered_choice(spec, "auto") == MEASURED


@needs_openvino
def test_it_is_measured_again_on_request(spec, measurements):
    BackendChoices(spec, "auto").save(MEASURED)
    assert opened(spec, measure_again=True).backend == "onnx"
    assert measurements == ["net"]
    assert BackendChoices(spec, "auto").find().backend == "onnx"


@needs_openvino
@pytest.mark.parametrize("gone", [{"label": "OpenVINO (GPU.7)"}, {"backend": "unheard of"}])
def test_a_remembered_backend_that_does_not_open_is_measured_again(spec, measurements, gone):
    lost = dataclasses.replace(MEASURED, **gone)
    BackendChoices(spec, "auto").save(dataclasses.replace(lost, times_ms={lost.label: 1.0}))
    opened(spec)
    assert measurements == ["net"]
    assert BackendChoices(spec, "auto").find().label == "ONNX Runtime"


@needs_openvino
def test_a_precision_that_is_not_available_is_remembered_too(spec, measurements):
    wanted = dataclasses.replace(spec, precision="int8")
    opened(wanted)
    opened(wanted)
    assert measurements == ["net"]
    assert backends.remembered_choice(wanted, "auto") is not None


@pytest.mark.parametrize(
    ("times", "label", "close"),
    [
        ({"ONNX Runtime": 22.7, "OpenVINO": 11.8}, "OpenVINO", False),
        ({"ONNX Runtime": 22.1, "OpenVINO": 21.9}, "ONNX Runtime", True),
    ],
)
def test_the_figures_say_when_the_difference_is_too_small_to_matter(times, label, close):
    figures = dataclasses.replace(MEASURED, times_ms=times, label=label).figures
    assert all(f"{spent} ms" in figures for spent in times.values())
    assert ("too close" in figures) == close
