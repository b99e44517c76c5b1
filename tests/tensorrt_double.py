"""TensorRT without TensorRT: a module that has exactly the names of one real version and runs on a pretended GPU.

The names come from tests/tensorrt_api/surfaces, which are those of NVIDIA's own bindings: what a version does not have
cannot be reached here either, and what no version has cannot be written down here.
"""

import json
import types
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

import numpy as np

SURFACES = Path(__file__).parent / "tensorrt_api" / "surfaces"
VERSIONS = tuple(sorted(path.stem for path in SURFACES.glob("*.json")))
ENUMS = ("DataType", "TensorIOMode", "TensorLocation", "LayerInformationFormat")


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: Tuple[int, ...]
    profile: Optional[Tuple[Tuple[int, ...], ...]] = None
    is_input: bool = True
    dtype: str = "FLOAT"
    location: str = "DEVICE"
    shape_for: Optional[Callable[[Dict[str, Tuple[int, ...]]], Tuple[int, ...]]] = None
    """Of an output: its shape for those of the inputs."""


@dataclass(frozen=True)
class Plan:
    """What an engine file holds."""

    tensors: Tuple[Tensor, ...]
    compute: Callable[[Dict[str, np.ndarray]], Dict[str, np.ndarray]]
    layers: Tuple[str, ...] = ('"conv1"',)
    implicit_batch: bool = False


DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8}


def tensorrt(version, gpu, plans):
    """The module; `plans` are the files' contents it can read."""
    surface = {
        name: set(names)
        for name, names in json.loads((SURFACES / f"{version}.json").read_text(encoding="utf-8")).items()
    }
    everything = [json.loads(path.read_text(encoding="utf-8")) for path in SURFACES.glob("*.json")]
    module = types.ModuleType("tensorrt")
    module.__version__ = version

    def offer(name, members, base=object):
        """A class with those of its members that this version has."""
        for member in members:
            known = any(member in other.get(name, ()) for other in everything)
            assert known or member.startswith("__"), f"no TensorRT has {name}.{member}"
        kept = {member: what for member, what in members.items() if member in surface[name] or member.startswith("__")}
        return type(name, (base,), kept)

    for name in ENUMS:
        if name in surface:
            setattr(module, name, offer(name, {inner: f"{name}.{inner}" for inner in surface[name]}))
    severities = {name: f"Severity.{name}" for name in surface["Severity"]}
    module.ILogger = offer("ILogger", {"Severity": offer("Severity", severities), "log": None})

    inspector = offer("EngineInspector", _inspector())
    context = offer("IExecutionContext", _context(gpu))
    engine = offer("ICudaEngine", _engine(gpu, context, inspector))
    module.ICudaEngine, module.IExecutionContext = engine, context
    module.Runtime = offer("Runtime", _runtime(gpu, engine, plans))
    module.Builder = offer("Builder", {})
    assert (
        set(vars(module)) - {"__name__", "__doc__", "__package__", "__loader__", "__spec__", "__version__"}
        <= surface[""]
    )
    return module


def _born(gpu, thing, name):
    weakref.finalize(thing, gpu.note, f"release {name}").atexit = False


