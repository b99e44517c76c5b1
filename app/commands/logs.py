"""What the log looks like on the terminal."""

from __future__ import annotations

import logging
import os
import sys

from app.credentials import masked
from app.output.progress import Progress, ProgressAwareHandler


class MaskingFormatter(logging.Formatter):
    """The last gate: no password leaves through the log, not even one that a library put into its message."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def configure_logging(level: str) -> Progress:
    """Log lines and one progress line on standard error, which do not write over each other.

    Called before OpenCV is loaded, whose own chatter is wanted only by who hunts a fault.
    """
    if level != "debug":
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    progress = Progress(sys.stderr)
    handler = ProgressAwareHandler(sys.stderr, progress)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # FAISS tells at length which processor it was built for.
    logging.getLogger("faiss").setLevel(logging.WARNING)
    return progress
