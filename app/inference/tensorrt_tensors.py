"""A TensorRT engine's inputs and outputs: addressed by name since 8.5, by number in 8.2.

`tensors_of` chooses the implementation for the installed version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Protocol, Tuple

from app.errors import ModelError
from app.inference.engine import TensorSpec
from app.inference.tensorrt_api import checked, has_named_tensors, numpy_dtype
from app.text import program

Shape = Tuple[int, ...]
ShapeRange = Tuple[Shape, Shape, Shape]
"""The smallest, best and largest shape that an engine was built for."""


class Tensors(Protocol):
    """Access to an engine's inputs and outputs, and to their values in an execution context."""

    names: List[str]

    def is_input(self, name: str) -> bool: ...

    def is_on_gpu(self, name: str) -> bool: ...

    def dtype(self, name: str) -> Any: ...

    def built_shape(self, name: str) -> Shape:
        """With -1 for each free size."""
        ...

    def profile(self, name: str) -> ShapeRange:
        """Of an input with a free size."""
        ...

    def set_shape(self, context: Any, name: str, shape: Shape) -> bool: ...

    def shape_now(self, context: Any, name: str) -> Shape:
        """Of an output, once all inputs have their shapes; -1 if it depends on the input's content."""
        ...

    def set_addresses(self, context: Any, addresses: Dict[str, int]) -> None:
        """Sets the memory address of each input and output."""
        ...

    def execute(self, context: Any, stream: int) -> bool: ...


def tensors_of(trt: Any, engine: Any) -> Tensors:
    return NamedTensors(trt, engine) if has_named_tensors(trt) else NumberedTensors(trt, engine)


class NamedTensors:
    """TensorRT 8.5 and later."""

    def __init__(self, trt: Any, engine: Any) -> None:
        self._trt = trt
        self._engine = engine
        self.names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]

    def is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def is_on_gpu(self, name: str) -> bool:
        return bool(self._engine.get_tensor_location(name) == self._trt.TensorLocation.DEVICE)

    def dtype(self, name: str) -> Any:
        return self._engine.get_tensor_dtype(name)

    def built_shape(self, name: str) -> Shape:
        return tuple(self._engine.get_tensor_shape(name))

    def profile(self, name: str) -> ShapeRange:
        smallest, best, largest = self._engine.get_tensor_profile_shape(name, 0)
        return tuple(smallest), tuple(best), tuple(largest)

    def set_shape(self, context: Any, name: str, shape: Shape) -> bool:
        return bool(context.set_input_shape(name, shape))

    def shape_now(self, context: Any, name: str) -> Shape:
        return tuple(context.get_tensor_shape(name))

    def set_addresses(self, context: Any, addresses: Dict[str, int]) -> None:
        for name, address in addresses.items():
            checked(context.set_tensor_address(name, address), f"setting the address of '{name}'")

    def execute(self, context: Any, stream: int) -> bool:
        return bool(context.execute_async_v3(stream))


class NumberedTensors:
    """TensorRT 8.2: each optimisation profile has its own numbers, of which the first profile's come first."""

    def __init__(self, trt: Any, engine: Any) -> None:
        self._trt = trt
        self._engine = engine
        count = engine.num_bindings // engine.num_optimization_profiles
        self.names = [engine.get_binding_name(index) for index in range(count)]
        self._numbers = {name: index for index, name in enumerate(self.names)}
        self._addresses = [0] * engine.num_bindings

    def is_input(self, name: str) -> bool:
        return bool(self._engine.binding_is_input(self._numbers[name]))

    def is_on_gpu(self, name: str) -> bool:
        return bool(self._engine.get_location(self._numbers[name]) == self._trt.TensorLocation.DEVICE)

    def dtype(self, name: str) -> Any:
        return self._engine.get_binding_dtype(self._numbers[name])

    def built_shape(self, name: str) -> Shape:
        return tuple(self._engine.get_binding_shape(self._numbers[name]))

    def profile(self, name: str) -> ShapeRange:
        smallest, best, largest = self._engine.get_profile_shape(0, self._numbers[name])
        return tuple(smallest), tuple(best), tuple(largest)

    def set_shape(self, context: Any, name: str, shape: Shape) -> bool:
        return bool(context.set_binding_shape(self._numbers[name], shape))

    def shape_now(self, context: Any, name: str) -> Shape:
        return tuple(context.get_binding_shape(self._numbers[name]))

    def set_addresses(self, context: Any, addresses: Dict[str, int]) -> None:
        for name, address in addresses.items():
            self._addresses[self._numbers[name]] = address

    def execute(self, context: Any, stream: int) -> bool:
        return bool(context.execute_async_v2(self._addresses, stream))


@dataclass(frozen=True)
class TensorRange:
    """One input or output and its allowed shapes."""

    spec: TensorSpec
    is_input: bool
    profile: Optional[ShapeRange] = None
    """Of an input with a free size."""

    @property
    def largest(self) -> Shape:
        """Of an input."""
        return self.profile[2] if self.profile else tuple(size or 0 for size in self.spec.shape)

    def rejection(self, shape: Shape) -> str:
        """Why an input of that shape is rejected; empty if it is accepted."""
        smallest, _, largest = self.profile or (self.largest,) * 3
        if len(shape) == len(largest) and all(low <= size <= high for low, size, high in zip(smallest, shape, largest)):
            return ""
        allowed = f"{shape_text(smallest)} to {shape_text(largest)}" if smallest != largest else shape_text(largest)
        return (
            f"'{self.spec.name}' got the shape {shape_text(shape)}, but this engine was built for {allowed}; "
            f"build another one for other shapes: {program()} engines build --help"
        )


def tensor_ranges(trt: Any, tensors: Tensors) -> Tuple[TensorRange, ...]:
    """All inputs and outputs in the engine's order. A size for which the profile allows one value counts as fixed."""
    ranges = []
    for name in tensors.names:
        if not tensors.is_on_gpu(name):
            raise ModelError(f"'{name}' must be in the processor's memory, which this program does not support")
        built = tensors.built_shape(name)
        is_input = tensors.is_input(name)
        profile = tensors.profile(name) if is_input and -1 in built else None
        smallest, _, largest = profile or (built, built, built)
        shape = tuple(low if low == high != -1 else None for low, high in zip(smallest, largest))
        ranges.append(TensorRange(TensorSpec(name, shape, numpy_dtype(trt, tensors.dtype(name))), is_input, profile))
    return tuple(ranges)


def shape_text(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape) or "a single number"
