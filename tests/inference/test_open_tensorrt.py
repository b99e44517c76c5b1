"""A run on TensorRT: uses an existing engine, or builds one once, or reports the reasons.

TensorRT and the GPU are simulated, in this process and in the builder's.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import builder_double
import gpu_double
import numpy as np
import pytest
import tensorrt_double
from builder_double import Workshop

from app.errors import ModelError
from app.inference.backends import open_network
from app.inference.build import build_engine, open_tensorrt
from app.inference.cuda import NoGpuError
from app.inference.engine import NetworkSpec
from app.inference.engine_files import read_engine_file
from app.inference.tensorrt import TensorRTEngine
from app.inference.tensorrt_api import current_target
from app.inference.tensorrt_builder import BuildOptions

INSTALLED = """
import sys
sys.path.insert(0, {folder!r})
import builder_double, gpu_double
sys.modules[__name__] = builder_double.tensorrt({version!r}, gpu_double.Gpu(), builder_double.Workshop(**{skills!r}))
"""
GPU_MEMORY = """
import sys
sys.path.insert(0, {folder!r})
import gpu_double
sys.modules[__name__] = gpu_double.pycuda_driver(gpu_double.Gpu())
"""
VERSION = "10.3.0"

PICTURES = [np.full((1, 3, 64, 64), row, np.float32) for row in range(3)]


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(b"network")
    return NetworkSpec("net", path, hashlib.sha256(b"network").hexdigest(), (1, 3, 64, 64))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Simulates a machine with a GPU and TensorRT."""

    def install(version=VERSION, **skills):
        site = tmp_path / "site"
        (site / "tensorrt").mkdir(parents=True, exist_ok=True)
        (site / "pycuda").mkdir(exist_ok=True)
        folder = str(Path(__file__).parent.parent)
        text = INSTALLED.format(folder=folder, version=version, skills=skills)
        (site / "tensorrt" / "__init__.py").write_text(text, encoding="utf-8")
        (site / "pycuda" / "__init__.py").touch()
        (site / "pycuda" / "driver.py").write_text(GPU_MEMORY.format(folder=folder), encoding="utf-8")
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.syspath_prepend(str(site))
        gpu = gpu_double.Gpu()
        gpu_double.install_driver(monkeypatch, gpu_double.Driver())
        gpu_double.install_memory(monkeypatch, "cudart", gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", builder_double.tensorrt(version, gpu, Workshop()))
        return gpu

    return install


def opened(network, build_missing=True):
    said = []
    engine, file = open_tensorrt(network, build_missing, said.append)
    try:
        assert engine.run({"input": np.zeros((1, 3, 64, 64), np.float32)})["output"].shape == (1, 2)
    finally:
        engine.close()
    return file.precision, file.remark, said


def beginnings(said):
    """The first message of each attempt, without the progress every few seconds that slow machines also report."""
    return [line for line in said if not line.startswith("building net in ")]


def test_a_missing_engine_is_built_once_and_stored(network, machine):
    gpu = machine()
    precision, reason, said = opened(network)
    assert precision == "fp16" and "net.fp16.b1.upto64x64.engine, built in" in reason
    assert "none exists yet" in said[0] and "minutes" in said[0]
    again, reason, said = opened(network, build_missing=False)
    assert again == "fp16" and "built earlier" in reason and said == []
    assert gpu.clean


def test_nothing_is_built_when_that_is_not_allowed(network, machine):
    machine()
    with pytest.raises(ModelError, match=r"engines build net$"):
        opened(network, build_missing=False)
    assert list(network.path.parent.iterdir()) == [network.path]


def test_an_engine_of_an_older_tensorrt_is_built_again_with_the_reason(network, machine):
    machine("8.6.1")
    opened(network)
    machine("10.3.0")
    _, reason, said = opened(network)
    assert "8.6.1" in said[0] and "10.3.0" in said[0] and "built in" in reason


def test_an_engine_that_tensorrt_does_not_read_is_built_again(network, machine):
    machine()
    opened(network)
    (engine,) = network.path.parent.glob("*.engine")
    engine.write_bytes(bytes(read_engine_file(engine).file_bytes))
    _, reason, said = opened(network)
    assert "damaged" in said[0] and "built in" in reason


def test_a_precision_that_cannot_be_built_is_replaced_by_the_next_and_reported(network, machine):
    machine(fast_int8=False)
    wanted = dataclasses.replace(network, precision="int8", pictures=lambda: iter(PICTURES))
    precision, reason, _ = opened(wanted)
    assert precision == "fp16" and "int8" in reason
    precision, reason, said = opened(wanted)
    assert precision == "fp16" and "built earlier" in reason and said == [], "not at every start"


def too_few():
    raise ModelError("the gallery has 2 photos")


@pytest.mark.parametrize(("pictures", "reason"), [(None, "there are none"), (too_few, "the gallery has 2 photos")])
def test_int8_is_built_as_soon_as_there_are_pictures(network, machine, pictures, reason):
    machine()
    without = dataclasses.replace(network, precision="int8", pictures=pictures)
    precision, remark, said = opened(without)
    assert precision == "fp16" and reason in remark and "built in" in remark and len(beginnings(said)) == 2
    precision, remark, said = opened(without)
    assert precision == "fp16" and reason in remark and said == [], "not built at every start"
    precision, remark, said = opened(dataclasses.replace(without, pictures=lambda: iter(PICTURES)))
    assert precision == "int8" and "b1.upto64x64.engine, built in" in remark
    assert "fp16" in said[0] and "int8" in said[0]
    assert opened(without)[0] == "int8", "also when the pictures are gone"


def test_an_existing_fp16_engine_replaces_int8_without_pictures(network, machine):
    machine()
    opened(network)
    precision, remark, said = opened(dataclasses.replace(network, precision="int8"))
    assert precision == "fp16" and "no int8: " in remark
    assert said == []


def test_known_ranges_are_preferred_to_the_pictures_of_a_run(network, machine):
    machine()
    network.path.with_name(f"net.{network.sha256[:12]}.{VERSION}.calibration").write_bytes(b"ranges")
    assert opened(dataclasses.replace(network, precision="int8", pictures=too_few))[0] == "int8"


def test_the_command_uses_known_ranges_unless_it_recalibrates(network, machine):
    machine()
    target = current_target()
    table = network.path.with_name(f"net.{network.sha256[:12]}.{VERSION}.calibration")
    table.write_bytes(b"of better pictures")

    def built(pictures, **options):
        wanted = dataclasses.replace(network, precision="int8", pictures=pictures)
        return build_engine(wanted, BuildOptions(force=True, **options), target, lambda line: None)

    assert built(too_few).precision == "int8"
    assert built(lambda: iter(PICTURES)).precision == "int8"
    assert table.read_bytes() == b"of better pictures"
    assert built(lambda: iter(PICTURES), recalibrate=True).precision == "int8"
    assert table.read_bytes() == b"ranges"


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [(too_few, "the gallery has 2 photos"), (lambda: iter([]), "none of the calibration pictures")],
)
def test_unusable_pictures_leave_the_known_ranges(network, machine, pictures, reason):
    machine()
    target = current_target()
    table = network.path.with_name(f"net.{network.sha256[:12]}.{VERSION}.calibration")
    table.write_bytes(b"ranges")
    wanted = dataclasses.replace(network, precision="int8", pictures=pictures)
    made = build_engine(wanted, BuildOptions(force=True, recalibrate=True), target, lambda line: None)
    assert made.precision == "fp16" and reason in made.remark and made.failures == {}
    assert opened(wanted)[0] == "int8"