def _runtime(gpu, engine, plans):
    def init(self, logger):
        if gpu.call("Runtime"):
            logger.log(logger.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger_seen = logger
        _born(gpu, self, "Runtime")

    def deserialize_cuda_engine(self, serialized_engine):
        if gpu.call("deserialize_cuda_engine") or bytes(serialized_engine) not in plans:
            self.logger_seen.log(self.logger_seen.Severity.ERROR, "Serialization assertion failed: magic tag")
            return None
        return engine(plans[bytes(serialized_engine)])

    return {"__init__": init, "deserialize_cuda_engine": deserialize_cuda_engine}


def _engine(gpu, context, inspector):
    def init(self, plan):
        self.__dict__["_plan"] = plan
        _born(gpu, self, "ICudaEngine")

    def tensor(self, key):
        tensors = self._plan.tensors
        return tensors[key] if isinstance(key, int) else next(held for held in tensors if held.name == key)

    def create_execution_context(self):
        return None if gpu.call("create_execution_context") else context(self._plan)

    def shape_of_profile(self, name, profile):
        assert profile == 0 and tensor(self, name).profile, "only an input with a free size has a profile"
        return list(tensor(self, name).profile)

    return {
        "__init__": init,
        "num_io_tensors": property(lambda self: len(self._plan.tensors)),
        "get_tensor_name": lambda self, index: self._plan.tensors[index].name,
        "get_tensor_mode": lambda self, name: f"TensorIOMode.{'INPUT' if tensor(self, name).is_input else 'OUTPUT'}",
        "get_tensor_location": lambda self, name: f"TensorLocation.{tensor(self, name).location}",
        "get_tensor_dtype": lambda self, name: f"DataType.{tensor(self, name).dtype}",
        "get_tensor_shape": lambda self, name: tensor(self, name).shape,
        "get_tensor_profile_shape": shape_of_profile,
        "num_bindings": property(lambda self: len(self._plan.tensors)),
        "get_binding_name": lambda self, index: self._plan.tensors[index].name,
        "binding_is_input": lambda self, index: tensor(self, index).is_input,
        "get_location": lambda self, index: f"TensorLocation.{tensor(self, index).location}",
        "get_binding_dtype": lambda self, index: f"DataType.{tensor(self, index).dtype}",
        "get_binding_shape": lambda self, index: tensor(self, index).shape,
        "get_profile_shape": lambda self, profile, index: shape_of_profile(self, index, profile),
        "num_optimization_profiles": 1,
        "num_layers": property(lambda self: len(self._plan.layers)),
        "has_implicit_batch_dimension": property(lambda self: self._plan.implicit_batch),
        "device_memory_size": 4096,
        "device_memory_size_v2": 4096,
        "create_execution_context": create_execution_context,
        "create_engine_inspector": lambda self: inspector(self._plan),
    }


def _inspector():
    def init(self, plan):
        self.__dict__["_plan"] = plan

    def get_layer_information(self, layer_index, format):
        assert format == "LayerInformationFormat.JSON"
        return self._plan.layers[layer_index]

    return {"__init__": init, "get_layer_information": get_layer_information}


def _context(gpu):
    def init(self, plan):
        self.__dict__.update(_plan=plan, _shapes={}, _addresses={})
        _born(gpu, self, "IExecutionContext")

    def by_number(self, index):
        return self._plan.tensors[index].name

    def set_shape(self, name, shape, call):
        if gpu.call(call):
            return False
        held = next(held for held in self._plan.tensors if held.name == name)
        smallest, _, largest = held.profile or (held.shape,) * 3
        fits = len(shape) == len(smallest) and all(
            low <= size <= high for low, size, high in zip(smallest, shape, largest)
        )
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def shape_now(self, name):
        held = next(held for held in self._plan.tensors if held.name == name)
        return self._shapes[name] if held.is_input else (held.shape_for or (lambda shapes: held.shape))(self._shapes)

    def set_tensor_address(self, name, memory):
        if gpu.call("set_tensor_address"):
            return False
        self._addresses[name] = memory
        return True

    def array_at(self, held, address):
        shape, dtype = shape_now(self, held.name), np.dtype(DTYPES[held.dtype])
        return gpu.at(address, int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)

    def execute(self, addresses, call):
        if gpu.call(call):
            return False
        tensors = self._plan.tensors

        def work():
            given = {held.name: array_at(self, held, addresses[held.name]) for held in tensors if held.is_input}
            for name, result in self._plan.compute(given).items():
                held = next(held for held in tensors if held.name == name)
                array_at(self, held, addresses[name])[...] = result

        gpu.start(work)
        return True

    def execute_async_v2(self, bindings, stream_handle):
        addresses = {held.name: address for held, address in zip(self._plan.tensors, bindings)}
        return execute(self, addresses, "execute_async_v2")

    return {
        "__init__": init,
        "set_input_shape": lambda self, name, shape: set_shape(self, name, shape, "set_input_shape"),
        "get_tensor_shape": shape_now,
        "set_tensor_address": set_tensor_address,
        "execute_async_v3": lambda self, stream_handle: execute(self, dict(self._addresses), "execute_async_v3"),
        "set_binding_shape": lambda self, index, shape: set_shape(
            self, by_number(self, index), shape, "set_binding_shape"
        ),
        "get_binding_shape": lambda self, index: shape_now(self, by_number(self, index)),
        "execute_async_v2": execute_async_v2,
    }
