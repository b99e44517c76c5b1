"""What FFmpeg complains about while it decodes: the only way in which OpenCV passes on that a frame is damaged.

FFmpeg conceals what is missing of a frame, and writes a message. OpenCV 4 leaves it on the standard error, OpenCV 5
prints it on the standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_ERRORS = "16"
"""FFmpeg's level for errors; warnings are about streams that only look unusual."""
_QUIET = "-8"
_READ_BYTES = 65536


class DecoderErrors:
    """Takes over the standard output and error of this process, which Python's own messages then bypass.

    To be made before the first source is opened.
    """

    def __init__(self) -> None:
        self._terminal = os.dup(2)
        sys.stderr = sys.stdout = os.fdopen(os.dup(2), "w", buffering=1)
        self._incoming, outgoing = os.pipe()
        # A decoder must not wait for a reader of its messages; what does not fit is lost.
        os.set_blocking(self._incoming, False)
        os.set_blocking(outgoing, False)
        os.dup2(outgoing, 1)
        os.dup2(outgoing, 2)
        os.close(outgoing)
        self._are_shown = os.environ.get(_LEVEL, _ERRORS) != _QUIET
        if not self._are_shown:
            os.environ[_LEVEL] = _ERRORS
        self._c = ctypes.CDLL(None)

    def came(self) -> bool:
        """Whether there were some since the last call."""
        self._c.fflush(None)  # OpenCV's are in a buffer of the C library
        found = False
        with contextlib.suppress(BlockingIOError):
            while True:
                text = os.read(self._incoming, _READ_BYTES)
                if not text:
                    break
                found = True
                if self._are_shown:
                    with contextlib.suppress(OSError):  # a terminal that was closed, a log on a full disk
                        os.write(self._terminal, text)
        return found
