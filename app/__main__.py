"""python -m app, and the command `face-recognition`."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import NoReturn

from app.cli import leave, main


def start() -> NoReturn:
    # A crash in native code, or systemd's watchdog (SIGABRT), shows what each thread was doing.
    faulthandler.enable()
    if sys.version_info < (3, 10):
        # There, starting a program forks; OpenBLAS then ends its threads, and a matrix product in another thread of
        # ours would wait for them without end. So it gets no threads; it reads this when NumPy is imported.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    leave(main())


if __name__ == "__main__":
    start()
