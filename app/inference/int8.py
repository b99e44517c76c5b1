"""Networks in int8 and fp16 for TensorRT.

int8 needs the range of values in each layer, measured on typical inputs. Up to TensorRT 10 its own calibrator measures
them and fp16 is a flag of the builder. From TensorRT 11 on, precision comes from the ONNX file, which is converted
here; its inputs and outputs stay float32.
"""

from __future__ import annotations

import importlib
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import numpy as np

from app.errors import ModelError
from app.inference.balancing import balance_channels
from app.inference.cuda import borrow_gpu, give_back_gpu
from app.inference.tensorrt_api import load_tensorrt
from app.text import install_hint, program

MAX_BATCH = 8
QUANTISED = ("Conv", "Gemm", "MatMul")
"""The operators that are worth computing in int8."""

NextPicture = Callable[[], Optional[np.ndarray]]
"""Returns the next input (1 x 3 x height x width) to calibrate with; None at the end."""


def no_pictures_text(model: str) -> str:
    return (
        f"none of the calibration pictures contains a face for this network; use others: {program()} engines build "
        f"{model} --precision int8 --calibration DIR"
    )


def has_calibrator(trt: Any) -> bool:
    """Whether TensorRT measures the ranges for int8 itself (up to 10)."""
    return hasattr(trt, "IInt8EntropyCalibrator2") and hasattr(trt.BuilderFlag, "INT8")


def ranges_file(onnx: Path, sha256: str) -> Path:
    """Where the ranges of a network are stored once they are measured.

    Those of TensorRT's calibrator are valid for one version only; for TensorRT 11 it is the rewritten ONNX file.
    """
    trt = load_tensorrt()
    kind = f"{trt.__version__}.calibration" if has_calibrator(trt) else "int8.onnx"
    return onnx.with_name(f"{onnx.stem}.{sha256[:12]}.{kind}")


class Calibration:
    """Copies pictures to the GPU when TensorRT's calibrator asks for them, and keeps the measured ranges.

    TensorRT calls it from C++, possibly in a thread of its own. An exception would be lost there: it ends the pictures
    and is kept in `failure`, which the caller must check.
    """

    def __init__(
        self, model: str, largest: Tuple[int, ...], next_picture: NextPicture, known: Optional[bytes] = None
    ) -> None:
        """`known`: ranges of an earlier calibration, used instead of pictures."""
        self.shape = (min(MAX_BATCH, largest[0]), *largest[1:])
        self.known = known
        self.ranges: Optional[bytes] = None
        self.failure: Optional[ModelError] = None
        self._model = model
        self._next_picture = next_picture
        self._has_pictures = False

    def __enter__(self) -> Calibration:
        size = int(np.prod(self.shape)) * np.dtype(np.float32).itemsize
        with ExitStack() as memory:
            self._gpu = borrow_gpu()
            memory.callback(give_back_gpu)
            self._address = self._gpu.allocate(size)
            memory.callback(self._gpu.free, self._address)
            self._host = self._gpu.allocate_host(size)
            memory.callback(self._gpu.free_host, self._host)
            self._memory = memory.pop_all()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._memory.close()

    def calibrator(self, trt: Any) -> Any:
        """The object that TensorRT calls."""
        calibration = self

        class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IInt8EntropyCalibrator2.__init__(self)

            def get_batch_size(self) -> int:
                return calibration.shape[0]

            def get_batch(self, names: List[str]) -> Optional[List[int]]:
                return calibration.next_batch()

            def read_calibration_cache(self) -> Optional[bytes]:
                return calibration.known

            def write_calibration_cache(self, cache: Any) -> None:
                calibration.ranges = bytes(cache)

        return Calibrator()

    def next_batch(self) -> Optional[List[int]]:
        """The address of the next pictures on the GPU; None at the end."""
        try:
            batch = self._host.view(np.float32).reshape(self.shape)
            if not fill_batch(batch, self._next_picture):
                if not self._has_pictures:
                    raise ModelError(no_pictures_text(self._model))
                return None
            self._has_pictures = True
            with self._gpu.lent_to_this_thread():
                self._gpu.copy_in(self._address, batch)
                self._gpu.synchronize()
        except ModelError as error:
            self.failure = error
            return None
        return [self._address]


def fill_batch(batch: np.ndarray, next_picture: NextPicture) -> int:
    """Puts each picture into the top left corner of zeros, as detectors do; returns the number of pictures.

    An incomplete batch at the end is filled up with copies.
    """
    batch[...] = 0
    filled = 0
    while filled < len(batch):
        picture = next_picture()
        if picture is None:
            break
        corner = batch[filled][tuple(slice(side) for side in picture.shape[1:])]
        corner[...] = picture[0][tuple(slice(side) for side in corner.shape)]
        filled += 1
    for row in range(filled, len(batch) if filled else 0):
        batch[row] = batch[row % filled]
    return filled


def fp16_network(path: Path) -> bytes:
    """The ONNX network with weights and computation in fp16."""
    onnx, float16 = _import_onnx("fp16", "onnxruntime.transformers.float16")
    model = _load(onnx, path)
    try:
        return bytes(float16.convert_float_to_float16(model, keep_io_types=True).SerializeToString())
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be converted to fp16: {error}") from error


def int8_network(name: str, path: Path, next_picture: NextPicture) -> bytes:
    """The ONNX network with ranges for int8, measured on pictures.

    Only the inputs of layers are quantised, and nothing in the last layers, whose numbers are the result. Ranges are
    averaged over the pictures: those of an extreme picture would leave too few steps for the others. Channels are
    balanced before.
    """
    onnx, quantization = _import_onnx("int8", "onnxruntime.quantization")
    model = _load(onnx, path)
    balance_channels(model)
    first = next_picture()
    if first is None:
        raise ModelError(no_pictures_text(name))
    constants = {tensor.name for tensor in model.graph.initializer}
    (input_name,) = [value.name for value in model.graph.input if value.name not in constants]
    waiting = [first]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def get_next(self) -> Optional[Dict[str, np.ndarray]]:
            picture = waiting.pop() if waiting else next_picture()
            return None if picture is None else {input_name: picture}

    with tempfile.TemporaryDirectory() as folder:
        balanced, target = Path(folder) / "balanced.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(balanced))
        try:
            quantization.quantize_static(
                str(balanced),
                str(target),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=last_layers(model),
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={
                    # TensorRT supports symmetric ranges only.
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "CalibMovingAverage": True,
                    "OpTypesToExcludeOutputQuantization": list(QUANTISED),
                },
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} cannot be converted to int8: {error}") from error
        return target.read_bytes()


def last_layers(model: Any) -> List[str]:
    """The names of the layers with weights that no other such layer follows."""
    producers = {output: node for node in model.graph.node for output in node.output}
    waiting = [output.name for output in model.graph.output]
    seen, last = set(waiting), []
    while waiting:
        node = producers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in QUANTISED:
            last.append(node.name)
            continue
        new = set(node.input) - seen
        seen |= new
        waiting += new
    return sorted(set(last))


def _import_onnx(precision: str, tool: str) -> Tuple[Any, Any]:
    try:
        return importlib.import_module("onnx"), importlib.import_module(tool)
    except ImportError as error:
        raise ModelError(
            f"this version of TensorRT takes {precision} from the ONNX file, and converting it needs the packages onnx "
            f"and onnxruntime ({error}): {install_hint('onnx', 'onnxruntime')}"
        ) from error


def _load(onnx: Any, path: Path) -> Any:
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except (OSError, ValueError, DecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} contains no network")
    return model
