"""TensorRT's builder without TensorRT: exactly the names of one real version, on top of tensorrt_double.

It reads no network: every file is one input of the shape that stands in it, and what it builds is a fixed plan. What
was asked of it is written down.
"""

import json
import types

import numpy as np
import tensorrt_double
from tensorrt_double import SURFACES, VERSIONS, Plan, Tensor

PLAN = b"plan of the pretended builder"
VERSIONS_WITH_FLAGS = tuple(version for version in VERSIONS if version != "11.4.0")
SHAPE = (-1, 3, -1, -1)

ANSWERING = Plan(
    tensors=(
        Tensor("input", SHAPE, ((1, 3, 32, 32), (1, 3, 64, 64), (1, 3, 64, 64))),
        Tensor("output", (-1, 2), is_input=False, shape_for=lambda shapes: (shapes["input"][0], 2)),
    ),
    compute=lambda given: {"output": np.zeros((len(given["input"]), 2), np.float32)},
)
ENUMS = ("BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "ProfilingVerbosity", "DeviceType")
NUMBERS = {name: number for number, name in enumerate(("EXPLICIT_BATCH", "EXPLICIT_PRECISION", "STRONGLY_TYPED"))}


class Workshop:
    """What the builder is to do, and what it was asked."""

    def __init__(self, shape=SHAPE, inputs=1, fast_fp16=True, fast_int8=True, dla_cores=0, failing="", parse_error=""):
        self.shape, self.inputs, self.fast_fp16, self.fast_int8 = shape, inputs, fast_fp16, fast_int8
        self.dla_cores, self.failing, self.parse_error = dla_cores, failing, parse_error
        self.flags, self.batches, self.profiles = set(), [], {}
        self.workspace = self.parsed = self.calibration_shape = self.network_flags = self.device = None


def tensorrt(version, gpu, workshop):
    """The module of tensorrt_double with a builder."""
    surface = json.loads((SURFACES / f"{version}.json").read_text(encoding="utf-8"))
    module = tensorrt_double.tensorrt(version, gpu, {PLAN: ANSWERING})

    def offer(name, members):
        kept = {key: what for key, what in members.items() if key.startswith("_") or key in surface[name]}
        setattr(module, name, type(name, (), {**kept, "__slots__": ("__dict__",)}))

    for name in ENUMS:
        if name in surface:
            values = {inner: NUMBERS.get(inner, f"{name}.{inner}") for inner in surface[name]}
            setattr(module, name, types.SimpleNamespace(**values))
    for name in ("IProgressMonitor", "IInt8EntropyCalibrator2"):
        if name in surface:
            setattr(module, name, type(name, (), {"__init__": lambda self: None}))
    offer("OnnxParser", _parser(workshop))
    offer("Builder", _builder(workshop, surface))
    return module


def _parser(workshop):
    def parse(self, content):
        workshop.parsed = bytes(content)
        return not workshop.parse_error

    error = types.SimpleNamespace(desc=lambda: workshop.parse_error, node=lambda: 7)
    return {
        "__init__": lambda self, network, logger: None,
        "parse": parse,
        "num_errors": 1,
        "get_error": lambda self, index: error,
    }


def _builder(workshop, surface):
    def create_network(self, flags):
        workshop.network_flags = flags
        picture = types.SimpleNamespace(name="input", shape=workshop.shape)
        return types.SimpleNamespace(num_inputs=workshop.inputs, get_input=lambda index: picture)

    def create_optimization_profile(self):
        profile = types.SimpleNamespace(ranges={})
        profile.set_shape = lambda name, *shapes: profile.ranges.update({name: tuple(map(tuple, shapes))})
        return profile

    def build(self, network, config):
        for monitor in filter(None, [getattr(config, "progress_monitor", None)]):
            monitor.phase_start("timing", None, 4)
            assert all(monitor.step_complete("timing", step) for step in range(4))
            monitor.phase_finish("timing")
        calibrator = getattr(config, "int8_calibrator", None)
        if calibrator is not None:
            _learn(calibrator, workshop)
        return None if workshop.failing == "build" else PLAN

    return {
        "__init__": lambda self, logger: None,
        "num_DLA_cores": workshop.dla_cores,
        "platform_has_fast_fp16": workshop.fast_fp16,
        "platform_has_fast_int8": workshop.fast_int8,
        "create_network": create_network,
        "create_builder_config": lambda self: _config(workshop, set(surface["IBuilderConfig"])),
        "create_optimization_profile": create_optimization_profile,
        "build_serialized_network": build,
    }


def _learn(calibrator, workshop):
    if calibrator.read_calibration_cache() is not None:
        return
    while True:
        addresses = calibrator.get_batch(["input"])
        if addresses is None:
            break
        workshop.batches.append((calibrator.get_batch_size(), addresses))
    if workshop.batches:
        calibrator.write_calibration_cache(memoryview(b"ranges"))


def _config(workshop, names):
    def add_profile(profile):
        workshop.profiles.update(profile.ranges)
        return -1 if workshop.failing == "profile" else 0

    def calibrate_with(profile):
        workshop.calibration_shape = profile.ranges["input"][1]
        return True

    def timing_cache(content):
        return types.SimpleNamespace(known=content, serialize=lambda: b"timings")

    members = {
        "set_memory_pool_limit": lambda pool, size: setattr(workshop, "workspace", size),
        "set_flag": workshop.flags.add,
        "clear_flag": workshop.flags.discard,
        "create_timing_cache": timing_cache,
        "set_timing_cache": lambda cache, ignore_mismatch: cache.known != b"of another GPU",
        "add_optimization_profile": add_profile,
        "set_calibration_profile": calibrate_with,
    }
    settable = {"max_workspace_size", "int8_calibrator", "progress_monitor", "profiling_verbosity", "DLA_core"}
    settable.add("default_device_type")

    class Config:
        def __setattr__(self, name, value):
            assert name in settable & names, f"this TensorRT's configuration has no {name}"
            if name == "max_workspace_size":
                workshop.workspace = value
            if name == "DLA_core":
                workshop.device = value
            object.__setattr__(self, name, value)

    for name, what in members.items():
        if name in names:
            setattr(Config, name, staticmethod(what))
    return Config()
