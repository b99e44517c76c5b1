"""The calls to TensorRT's builder, by version, on a double (builder_double.py); the real builder is tested in
tests/tensorrt_api/test_real_builder.py."""

import dataclasses
import logging
import shutil
import sys
from pathlib import Path

import builder_double
import gpu_double
import numpy as np
import pytest
from builder_double import PLAN, VERSIONS, VERSIONS_WITH_FLAGS, Workshop

from app.errors import ModelError
from app.inference.engine import NetworkSpec
from app.inference.engine_files import EngineFile, store_engine
from app.inference.tensorrt_api import TensorRTTarget
from app.inference.tensorrt_builder import BuildJob, BuildOptions, build_plan

ROOT = Path(__file__).parent.parent.parent


class Yard:
    """A simulated machine with one version of TensorRT."""

    def __init__(self, monkeypatch, folder, version, **skills):
        self.gpu, self.workshop = gpu_double.Gpu(), Workshop(**skills)
        gpu_double.install_memory(monkeypatch, "cudart", self.gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", builder_double.tensorrt(version, self.gpu, self.workshop))
        self.onnx, self.steps = folder / "net.onnx", []
        self.onnx.write_bytes(b"network")
        self.job = BuildJob(
            spec=NetworkSpec("net", self.onnx, "a" * 64, (1, 3, 64, 64), "fp32"),
            precision="fp32",
            options=BuildOptions(),
            target=TensorRTTarget(version, "a GPU", "8.7"),
            workspace_bytes=256 << 20,
            has_pictures=False,
            log_level=logging.WARNING,
        )

    def build(self, pictures=(), **changes):
        rest = iter(pictures)
        names = {field.name for field in dataclasses.fields(NetworkSpec)} - {"precision"}
        spec = {name: changes.pop(name) for name in list(changes) if name in names}
        spec["precision"] = "auto" if changes.pop("is_auto", False) else changes.get("precision", "fp32")
        spec = dataclasses.replace(self.job.spec, **spec)
        job = dataclasses.replace(self.job, spec=spec, has_pictures=bool(len(pictures)), **changes)
        return build_plan(job, lambda: next(rest, None), self.steps.append)


@pytest.fixture
def yard(monkeypatch, tmp_path):
    return lambda version="10.3.0", **skills: Yard(monkeypatch, tmp_path, version, **skills)


@pytest.mark.parametrize("version", VERSIONS)
def test_fp32_on_every_version(yard, version):
    here = yard(version)
    made = here.build()
    assert made.plan == PLAN and made.path.name == "net.fp32.b1.upto64x64.engine"
    assert here.workshop.parsed == b"network"
    assert here.workshop.workspace == 256 << 20
    assert here.workshop.profiles == {"input": ((1, 3, 32, 32), (1, 3, 64, 64), (1, 3, 64, 64))}
    assert here.workshop.flags == set(), "no reduced precision, and no TF32"
    assert made.by_products == {here.job.timing_cache: b"timings"}
    assert here.workshop.network_flags == (0 if version == "11.4.0" else 1)


@pytest.mark.parametrize("version", VERSIONS_WITH_FLAGS)
def test_fp16_by_flag(yard, version):
    here = yard(version)
    here.build(precision="fp16")
    assert here.workshop.flags == {"BuilderFlag.FP16"} and here.workshop.parsed == b"network"


def test_fp16_by_the_network_where_there_is_no_flag(yard):
    pytest.importorskip("onnx")
    here = yard("11.4.0")
    shutil.copy(ROOT / "engines" / "mobilefacenet.onnx", here.onnx)
    here.build(precision="fp16")
    assert here.workshop.flags == set()
    assert len(here.workshop.parsed) < 0.6 * here.onnx.stat().st_size


def test_a_gpu_without_fast_fp16_uses_fp32_unless_fp16_is_requested(yard):
    here = yard("8.2", fast_fp16=False)
    with pytest.raises(ModelError, match="no faster"):
        here.build(precision="fp16", is_auto=True)
    assert here.build(precision="fp16").plan == PLAN


def test_int8_needs_a_gpu_with_int8(yard):
    with pytest.raises(ModelError, match=r"^int8 .*faster"):
        yard("8.2", fast_int8=False).build(pictures=[np.zeros((1, 3, 64, 64), np.float32)], precision="int8")


def test_steps_are_reported_where_tensorrt_has_a_progress_monitor(yard):
    newer = yard("10.3.0")
    newer.build()
    assert newer.steps[0] == "timing: 1 of 4"
    older = yard("8.6.1")
    older.build()
    assert older.steps == []


@pytest.mark.parametrize("version", VERSIONS_WITH_FLAGS)
def test_int8_is_calibrated_with_pictures_and_the_ranges_are_stored(yard, version):
    here = yard(version, shape=(-1, 3, 64, 64))
    pictures = [np.full((1, 3, 64, 64), row, np.float32) for row in range(5)]
    made = here.build(pictures, precision="int8", largest_input=(2, 3, 64, 64))
    assert here.workshop.flags == {"BuilderFlag.INT8", "BuilderFlag.FP16"}
    assert here.workshop.calibration_shape == (2, 3, 64, 64)
    assert [size for size, _ in here.workshop.batches] == [2, 2, 2]
    table = here.onnx.with_name(f"net.{'a' * 12}.{version}.calibration")
    assert made.by_products[table] == b"ranges"
    assert here.gpu.clean, "the memory for the pictures was given back"

    table.write_bytes(b"ranges")
    again = yard(version, shape=(-1, 3, 64, 64))
    assert again.build(precision="int8").plan == PLAN and again.workshop.batches == []


def test_a_valid_engine_is_found_before_calibration(yard):
    """On TensorRT 11, calibration rewrites the network, which is impossible with this file."""
    here = yard("11.4.0")
    path, shapes = here.onnx.with_name("net.int8.b1.upto64x64.engine"), ((1, 3, 32, 32), *((1, 3, 64, 64),) * 2)
    engine = EngineFile(path, here.job.target, "int8", shapes, "a" * 64, 6, 1.0, program="0", built_at="2026")
    store_engine(engine, b"engine")
    pictures = [np.zeros((1, 3, 64, 64), np.float32)]
    assert here.build(pictures, precision="int8").plan is None
    with pytest.raises(ModelError, match="cannot be read"):
        here.build(pictures, precision="int8", options=BuildOptions(force=True))


def test_pictures_without_faces_are_an_error(yard):
    here = yard()
    job = dataclasses.replace(here.job, precision="int8", has_pictures=True)
    with pytest.raises(ModelError, match=r"engines build net .*--calibration DIR"):
        build_plan(job, lambda: None, here.steps.append)


def test_a_failure_during_calibration_is_the_error(yard):
    here = yard()
    pictures = iter([np.zeros((1, 3, 64, 64), np.float32)])

    def next_picture():
        here.gpu.fail_next()
        return next(pictures)

    here.workshop.failing = "build"
    job = dataclasses.replace(here.job, precision="int8", has_pictures=True)
    with pytest.raises(ModelError, match="cudaMemcpyAsync failed"):
        build_plan(job, next_picture, here.steps.append)
    assert not here.gpu.live


def test_an_accelerator(yard):
    here = yard("8.6.1", dla_cores=2)
    made = here.build(precision="fp16", options=BuildOptions(dla=1))
    assert here.workshop.device == 1 and "BuilderFlag.GPU_FALLBACK" in here.workshop.flags
    assert made.shapes == ((1, 3, 64, 64),) * 3, "an accelerator takes one size only"
    assert made.path.name == "net.fp16.b1.64x64.dla1.engine"
    with pytest.raises(ModelError, match="fp16 and int8 only"):
        here.build(precision="fp32", options=BuildOptions(dla=1))
    with pytest.raises(ModelError, match="only 2, numbered from 0"):
        here.build(precision="fp16", options=BuildOptions(dla=2))


def test_an_existing_timing_cache_is_used_unless_it_is_invalid(yard, caplog):
    here = yard()
    here.job.timing_cache.write_bytes(b"of this GPU")
    here.build()
    assert not caplog.records
    here.job.timing_cache.write_bytes(b"of another GPU")
    assert here.build().plan == PLAN
    assert str(here.job.timing_cache) in caplog.text


@pytest.mark.parametrize(
    ("skills", "message"),
    [
        ({"failing": "build"}, "building net in fp32 failed"),
        ({"failing": "profile"}, "building for"),
        ({"parse_error": "No importer registered for op: Odd"}, "layer 7: No importer registered for op: Odd"),
        ({"inputs": 0}, "0 inputs"),
        ({"inputs": 2}, "2 inputs"),
        ({"shape": (-1, -1, 64, 64)}, "one input N x 3"),
    ],
)
def test_each_failure_is_an_error_with_its_reason(yard, skills, message):
    with pytest.raises(ModelError, match=message):
        yard(**skills).build()
