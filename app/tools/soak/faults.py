"""Causes the faults of the schedule, for real, and ends them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Dict, List, Mapping, Tuple

from app.tools.soak.camera_process import CameraProcess
from app.tools.soak.scene import HEIGHT, WIDTH
from app.tools.soak.schedule import Fault, FaultKind
from app.tools.soak.usage import readers

OTHER_SIZE = f"{WIDTH // 2}x{HEIGHT // 2}"
DISK_BYTES = 400_000_000
DISK_BYTES_PER_MINUTE = 30_000_000


class SmallDisk:
    """A disk of its own for the outputs, which can be full without harm; only where this user may mount one."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self._bytes = int(DISK_BYTES + DISK_BYTES_PER_MINUTE * minutes)
        folder.mkdir()
        self.is_mounted = self._mount(f"size={self._bytes},mode=700")

    def fill(self) -> None:
        """As if another program had taken all that was free."""
        usage = shutil.disk_usage(str(self.folder))
        self._mount(f"remount,size={max(1, usage.used)}")

    def empty(self) -> None:
        self._mount(f"remount,size={self._bytes}")

    def save(self, target: Path) -> None:
        """Copies what is on it to where it outlives the disk."""
        shutil.copytree(str(self.folder), str(target))

    def close(self) -> None:
        if self.is_mounted:
            # Lazily: a file that is still open does not matter.
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
            self.is_mounted = False

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.folder)]
        if shutil.which("mount") is None:
            return False
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Faults:
    """All that can be broken in a run."""

    def __init__(
        self, cameras: Mapping[str, CameraProcess], disk: SmallDisk, outputs: Path, gallery: Path, seed: int
    ) -> None:
        self._cameras = cameras
        self._disk = disk
        self._outputs = outputs
        self._gallery = gallery
        self._chance = random.Random(seed)
        self._removed: List[Path] = []
        self._photo: Dict[Path, bytes] = {}

    @property
    def kinds(self) -> Tuple[FaultKind, ...]:
        """Those that can be caused on this machine."""
        return tuple(kind for kind in FaultKind if kind is not FaultKind.DISK_FULL or self._disk.is_mounted)

    @property
    def folders(self) -> Tuple[Path, ...]:
        """Where outputs are, in the order in which they were written."""
        return (*self._removed, self._outputs)

    def begin(self, fault: Fault) -> None:
        for camera in self._hit(fault):
            if fault.kind in (FaultKind.KILLED, FaultKind.NETWORK_DOWN):
                camera.kill()
            elif fault.kind is FaultKind.FROZEN:
                camera.freeze()
            elif fault.kind is FaultKind.GARBAGE:
                camera.say("garbage on")
            elif fault.kind is FaultKind.RESIZED:
                camera.resize(OTHER_SIZE)
        if fault.kind is FaultKind.READER_KILLED:
            running = sorted(readers(os.getpid()))
            if running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._chance.choice(running), signal.SIGKILL)
        elif fault.kind is FaultKind.FOLDER_REMOVED:
            # Kept under another name, to be examined at the end.
            self._removed.append(self._outputs.with_name(f"removed-{len(self._removed) + 1}"))
            self._outputs.rename(self._removed[-1])
        elif fault.kind is FaultKind.DISK_FULL:
            self._disk.fill()
        elif fault.kind is FaultKind.PHOTO_REMOVED:
            photo = self._chance.choice(sorted(self._gallery.glob("*_2.jpg")))
            self._photo[photo] = photo.read_bytes()
            photo.unlink()

    def end(self, fault: Fault) -> None:
        for camera in self._hit(fault):
            if fault.kind in (FaultKind.KILLED, FaultKind.NETWORK_DOWN):
                camera.start()
            elif fault.kind is FaultKind.FROZEN:
                camera.thaw()
            elif fault.kind is FaultKind.GARBAGE:
                camera.say("garbage off")
            elif fault.kind is FaultKind.RESIZED:
                camera.resize(f"{WIDTH}x{HEIGHT}")
        if fault.kind is FaultKind.FOLDER_REMOVED:
            self._outputs.mkdir()
        elif fault.kind is FaultKind.DISK_FULL:
            self._disk.empty()
        elif fault.kind is FaultKind.PHOTO_REMOVED:
            for photo, content in self._photo.items():
                photo.write_bytes(content)
            self._photo.clear()

    def _hit(self, fault: Fault) -> List[CameraProcess]:
        if fault.camera is not None:
            return [self._cameras[fault.camera]]
        return list(self._cameras.values()) if fault.kind is FaultKind.NETWORK_DOWN else []
