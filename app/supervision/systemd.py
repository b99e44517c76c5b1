"""Messages to systemd about the state of this service (sd_notify); without systemd they go nowhere."""

from __future__ import annotations

import logging
import os
import socket
from typing import Mapping, Optional

logger = logging.getLogger(__name__)


def notify(message: str, environment: Optional[Mapping[str, str]] = None) -> bool:
    """Sends lines such as `READY=1`; whether they were sent. Never raises: the run does not depend on it."""
    environment = os.environ if environment is None else environment
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as messenger:
            # A socket in the abstract namespace begins with a zero byte.
            messenger.connect("\0" + address[1:] if address[0] == "@" else address)
            messenger.settimeout(1.0)
            messenger.sendall(message.encode("utf-8", "replace"))
    except OSError as error:
        logger.debug("systemd did not get %r: %s", message, error)
        return False
    return True


def watchdog_s(environment: Optional[Mapping[str, str]] = None) -> Optional[float]:
    """The unit's WatchdogSec: systemd ends the service when it hears nothing for so long. None: there is no limit."""
    environment = os.environ if environment is None else environment
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    limit_us = environment.get("WATCHDOG_USEC", "")
    return int(limit_us) / 1e6 if limit_us.isdigit() and int(limit_us) > 0 else None
