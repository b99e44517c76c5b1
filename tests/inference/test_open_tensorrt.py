"""What a run gets when it asks for TensorRT: the engine that is there, else one that is built once, else the reasons.

TensorRT and the GPU are pretended, in this process and in the builder's.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import builder_double
import gpu_double
import numpy as np
import pytest
from builder_double import Workshop

from app.errors import ModelError
from app.inference.build import build_engine, open_tensorrt
from app.inference.build_job import BuildWishes
from app.inference.cuda import NoGpuError
from app.inference.engine_card import card_of
from app.inference.network import Network
from app.inference.place import place_here

INSTALLED = """
import sys
sys.path.insert(0, {folder!r})
import builder_double, gpu_double
sys.modules[__name__] = builder_double.tensorrt({version!r}, gpu_double.Gpu(), builder_double.Workshop(**{skills!r}))
"""
VERSION = "10.3.0"


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(b"network")
    return Network("net", path, hashlib.sha256(b"network").hexdigest(), (1, 3, 64, 64))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Installs a pretended TensorRT on a pretended machine with a GPU."""

    def install(version=VERSION, **skills):
        site = tmp_path / "site"
        (site / "tensorrt").mkdir(parents=True, exist_ok=True)
        text = INSTALLED.format(folder=str(Path(__file__).parent), version=version, skills=skills)
        (site / "tensorrt" / "__init__.py").write_text(text, encoding="utf-8")
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.syspath_prepend(str(site))
        gpu = gpu_double.Gpu()
        gpu_double.install_driver(monkeypatch, gpu_double.Driver())
        gpu_double.install_package(monkeypatch, "cuda-python", gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", builder_double.tensorrt(version, gpu, Workshop()))
        return gpu

    return install


def opened(network, build_missing=True):
    said = []
    engine, precision, reason = open_tensorrt(network, build_missing, said.append)
    try:
        assert engine.run({"input": np.zeros((1, 3, 64, 64), np.float32)})["output"].shape == (1, 2)
    finally:
        engine.close()
    return precision, reason, said


def test_what_is_missing_is_built_once_and_kept(network, machine):
    gpu = machine()
    precision, reason, said = opened(network)
    assert precision == "fp16" and "net.fp16.b1.upto64x64.engine, built now" in reason
    assert "once, since there is none yet" in said[0] and "minutes" in said[0]
    again, reason, said = opened(network, build_missing=False)
    assert again == "fp16" and "built on this device before" in reason and said == []
    assert gpu.clean


def test_nothing_is_built_when_that_is_not_allowed(network, machine):
    machine()
    with pytest.raises(ModelError, match="there is none yet; build one: python -m app engines build net"):
        opened(network, build_missing=False)
    assert list(network.path.parent.iterdir()) == [network.path]


def test_an_engine_of_an_older_tensorrt_is_built_again_with_the_reason(network, machine):
    machine("8.6.1")
    opened(network)
    machine("10.3.0")
    _, reason, said = opened(network)
    assert "built by TensorRT 8.6.1, and here is 10.3.0" in said[0] and "built now" in reason


def test_an_engine_that_tensorrt_does_not_read_is_built_again(network, machine):
    machine()
    opened(network)
    (engine,) = network.path.parent.glob("*.engine")
    engine.write_bytes(bytes(card_of(engine).file_bytes))
    _, reason, said = opened(network)
    assert "damaged" in said[0] and "built now" in reason


def test_a_precision_that_cannot_be_built_is_replaced_by_the_next_and_that_is_said(network, machine):
    machine()
    wanted = dataclasses.replace(network, precision="int8")
    precision, reason, _ = opened(wanted)
    assert precision == "fp16" and "int8 could not be built: net: int8 needs pictures" in reason
    precision, reason, said = opened(wanted)
    assert precision == "fp16" and "built on this device before" in reason and said == [], "not at every start"


def test_a_slow_fp16_gives_fp32(network, machine):
    machine("8.2", fast_fp16=False)
    precision, reason, _ = opened(network)
    assert precision == "fp32" and "no faster than fp32" in reason


def test_all_reasons_when_nothing_works(network, machine):
    machine(failing="build")
    with pytest.raises(ModelError) as refusal:
        opened(network)
    assert "fp16: TensorRT: building net in fp16 failed" in str(refusal.value)
    assert "fp32: TensorRT: building net in fp32 failed" in str(refusal.value)
    assert sorted(path.name for path in network.path.parent.iterdir()) == ["net.build-failed.json", "net.onnx"]


def test_what_could_not_be_built_is_not_tried_at_every_start(network, machine):
    machine(failing="build")
    said = []
    for expected in ("can be built with", "failed before; try again with: python -m app engines build net"):
        with pytest.raises(ModelError, match=expected):
            open_tensorrt(network, True, said.append)
    assert len(said) == 1, "it began to build once"
    machine("10.16.1")
    assert opened(network)[0] == "fp16", "another TensorRT is another attempt"
    assert not list(network.path.parent.glob("*failed*"))


def test_a_failure_is_forgotten_when_it_was_built_by_hand(network, machine):
    machine(failing="build")
    with pytest.raises(ModelError):
        opened(network)
    machine()
    here, gpu = place_here()
    build_engine(network, BuildWishes(), here=here, gpu_memory=gpu.memory_bytes, tell=lambda line: None)
    assert opened(network)[1].endswith("built on this device before")


def test_nothing_is_built_that_could_not_run_for_want_of_a_package(network, machine, monkeypatch):
    machine()
    gpu_double.install_package(monkeypatch, "none", gpu_double.Gpu())
    with pytest.raises(ModelError, match="cuda-python"):
        opened(network)
    assert list(network.path.parent.iterdir()) == [network.path]


def test_an_engine_that_fits_is_not_built_again_because_there_is_no_room_for_it(network, machine):
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


def test_an_engine_for_an_accelerator_is_opened_on_it(network, machine):
    machine("8.6.1", dla_cores=2)
    here, gpu = place_here()
    build_engine(network, BuildWishes(dla=1), here=here, gpu_memory=gpu.memory_bytes, tell=print)
    engine, _, reason = open_tensorrt(network, False, print)
    try:
        assert engine._runtime.DLA_core == 1 and ".dla1.engine" in reason
    finally:
        engine.close()
