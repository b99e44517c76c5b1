"""Finding the ranges for int8 with TensorRT's own calibrator (up to TensorRT 10), on pictures like those of a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, List, Optional, Tuple, Type

import numpy as np

from app.errors import ModelError
from app.inference.build_job import BuildJob
from app.inference.cuda import borrow_gpu, give_back_gpu
from app.inference.tensorrt_api import load_tensorrt
from app.text import program

MOST_AT_ONCE = 8
NOTHING_SEEN = "none of the pictures to learn int8 from has something for this network to see; name others: "
"""What follows is `how_to_learn`."""


def how_to_learn(model: str) -> str:
    return f"{program()} engines build {model} --precision int8 --calibration DIR"


def calibrates(trt: Any) -> bool:
    """Whether TensorRT itself finds the ranges for int8 (up to 10), or wants them in the ONNX file (11)."""
    return hasattr(trt, "IInt8EntropyCalibrator2") and hasattr(trt.BuilderFlag, "INT8")


def ranges_file(onnx: Path, sha256: str) -> Path:
    """Where it is kept what was learnt from pictures for int8. It holds for one network.

    What TensorRT's own calibrator has learnt, only the same version reads.
    """
    trt = load_tensorrt()
    kind = f"{trt.__version__}.calibration" if calibrates(trt) else "int8.onnx"
    return onnx.with_name(f"{onnx.stem}.{sha256[:12]}.{kind}")


class Calibration:
    """Brings pictures onto the GPU when TensorRT asks for them, and keeps what it has learnt of them.

    TensorRT calls it from C++, where an error of ours would be lost: it ends the pictures, and is kept in `failure`,
    which whoever builds must look at.
    """

    def __init__(
        self, job: BuildJob, largest: Tuple[int, ...], next_picture: Callable[[], Optional[np.ndarray]], ranges: Path
    ) -> None:
        self.shape = (min(MOST_AT_ONCE, largest[0]), *largest[1:])
        self.learnt: Optional[bytes] = None
        self.failure: Optional[ModelError] = None
        self._model = job.name
        self._next_picture = next_picture
        self._seen = False
        self.known = None if job.has_pictures or not ranges.is_file() else ranges.read_bytes()

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
        """What TensorRT takes."""
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
                calibration.learnt = bytes(cache)

        return Calibrator()

    def next_batch(self) -> Optional[List[int]]:
        """Where on the GPU the next pictures lie; None when there are no more."""
        try:
            batch = self._host.view(np.float32).reshape(self.shape)
            pictures = fill_batch(batch, self._next_picture)
            if not pictures and not self._seen:
                raise ModelError(NOTHING_SEEN + how_to_learn(self._model))
            if not pictures:
                return None
            self._seen = True
            self._gpu.copy_in(self._address, batch)
            self._gpu.synchronize()
        except ModelError as error:
            self.failure = error
            return None
        return [self._address]


def fill_batch(batch: np.ndarray, next_picture: Callable[[], Optional[np.ndarray]]) -> int:
    """Each picture in the top left corner of zeros, as detectors show them; how many there were.

    At the end of the pictures an incomplete batch is filled up with its own.
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
