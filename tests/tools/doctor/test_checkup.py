"""The checks are made in their order, and one that cannot be made leaves the others alone."""

import dataclasses
import importlib.util
import shutil
import sys
from pathlib import Path

import gpu_double
import pytest
import tensorrt_double
import yaml
from shipped import CATALOG

from app.inference.engine_files import EngineFile, store_engine
from app.inference.tensorrt_api import TensorRTTarget
from app.models.entry import sha256_of
from app.text import program
from app.tools.doctor.checks import Finding, Section, Status, can_run, run_checks, section_text, verdict
from app.tools.doctor.packages import check_packages
from app.tools.doctor.program import check_engines, check_networks


def by_title(settings, error=None):
    return {section.title: section for section in run_checks(settings, error, "a file")}


def statuses(section):
    return [finding.status for finding in section.findings]


def with_onnx(settings, **models):
    return dataclasses.replace(settings, models=dataclasses.replace(settings.models, backend="onnx", **models))


def test_program_can_run_here(settings):
    sections = by_title(with_onnx(settings))
    assert next(iter(sections)) == "Settings" and len(sections) == 14
    assert can_run(sections.values())
    assert any("mobilefacenet runs on ONNX Runtime" in finding.text for finding in sections["Networks"].findings)


def test_invalid_settings_are_a_problem_and_the_rest_is_checked(settings):
    sections = by_title(with_onnx(settings), error="config.yaml:3: wrong")
    assert statuses(sections["Settings"]) == [Status.PROBLEM]
    assert Status.OK in statuses(sections["Networks"])
    assert not can_run(sections.values())


def test_missing_catalogue_costs_only_its_own_sections(settings):
    sections = by_title(with_onnx(settings, catalog=Path("gone.yaml")))
    assert statuses(sections["Networks"]) == [Status.PROBLEM]
    assert "gone.yaml" in sections["Networks"].findings[0].text
    assert Status.PROBLEM not in statuses(sections["Cameras"])


def test_an_unknown_model_is_reported_with_the_known_one(settings):
    networks = by_title(with_onnx(settings, detector="retinaface_mnet02"))["Networks"]
    assert statuses(networks) == [Status.PROBLEM, Status.OK, Status.OK]


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_only_an_earlier_measurement_of_the_backends_is_noted(settings, tmp_path):
    for name in ("catalog.yaml", "retinaface_mnet025.onnx", "mobilefacenet.onnx"):
        shutil.copy(CATALOG.with_name(name), tmp_path)
    models = dataclasses.replace(settings.models, catalog=tmp_path / "catalog.yaml", backend="auto")
    first, second = (check_networks(dataclasses.replace(settings, models=models)) for _ in range(2))
    noted = [
        [finding.advice for finding in findings if "engines measure" in finding.advice] for findings in (first, second)
    ]
    assert [len(advice) for advice in noted] == [0, 2]


def test_an_invalid_entry_is_reported_with_the_chosen_ones(settings, tmp_path):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_bytes(CATALOG.read_bytes())
    catalog.with_name("my_models.yaml").write_text("mine: {task: detection}\n", encoding="utf-8")
    for chosen, status in (({}, Status.WARNING), ({"detector": "mine"}, Status.PROBLEM)):
        networks = by_title(with_onnx(settings, catalog=catalog, **chosen))["Networks"]
        told = [finding.status for finding in networks.findings if "'mine': family is missing" in finding.text]
        assert told == [status]


@pytest.mark.parametrize(
    ("own", "told"), [("mine:\n  a: 1\n b: 2\n", "not valid YAML"), ("mobilefacenet: {}\n", "mobilefacenet")]
)
def test_errors_in_my_models_do_not_affect_the_shipped_ones(settings, tmp_path, own, told):
    for name in ("catalog.yaml", "retinaface_mnet025.onnx", "mobilefacenet.onnx"):
        (tmp_path / name).write_bytes(CATALOG.with_name(name).read_bytes())
    (tmp_path / "my_models.yaml").write_text(own, encoding="utf-8")
    networks = by_title(with_onnx(settings, catalog=tmp_path / "catalog.yaml"))["Networks"]
    assert Status.PROBLEM not in statuses(networks) and networks.findings[-1].status is Status.WARNING
    assert told in networks.findings[-1].text


