"""The log on the terminal."""

from __future__ import annotations

import logging
import os
import sys

from app.credentials import masked
from app.output.progress import LOG_EVERY_S, Progress, ProgressAwareHandler
from app.text import printable_lines


class MaskingFormatter(logging.Formatter):
    """Hides passwords in all messages, even those of libraries, and makes what they quote safe for terminals."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(masked(super().format(record)))


def configure_logging(level: str, progress_every_s: float = LOG_EVERY_S) -> Progress:
    """Log lines and a progress line on standard error that do not overwrite each other.

    `progress_every_s` is for logs that are no terminals. Call it before OpenCV is imported, which reads its own log
    levels then.
    """
    if level != "debug":
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    progress = Progress(sys.stderr, log_every_s=progress_every_s)
    handler = ProgressAwareHandler(sys.stderr, progress)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # At info level FAISS logs which instruction sets it tries to load.
    logging.getLogger("faiss").setLevel(logging.WARNING)
    return progress