def test_no_other_engine_is_built_if_only_int8_is_allowed(network, machine):
    gpu = machine()
    wanted = dataclasses.replace(network, precision="int8", exact_precision=True)
    with pytest.raises(ModelError, match=r"^net: int8 .*TensorRT.* calibration pictures"):
        open_network(wanted, "tensorrt")
    assert list(network.path.parent.iterdir()) == [network.path] and gpu.clean


def test_other_runs_use_fp16_after_a_failed_build_in_int8_only(network, machine):
    machine(fast_int8=False)
    wanted = dataclasses.replace(network, precision="int8", pictures=lambda: iter(PICTURES))
    alone = dataclasses.replace(wanted, exact_precision=True)
    for expected in ("int8: int8 is no faster", "failed before"):
        with pytest.raises(ModelError, match=expected):
            open_network(alone, "tensorrt")
    assert not list(network.path.parent.glob("*.engine"))
    assert opened(wanted)[0] == "fp16"
    with pytest.raises(ModelError, match=r"fp16 .*int8"):
        open_network(alone, "tensorrt")


def test_ranges_of_another_tensorrt_are_measured_again(network, machine):
    machine("8.6.1")
    wanted = dataclasses.replace(network, precision="int8", pictures=lambda: iter(PICTURES))
    assert opened(wanted)[0] == "int8"
    machine("10.3.0")
    precision, remark, _ = opened(dataclasses.replace(wanted, pictures=too_few))
    assert precision == "fp16" and "no int8: " in remark and "2 photos" in remark
    assert opened(wanted)[0] == "int8"


