"""Finding the ranges for int8 with TensorRT's own calibrator (up to TensorRT 10), on pictures like those of a run."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Callable, List, Optional, Tuple, Type

import numpy as np

from app.errors import ModelError
from app.inference.build_job import BuildJob
from app.inference.cuda import borrow_gpu, give_back_gpu

MOST_AT_ONCE = 8


class Calibration:
    """Brings pictures onto the GPU when TensorRT asks for them, and keeps what it has learnt of them.

    TensorRT calls it from C++, where an error of ours would be lost: it ends the pictures, and is kept in `failure`,
    which whoever builds must look at.
    """

    def __init__(
        self, job: BuildJob, largest: Tuple[int, ...], next_picture: Callable[[], Optional[np.ndarray]], suffix: str
    ) -> None:
        self.cache_file = job.calibration_file(suffix)
        self.shape = (min(MOST_AT_ONCE, largest[0]), *largest[1:])
        self.learnt: Optional[bytes] = None
        self.failure: Optional[ModelError] = None
        self._next_picture = next_picture
        self._seen = False
        self.known = None if job.has_pictures or not self.cache_file.is_file() else self.cache_file.read_bytes()
        if self.known is None and not job.has_pictures:
            raise ModelError(
                f"{job.name}: int8 needs pictures to find its ranges: python -m app engines build {job.name} "
                "--precision int8 --calibration DIR"
            )

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
                raise ModelError("none of the pictures to calibrate int8 with has something for this network to see")
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
