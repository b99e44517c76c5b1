"""Keeps two runs from one camera: the second would get no frame, or take the camera away from the first."""

from __future__ import annotations

import os
import socket
from typing import Dict

from app.errors import SourceError
from app.files import try_lock

_held: Dict[str, object] = {}
"""What this process has claimed, until it ends; the system gives it back even after a kill -9."""


def claim_device(device: str, source: str) -> None:
    """A USB camera's device file. Raises SourceError where another run has it, or where it is gone."""
    if device in _held:
        return
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(
            f"{source} cannot be opened: {device}: {error.strerror}. Is the camera plugged in?"
        ) from error
    if not try_lock(descriptor):
        os.close(descriptor)
        raise _taken(source)
    _held[device] = descriptor


def claim_name(name: str, source: str) -> None:
    """A camera without a device file of its own, such as `csi 0`. Raises SourceError where another run has it."""
    if name in _held or not hasattr(socket, "AF_UNIX"):
        return
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0face-recognition {name}")
    except OSError:
        claim.close()
        raise _taken(source) from None
    _held[name] = claim


def _taken(source: str) -> SourceError:
    return SourceError(f"{source} cannot be opened: another run of this program uses the camera; stop that run first")