def test_pictures_without_faces_are_reported_with_a_command(network, machine):
    machine()
    wanted = dataclasses.replace(network, precision="int8", pictures=lambda: iter([]))
    precision, remark, _ = opened(wanted)
    assert precision == "fp16" and "engines build net --precision int8 --calibration DIR" in remark
    precision, remark, said = opened(wanted)
    assert precision == "fp16" and "no int8: " in remark and said == [], "not built at every start"
    assert opened(dataclasses.replace(wanted, pictures=lambda: iter(PICTURES)))[0] == "int8"


def test_a_slow_fp16_gives_fp32(network, machine):
    machine("8.2", fast_fp16=False)
    precision, reason, _ = opened(network)
    assert precision == "fp32" and "fp16" in reason


def test_all_reasons_when_nothing_works(network, machine):
    machine(failing="build")
    with pytest.raises(ModelError) as refusal:
        opened(network)
    assert all(f"\n  {precision}: TensorRT: " in str(refusal.value) for precision in ("fp16", "fp32"))
    assert sorted(path.name for path in network.path.parent.iterdir()) == ["net.build-failed.json", "net.onnx"]


def test_what_could_not_be_built_is_not_tried_at_every_start(network, machine):
    machine(failing="build")
    said = []
    for expected in ("can be built for", "failed before; .*python -m app engines build net"):
        with pytest.raises(ModelError, match=expected):
            open_tensorrt(network, True, said.append)
    assert len(beginnings(said)) == 1, "it began to build once"
    machine("10.16.1")
    assert opened(network)[0] == "fp16", "another TensorRT is another attempt"
    assert not list(network.path.parent.glob("*failed*"))


def test_what_was_built_and_cannot_be_read_is_not_built_at_every_start(network, machine, monkeypatch):
    gpu = machine()
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_double.tensorrt(VERSION, gpu, {}))
    said = []
    for expected in ("damaged", "failed before"):
        with pytest.raises(ModelError, match=expected):
            open_tensorrt(network, True, said.append)
    assert len(beginnings(said)) == 2, "it was built once"


def test_a_failed_build_is_forgotten_after_a_successful_build(network, machine):
    machine(failing="build")
    with pytest.raises(ModelError):
        opened(network)
    machine()
    target = current_target()
    build_engine(network, BuildOptions(), target, lambda line: None)
    assert opened(network)[1].endswith("built earlier")


def test_nothing_is_built_without_access_to_gpu_memory(network, machine, monkeypatch):
    machine()
    gpu_double.install_memory(monkeypatch, "none", gpu_double.Gpu())
    with pytest.raises(ModelError, match="libcudart"):
        opened(network)
    assert list(network.path.parent.iterdir()) == [network.path]


def test_a_valid_engine_is_not_rebuilt_when_gpu_memory_is_full(network, machine):
    machine()
    opened(network)
    gpu = machine()
    (engine,) = network.path.parent.glob("*.engine")
    before = engine.stat().st_mtime_ns
    real_call = gpu.call
    gpu.call = lambda name: real_call(name) or name == "cudaMalloc"
    with pytest.raises(ModelError, match="cudaMalloc failed"):
        opened(network)
    assert engine.stat().st_mtime_ns == before


def test_without_a_gpu_nothing_is_tried(network, machine, monkeypatch):
    machine()
    gpu_double.install_driver(monkeypatch, None)
    with pytest.raises(NoGpuError):
        opened(network)
    with pytest.raises(ModelError, match=r"auto\)\n  TensorRT .*NVIDIA GPU"):
        open_network(network, "tensorrt")


def test_an_engine_for_an_accelerator_is_opened_on_it(network, machine):
    machine("8.6.1", dla_cores=2)
    target = current_target()
    build_engine(network, BuildOptions(dla=1), target, print)
    engine, file = open_tensorrt(network, False, print)
    try:
        assert engine._runtime.DLA_core == 1 and ".dla1.engine" in file.remark
    finally:
        engine.close()


def test_an_engine_that_was_replaced_is_not_given_to_tensorrt(network, machine):
    machine()
    opened(network)
    (engine,) = network.path.parent.glob("*.engine")
    content = engine.read_bytes()
    engine.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    gpu = machine()
    with pytest.raises(ModelError, match="SHA-256"):
        TensorRTEngine(engine, sha256=read_engine_file(engine).sha256)
    assert "deserialize_cuda_engine" not in gpu.calls and gpu.clean
    # A run builds another one.
    _, reason, said = opened(network)
    assert "SHA-256" in said[0] and "built in" in reason


def test_an_engine_whose_metadata_has_no_hash_is_built_again(network, machine):
    machine()
    opened(network)
    (metadata,) = network.path.parent.glob("net.fp16*.json")
    fields = json.loads(metadata.read_text(encoding="utf-8"))
    del fields["sha256"]
    metadata.write_text(json.dumps(fields), encoding="utf-8")
    _, reason, _ = opened(network)
    assert "built in" in reason
