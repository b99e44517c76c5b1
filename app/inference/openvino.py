"""Networks on OpenVINO: Intel, AMD and Arm processors, and Intel graphics."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.errors import BackendError, ModelError
from app.inference.engine import TensorSpec, misfit
from app.inference.host import available_cores, importing
from app.inference.onnx_damage import damage_of
from app.inference.rewriting import restore_prelu

Shape = Tuple[int, ...]

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""OpenVINO's name of each precision."""

_RESULT_SUFFIX = "/sink_port_"
"""OpenVINO appends this to the name of an output. It also has internal names for the same tensor, in any order."""


MAX_SHAPES = 8
"""Networks compiled for one shape, of which each takes 6 to 22 MB. Live video and requests have other shapes each."""
MAX_BATCH_ON_CPU = 4
"""Larger ones save 6 % of the time, but batches of ever other sizes cost 15 %, since each is another shape."""
FREQUENT_AFTER = 4
"""Runs after which a shape gets a network of its own. Counted, not timed: the same run gives the same results again."""


class OpenVinoEngine:
    """An ONNX file compiled for one device.

    Any shape is run. The first shapes that come again and again get a network compiled for them only: one network for
    all shapes takes milliseconds for each change between two of them.
    """

    def __init__(self, path: Path, threads: int = 0, precision: str = "auto", device: str = "CPU") -> None:
        """`threads`: 0 = one per core. int8: `path` has a quantised network; its other layers run as with `auto`."""
        core = _core()
        try:
            capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot query the device {device}: {_last_line(error)}") from error
        floats = supported_precision(device, "auto" if precision == "int8" else precision, capabilities)
        self.precision = "int8" if precision == "int8" else floats
        hints: Dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[floats]}
        if device == "CPU":
            # With a single thread, OpenVINO 2026.4 returns the outputs of the run before when a layer fails.
            hints["INFERENCE_NUM_THREADS"] = threads or max(2, available_cores())
            # A worker pinned to a core waits for the decoder or the encoder while another core is free.
            hints["ENABLE_CPU_PINNING"] = False
        try:
            model = core.read_model(path)
            names = [result.get_friendly_name().partition(_RESULT_SUFFIX)[0] for result in model.get_results()]
            restore_prelu(model)
            network = core.compile_model(model, device, hints)
            self._request: Optional[Any] = network.create_infer_request()
        except RuntimeError as error:
            damage = damage_of(path)
            raise ModelError(
                f"{path}: {damage or f'OpenVINO cannot load this network: {_last_line(error)}'}"
            ) from error
        self.max_batch: Optional[int] = MAX_BATCH_ON_CPU if device == "CPU" else None
        self.inputs = tuple(_spec(port, port.get_any_name()) for port in network.inputs)
        self.outputs = tuple(_spec(port, name) for port, name in zip(network.outputs, names))
        self._compile: Callable[[], Any] = lambda: core.compile_model(model, device, hints).create_infer_request()
        self._model = model
        self._seen: Counter[Shape] = Counter()
        self._requests: Dict[Shape, Any] = {}
        self._has_free_sizes = len(self.inputs) == 1 and None in self.inputs[0].shape

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        if self._request is None:
            raise ModelError("this network has been closed")
        missing = {spec.name for spec in self.inputs} - set(feeds)
        if missing:
            # OpenVINO would use the previous input.
            raise ModelError(f"the network also needs the inputs {', '.join(sorted(missing))}")
        try:
            results = self._request_for(feeds).infer(dict(feeds), share_inputs=True, share_outputs=False)
        except (RuntimeError, TypeError, ValueError, MemoryError) as error:
            wrong_input = misfit(self.inputs, feeds)
            if wrong_input:
                raise ModelError(f"OpenVINO cannot run this network: {wrong_input}") from error
            raise BackendError(f"OpenVINO: {_last_line(error)}") from error
        return {spec.name: results[row] for row, spec in enumerate(self.outputs)}

    def _request_for(self, feeds: Mapping[str, np.ndarray]) -> Any:
        if not self._has_free_sizes:
            return self._request
        shape = feeds[self.inputs[0].name].shape
        request = self._requests.get(shape)
        if request is None and len(self._requests) < MAX_SHAPES:
            self._seen[shape] += 1
            if self._seen[shape] == FREQUENT_AFTER:
                # A shape that does not fit is refused by the network for all shapes, in its own words.
                with contextlib.suppress(RuntimeError):
                    self._model.reshape(list(shape))
                    request = self._requests[shape] = self._compile()
        return request or self._request

    def close(self) -> None:
        self._request = None
        self._requests.clear()


def openvino_devices() -> Tuple[str, ...]:
    """The devices of this machine: the processor, and Intel graphics if a driver is installed."""
    return tuple(device for device in _core().available_devices if device.partition(".")[0] in ("CPU", "GPU"))


def supported_precision(device: str, wanted: str, capabilities: Sequence[str]) -> str:
    """The precision to use on a device with these capabilities, in OpenVINO's spelling.

    `auto` is bf16 if the device supports it, which keeps the accuracy, otherwise fp32.
    """
    if wanted == "auto":
        return "bf16" if "BF16" in capabilities else "fp32"
    if wanted.upper() not in capabilities:
        known = " or ".join(name for name in _HINTS if name.upper() in capabilities)
        raise ModelError(f"OpenVINO does not support {wanted} on the device {device}, only {known}")
    return wanted


def _core() -> Any:
    with importing("openvino", "OpenVINO"):
        import openvino
    return _core_of(openvino)


@functools.lru_cache(maxsize=None)
def _core_of(openvino: Any) -> Any:
    """One for the life of the process. With the last core, OpenVINO unloads its plugin for the processor, which leaves
    its freed memory behind as the stack for signal handlers: the next Ctrl-C would be a segmentation fault."""
    return openvino.Core()


def _spec(port: Any, name: str) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
    return TensorSpec(name, shape, np.dtype(port.get_element_type().to_dtype()))


def _last_line(error: Exception) -> str:
    """The last line of OpenVINO's message, which begins with locations in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
