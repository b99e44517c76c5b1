"""Networks on TensorRT: loads and runs engine files that were built on this machine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import numpy as np

from app.errors import ModelError
from app.inference.cuda import borrow_gpu, give_back_gpu, probe_gpu
from app.inference.tensorrt_api import called, checked, load_tensorrt, make_logger
from app.inference.tensorrt_plan import read_plan, start_runtime, working_memory_bytes
from app.inference.tensorrt_tensors import Shape, TensorRange, shape_text, tensor_ranges, tensors_of


class TensorRTEngine:
    """A loaded engine file. Memory for the largest shapes it was built for is allocated when it is opened.

    All engines of the process share one GPU context and one stream, and are used from one thread.
    """

    times_transfer = False
    """Measure `last_transfer_ms`, which makes each run a little slower."""
    last_transfer_ms: Optional[float] = None
    """The time that the last run spent copying data to and from the GPU."""

    _runtime: Any
    _engine: Any
    _tensors: Any
    _context: Any

    def __init__(self, path: Path, dla: Optional[int] = None, sha256: Optional[str] = None) -> None:
        """`dla`: the number of the deep learning accelerator that it was built for, if any. A file with another SHA-256
        than `sha256` is not loaded."""
        trt = load_tensorrt()
        probe_gpu()
        self._path, self._dla, self._sha256 = path, dla, sha256
        self._trt_logger = make_logger(trt)
        self._shapes: Dict[str, Shape] = {}
        with ExitStack() as releases:
            self._gpu = borrow_gpu()
            releases.callback(give_back_gpu)
            memory = releases.enter_context(ExitStack())
            self._load(trt, releases)
            self._buffers = self._allocate(memory)
            self._tensors.set_addresses(self._context, {name: held.address for name, held in self._buffers.items()})
            releases.callback(self._gpu.synchronize)
            self._releases: Optional[ExitStack] = releases.pop_all()
        self.inputs = tuple(held.spec for held in self._inputs)
        self.outputs = tuple(self._outputs)
        self.max_batch: Optional[int] = next((held.largest[0] for held in self._inputs if held.largest), None)

    @property
    def gpu_bytes(self) -> int:
        """Memory on the GPU without the weights."""
        self._check_usable()
        return working_memory_bytes(self._engine) + sum(buffer.host.nbytes for buffer in self._buffers.values())

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        self._check_usable()
        start = time.perf_counter()
        self._stage(feeds)
        try:
            for held in self._inputs:
                buffer = self._buffers[held.spec.name]
                self._gpu.copy_in(buffer.address, buffer.view(self._shapes[held.spec.name]))
            if self.times_transfer:
                self._gpu.synchronize()
            execution_start = time.perf_counter()
            execute, what = self._tensors.execute, f"running {self._path}"
            called(execute, self._context, self._gpu.stream, what=what, trt_logger=self._trt_logger)
            if self.times_transfer:
                self._gpu.synchronize()
            execution_s = time.perf_counter() - execution_start
            results = self._copy_out()
        finally:
            self._gpu.synchronize()
        outputs = {name: result.copy() for name, result in results.items()}
        if self.times_transfer:
            self.last_transfer_ms = (time.perf_counter() - start - execution_s) * 1000
        return outputs

    def close(self) -> None:
        if self._releases is not None:
            self._gpu.check_thread()
            releases, self._releases = self._releases, None
            releases.close()

    def _load(self, trt: Any, releases: ExitStack) -> None:
        """TensorRT frees an object with its last reference, so no other references are kept."""
        self._runtime = start_runtime(trt, self._dla)
        releases.callback(setattr, self, "_runtime", None)
        self._engine = read_plan(trt, self._runtime, self._path, self._sha256)
        releases.callback(setattr, self, "_engine", None)
        self._tensors = tensors_of(trt, self._engine)
        releases.callback(setattr, self, "_tensors", None)
        ranges = tensor_ranges(trt, self._tensors)
        self._inputs = [held for held in ranges if held.is_input]
        self._outputs = [held.spec for held in ranges if not held.is_input]
        create = self._engine.create_execution_context
        self._context = called(create, what=f"allocating GPU memory for {self._path}", trt_logger=self._trt_logger)
        releases.callback(setattr, self, "_context", None)

    def _allocate(self, memory: ExitStack) -> Dict[str, _Buffer]:
        for held in self._inputs:
            self._set_shape(held, held.largest)
        largest = {held.spec.name: held.largest for held in self._inputs}
        largest.update({spec.name: self._output_shape(spec.name) for spec in self._outputs})
        buffers = {}
        for spec in (*(held.spec for held in self._inputs), *self._outputs):
            size = _size(largest[spec.name], spec.dtype)
            address = self._gpu.allocate(size)
            memory.callback(self._gpu.free, address)
            host = self._gpu.allocate_host(size)
            memory.callback(self._gpu.free_host, host)
            buffers[spec.name] = _Buffer(spec.dtype, address, host)
        return buffers

    def _check_usable(self) -> None:
        if self._releases is None:
            raise ModelError("this network has been closed")
        self._gpu.check_thread()

    def _stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Checks all inputs before changing anything."""
        expected = [held.spec.name for held in self._inputs]
        if set(feeds) != set(expected):
            raise ModelError(f"{self._path.name} has the inputs {expected}, but got {sorted(feeds)}")
        for held in self._inputs:
            given = feeds[held.spec.name]
            if given.dtype != held.spec.dtype:
                raise ModelError(f"{self._path.name}: '{held.spec.name}' takes {held.spec.dtype}, not {given.dtype}")
            reason = held.rejection(given.shape)
            if reason:
                raise ModelError(f"{self._path.name}: {reason}")
        for held in self._inputs:
            given = feeds[held.spec.name]
            self._set_shape(held, given.shape)
            np.copyto(self._buffers[held.spec.name].view(given.shape), given)

    def _copy_out(self) -> Dict[str, np.ndarray]:
        """The results; valid after the next synchronisation."""
        results = {}
        for spec in self._outputs:
            buffer, shape = self._buffers[spec.name], self._output_shape(spec.name)
            if buffer.size_of(shape) > buffer.host.size:
                raise ModelError(
                    f"{self._path}: the output '{spec.name}' is {shape_text(shape)}, larger than its buffer"
                )
            results[spec.name] = buffer.view(shape)
            self._gpu.copy_out(results[spec.name], buffer.address)
        return results

    def _set_shape(self, held: TensorRange, shape: Shape) -> None:
        name = held.spec.name
        if self._shapes.get(name) != shape:
            self._shapes.pop(name, None)
            what = f"setting the shape of '{name}' to {shape_text(shape)}"
            checked(self._tensors.set_shape(self._context, name, shape), what, self._trt_logger)
            self._shapes[name] = shape

    def _output_shape(self, name: str) -> Shape:
        shape: Shape = self._tensors.shape_now(self._context, name)
        if -1 in shape:
            raise ModelError(
                f"{self._path}: the size of the output '{name}' depends on the input's content, which is not "
                "supported; build the engine from a network without built-in NMS"
            )
        return shape


@dataclass(frozen=True)
class _Buffer:
    """Memory for one input or output, on the GPU and page-locked in main memory."""

    dtype: np.dtype
    address: int
    host: np.ndarray

    def size_of(self, shape: Shape) -> int:
        return _size(shape, self.dtype)

    def view(self, shape: Shape) -> np.ndarray:
        return self.host[: self.size_of(shape)].view(self.dtype).reshape(shape)


def _size(shape: Shape, dtype: np.dtype) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
