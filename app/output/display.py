"""Whether there is a display, checked without opening a window: Qt ends the process when it cannot connect to one."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import cv2

from app.errors import OutputError

_CONNECT_TIMEOUT_S = 3.0
_ATTEMPTS = 5
_RETRY_AFTER_S = 0.1
_COOKIE_PROTOCOL = b"MIT-MAGIC-COOKIE-1"
_X_TCP_PORT = 6000
_HEADLESS_FIX = "install opencv-python instead of opencv-python-headless"


def display_available(environment: Optional[Mapping[str, str]] = None) -> Tuple[bool, str]:
    """Whether a window can be shown, and if not, why not."""
    environment = os.environ if environment is None else environment
    toolkit = gui_toolkit(cv2.getBuildInformation())
    if toolkit is None:
        return False, f"this OpenCV was built without windows ({_HEADLESS_FIX})"
    if not sys.platform.startswith("linux"):
        return True, ""
    if environment.get("DISPLAY"):
        try:
            DisplayConnection(environment).close()
        except OutputError as error:
            return False, str(error)
        return True, ""
    if environment.get("WAYLAND_DISPLAY"):
        return _wayland_available(toolkit, environment)
    return False, "there is no display (DISPLAY is not set)"


def gui_toolkit(build_information: str) -> Optional[str]:
    """The toolkit of OpenCV's windows, from the text of `cv2.getBuildInformation()`; None without window support."""
    section = re.search(r"^[ \t]*GUI:[ \t]*(.*)\n((?:[ \t]+\S.*\n)*)", build_information, re.MULTILINE)
    if section is None:
        return None
    headline, details = section.group(1).strip(), section.group(2)
    if headline:
        return None if headline.upper() == "NONE" else headline
    # OpenCV before 4.5.4 leaves the headline empty and lists the toolkits.
    for line in details.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("QT", "GTK+", "Win32 UI", "Cocoa") and value.strip().upper().startswith("YES"):
            return name.strip()
    return None


class DisplayConnection:
    """A separate connection to the X server, which shows that the server is gone before Qt notices.

    Qt reacts to a lost display with `exit(1)` inside `cv2.waitKey`.
    """

    def __init__(self, environment: Optional[Mapping[str, str]] = None) -> None:
        environment = os.environ if environment is None else environment
        self._display = environment.get("DISPLAY", "")
        address = parse_display(self._display)
        refusal = ""
        for name, cookie in [*_cookies(environment, address.number), (b"", b"")]:
            for _ in range(_ATTEMPTS):
                self._socket = self._connect(address)
                try:
                    refusal = self._shake_hands(name, cookie)
                    break
                except OSError as error:
                    # A server that has just lost its last client restarts, and rejects connections meanwhile.
                    refusal = str(error)
                    self._socket.close()
                    time.sleep(_RETRY_AFTER_S)
            if not refusal:
                self._socket.setblocking(False)
                return
            self._socket.close()
        raise OutputError(f"connection refused by the display {self._display} ({refusal}); see `xhost` or XAUTHORITY")

    @classmethod
    def open_if_x11(cls) -> Optional[DisplayConnection]:
        """The connection, or None where windows do not use X11."""
        return cls() if sys.platform.startswith("linux") and os.environ.get("DISPLAY") else None

    def is_alive(self) -> bool:
        try:
            while True:
                if not self._socket.recv(4096):
                    return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()

    def _connect(self, address: DisplayAddress) -> socket.socket:
        for family, target in address.sockets():
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(_CONNECT_TIMEOUT_S)
            try:
                connection.connect(target)
                return connection
            except OSError:
                connection.close()
        raise OutputError(
            f"cannot connect to the display {self._display}; check DISPLAY and that its server is running"
        )

    def _shake_hands(self, name: bytes, cookie: bytes) -> str:
        """X11's connection set-up; returns the reason for a refusal, or an empty string."""
        request = struct.pack("<BxHHHHxx", 0x6C, 11, 0, len(name), len(cookie)) + _padded(name) + _padded(cookie)
        self._socket.sendall(request)
        answer = self._receive(8)
        rest = self._receive(4 * struct.unpack("<H", answer[6:8])[0])
        if answer[0] == 1:
            return ""
        return rest[: answer[1]].decode("latin-1").strip() or "no reason given"

    def _receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            part = self._socket.recv(count - len(received))
            if not part:
                raise ConnectionResetError("it closed the connection")
            received += part
        return received


class DisplayAddress(NamedTuple):
    """The server that DISPLAY names."""

    host: str
    number: int

    def sockets(self) -> Iterator[Tuple[int, Any]]:
        if self.host in ("", "unix"):
            path = f"/tmp/.X11-unix/X{self.number}"
            yield socket.AF_UNIX, "\0" + path
            yield socket.AF_UNIX, path
        else:
            yield socket.AF_INET, (self.host, _X_TCP_PORT + self.number)


def parse_display(display: str) -> DisplayAddress:
    """`:0`, `:1.0`, `unix:0`, `localhost:10.0`."""
    matched = re.fullmatch(r"(?:[a-z]+/)?(.*):(\d+)(?:\.\d+)?", display)
    if matched is None:
        raise OutputError(f"DISPLAY is {display!r}, which is not a display; expected a value such as `:0`")
    return DisplayAddress(matched.group(1), int(matched.group(2)))


def _cookies(environment: Mapping[str, str], number: int) -> List[Tuple[bytes, bytes]]:
    """Protocol and key of each entry for this display in the user's Xauthority file (see `man Xsecurity`)."""
    path = Path(environment.get("XAUTHORITY") or Path(environment.get("HOME") or "~").expanduser() / ".Xauthority")
    try:
        content = path.read_bytes()
    except OSError:
        return []
    found: Dict[bytes, bytes] = {}
    at = 0
    while at + 2 <= len(content):
        at += 2  # the address family is not needed
        fields = []
        for _ in range(4):  # address, display number, protocol, key
            length = int.from_bytes(content[at : at + 2], "big")
            fields.append(content[at + 2 : at + 2 + length])
            at += 2 + length
        if fields[2] == _COOKIE_PROTOCOL and fields[1] in (b"", str(number).encode()):
            found.setdefault(fields[3], fields[2])
    return [(protocol, key) for key, protocol in found.items()]


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _wayland_available(toolkit: str, environment: Mapping[str, str]) -> Tuple[bool, str]:
    if toolkit.upper().startswith("QT"):
        return False, "OpenCV's windows need X11 here; start XWayland, which sets DISPLAY"
    path = Path(environment.get("XDG_RUNTIME_DIR") or "/run/user/0") / environment["WAYLAND_DISPLAY"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except OSError as error:
            return False, f"cannot connect to the Wayland display {path} ({error})"
    return True, ""
