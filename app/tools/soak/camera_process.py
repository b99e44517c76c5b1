"""The program of `camera.py`, to start, kill and freeze."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Optional, Sequence

from app.errors import AppError
from app.files import CODE_FOLDER


class CameraProcess:
    """One camera, which keeps its address when it is killed and started again."""

    def __init__(self, name: str, wall: Path, heads: Sequence[Path]) -> None:
        self.name = name
        # While it is open, no other program gets this port; connections are refused until the camera listens.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self._files = [str(path) for path in (wall, *heads)]
        self._process: Optional[subprocess.Popen[str]] = None
        self._size = ""
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port.getsockname()[1]}/"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        path = os.pathsep.join(filter(None, [str(CODE_FOLDER), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.tools.soak.camera", self.address.rstrip("/").rpartition(":")[2], *self._files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            # Ctrl-C is for the soak, which ends its cameras.
            start_new_session=True,
        )
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise AppError(f"the camera {self.name} of the soak does not start at {self.address}")
        if self._size:
            self.say(f"size {self._size}")

    def kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None

    def freeze(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def resize(self, size: str) -> None:
        """Also for the process that is started after the next kill."""
        self._size = size
        self.say(f"size {size}")

    def say(self, command: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()

    def close(self) -> None:
        self.kill()
        self._port.close()