def with_attributes(settings, tmp_path, **names):
    """With the shipped models in a folder of their own, and one for attributes beside them."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [helper.make_node("GlobalAveragePool", ["in"], ["means"]), helper.make_node("Flatten", ["means"], ["out"])]
    shapes = {"in": (None, 3, 96, 96), "out": (None, 3)}
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    model = helper.make_model(helper.make_graph(nodes, "ages", values[:1], values[1:]), ir_version=7)
    model.opset_import[0].version = 13
    onnx.save(model, str(tmp_path / "ages.onnx"))
    facts = {
        "task": "attributes",
        "family": "gender_age",
        "file": "ages.onnx",
        "sha256": sha256_of(tmp_path / "ages.onnx"),
        "channels": "rgb",
        "mean": [0, 0, 0],
        "divisor": 1,
        "crop": [96, 96],
        "licence": "none",
        "source": "a test",
    }
    for file in CATALOG.parent.glob("*.onnx"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG.read_text(encoding="utf-8") + yaml.safe_dump({"ages": facts}), encoding="utf-8")
    chosen = dataclasses.replace(settings.attributes, **names)
    return dataclasses.replace(with_onnx(settings, catalog=catalog), attributes=chosen)


def test_attribute_models_are_checked_like_the_others(settings, tmp_path):
    chosen = with_attributes(settings, tmp_path, gender_age="ages")
    (tmp_path / "ages.fp16.engine").write_bytes(b"engine")
    sections = by_title(chosen)
    assert statuses(sections["Networks"]) == [Status.OK] * 6
    assert any("ages runs on ONNX Runtime" in finding.text for finding in sections["Networks"].findings)
    assert [finding.text[:16] for finding in sections["Engines"].findings] == ["ages.fp16.engine"]
    (tmp_path / "ages.onnx").unlink()
    networks = by_title(chosen)["Networks"]
    assert statuses(networks) == [Status.OK] * 4 + [Status.PROBLEM]
    assert "ages.onnx is missing" in networks.findings[-1].text


def test_a_model_for_another_attribute_is_a_problem(settings, tmp_path):
    networks = by_title(with_attributes(settings, tmp_path, mask="ages", antispoof="mobilefacenet"))["Networks"]
    assert statuses(networks) == [Status.OK] * 4 + [Status.PROBLEM] * 2
    assert "attributes.mask takes 'mask'" in networks.findings[4].text
    assert "for embedding, not for antispoof" in networks.findings[5].text


def test_engines_of_another_machine_are_listed_and_never_valid(settings, tmp_path):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_bytes(CATALOG.read_bytes())
    engine = EngineFile(
        path=tmp_path / "mobilefacenet.fp16.engine",
        target=TensorRTTarget("8.0.1.6", "a board that is not this one", "5.3"),
        precision="fp16",
        shapes=((1, 3, 112, 112),) * 3,
        onnx_sha256="0" * 64,
        file_bytes=6,
        build_seconds=1.0,
        program="0",
        built_at="2026-01-31T12:00:00+00:00",
    )
    store_engine(engine, b"engine")
    (tmp_path / "retinaface_mnet025.fp16.engine").write_bytes(b"engine")
    engines = by_title(with_onnx(settings, catalog=catalog))["Engines"].findings
    texts = sorted(finding.text for finding in engines)
    assert texts[0].startswith("mobilefacenet.fp16.engine: fp16, built 2026-01-31")
    assert texts[1].startswith("retinaface_mnet025.fp16.engine: ")
    assert {finding.status for finding in engines} <= {Status.NOTE, Status.WARNING}


@pytest.fixture
def tensorrt_target(monkeypatch):
    """A GPU by its driver, and a TensorRT that can be loaded."""
    gpu_double.install_driver(monkeypatch, gpu_double.Driver())
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_double.tensorrt("10.3.0", gpu_double.Gpu(), {}))
    return TensorRTTarget("10.3.0", "Pretended GPU", "8.7")


@pytest.mark.parametrize(
    ("precision", "status"),
    [("auto", Status.OK), ("fp16", Status.OK), ("fp32", Status.WARNING), ("int8", Status.OK)],
)
def test_an_engine_is_valid_when_a_run_would_use_it(settings, tmp_path, tensorrt_target, precision, status):
    """Without photos int8 cannot be calibrated, so a run that asks for int8 uses the fp16 engine too."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_bytes(CATALOG.read_bytes())
    sha256 = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["mobilefacenet"]["sha256"]
    engine = EngineFile(
        path=tmp_path / "mobilefacenet.fp16.engine",
        target=tensorrt_target,
        precision="fp16",
        shapes=((1, 3, 112, 112), (16, 3, 112, 112), (16, 3, 112, 112)),
        onnx_sha256=sha256,
        file_bytes=6,
        build_seconds=1.0,
        program="0",
        built_at="2026-01-31T12:00:00+00:00",
    )
    store_engine(engine, b"engine")
    store_engine(
        dataclasses.replace(engine, path=tmp_path / "mobilefacenet-old.engine"), b"engine"
    )  # not found by runs
    (finding,) = check_engines(with_onnx(settings, catalog=catalog, precision=precision))
    assert finding.status is status
    rebuild = f"{program()} engines build mobilefacenet --precision fp32"
    assert finding.advice == (rebuild if precision == "fp32" else "")


def test_a_missing_gallery_is_a_warning(settings, tmp_path):
    gallery = dataclasses.replace(settings.gallery, folder=tmp_path / "gone")
    sections = by_title(dataclasses.replace(with_onnx(settings), gallery=gallery))
    assert statuses(sections["Gallery"]) == [Status.WARNING]


def test_the_gallery_is_counted_without_names(settings, people_gallery):
    gallery = dataclasses.replace(settings.gallery, folder=people_gallery)
    chosen = dataclasses.replace(with_onnx(settings), gallery=gallery)
    finding, threshold, index = by_title(chosen)["Gallery"].findings
    assert index.status is Status.OK and "flat" in index.text
    assert threshold.status is Status.OK and "0.003" in threshold.text
    fixed = dataclasses.replace(chosen.recognition, threshold=0.5)
    _, threshold, _ = by_title(dataclasses.replace(chosen, recognition=fixed))["Gallery"].findings
    assert threshold.status is Status.OK and "calibrate" in threshold.text
    assert finding.text.startswith("2 people in 4 photos;")


def test_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = {finding.text.split()[0]: finding for finding in check_packages(is_jetson=False)}
    assert found["FAISS"].status is Status.PROBLEM
    assert found["OpenVINO"].status is Status.NOTE


def test_a_library_without_room_for_its_threads_memory_is_to_be_loaded_first(monkeypatch, tmp_path):
    """Seen by users of ARM boards with glibc before 2.32."""
    library = "/x/faiss_cpu.libs/libgomp-d22c30c5.so.1.0.0"
    (tmp_path / "faiss.py").write_text(
        f"raise ImportError('{library}: cannot allocate memory in static TLS block')\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    (finding,) = [found for found in check_packages(is_jetson=True) if found.text.startswith("FAISS")]
    assert finding.status is Status.PROBLEM and f"LD_PRELOAD={library}" in finding.advice


def test_only_usable_providers_of_onnx_runtime_are_listed():
    (finding,) = [found for found in check_packages(is_jetson=False) if "computes on" in found.text]
    assert finding.text.endswith("CPU") and "Azure" not in finding.text


def test_opencv_without_gstreamer_is_named():
    import cv2

    from app.text import opencv_has_gstreamer

    has = opencv_has_gstreamer(cv2.getBuildInformation())
    for is_jetson in (False, True):
        (finding,) = [found for found in check_packages(is_jetson) if "GStreamer" in found.text]
        assert finding.status is (Status.OK if has else Status.NOTE)


def test_text_gives_the_advice_under_the_finding():
    section = Section("GPU", (Finding(Status.WARNING, "two\nlines", "do this"), Finding(Status.OK, "fine")))
    assert section_text(section).splitlines() == [
        "GPU",
        "  warning  two",
        "           lines",
        "           -> do this",
        "  OK       fine",
    ]
    assert verdict([section]) == "The program can run. 1 could be better, marked warning."
