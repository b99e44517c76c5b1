"""Is there a screen? Asked without opening a window, since Qt would end the process."""

import os
import struct
import subprocess
import sys

import cv2
import pytest

from app.errors import OutputError
from app.output.display import DisplayAddress, DisplayConnection, display_available, gui_toolkit, parse_display

has_windows = gui_toolkit(cv2.getBuildInformation()) is not None
needs_windows = pytest.mark.skipif(not has_windows, reason="this OpenCV has no windows (opencv-python-headless)")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is asked on Linux alone")


def test_the_toolkit_is_read_from_the_build_information():
    assert gui_toolkit("\n  GUI:                           QT5\n    QT:  YES (ver 5.15)\n") == "QT5"
    assert gui_toolkit("\n  GUI:                           NONE\n\n  Media I/O:\n") is None
    jetpack_4 = "\n  GUI: \n    QT:    NO\n    GTK+:   YES (ver 3.22)\n\n"
    assert gui_toolkit(jetpack_4) == "GTK+"
    assert gui_toolkit("\n  GUI: \n    QT:    NO\n    GTK+:   NO\n\n    GTK+:  YES") is None
    assert gui_toolkit("nothing") is None


def test_values_of_display_are_parsed():
    assert parse_display(":0") == DisplayAddress("", 0)
    assert parse_display("localhost:10.0") == DisplayAddress("localhost", 10)
    assert parse_display("unix:2.1") == DisplayAddress("unix", 2)
    with pytest.raises(OutputError, match="DISPLAY"):
        parse_display("nonsense")


@needs_windows
@on_linux
def test_without_a_display_there_is_no_window():
    assert display_available({}) == (False, "there is no display (DISPLAY is not set)")


@needs_windows
@on_linux
@pytest.mark.parametrize("display", [":987", "nonsense", "localhost:987"])
def test_a_display_that_cannot_be_reached_does_not_end_the_process(display):
    available, reason = display_available({"DISPLAY": display})
    assert not available and display in reason


@needs_windows
@on_linux
def test_wayland_alone_needs_a_socket_that_answers(tmp_path):
    available, reason = display_available({"WAYLAND_DISPLAY": "wayland-9", "XDG_RUNTIME_DIR": str(tmp_path)})
    assert not available and reason


@on_linux
def test_a_display_that_refuses_gets_its_cookie_and_its_reason_is_quoted(tmp_path):
    """A server that wants another cookie, as after `sudo`: it gets the one from the user's file, then a blank one."""
    number = 10_000 + os.getpid()  # another suite on this machine has another one
    entry = b"".join(
        struct.pack(">H", len(part)) + part
        for part in (b"host", str(number).encode(), b"MIT-MAGIC-COOKIE-1", b"k" * 16)
    )
    path = f"\0/tmp/.X11-unix/X{number}"
    script = f"""
import socket, struct
listener = socket.socket(socket.AF_UNIX); listener.bind({path!r}); listener.listen(); print("up", flush=True)
for _ in range(2):
    client, _ = listener.accept(); request = client.recv(4096); print(request.count(b"k" * 16), flush=True)
    reason = b"No protocol specified\\n"; padded = reason + b"\\0" * (-len(reason) % 4)
    client.sendall(struct.pack("<BBHHH", 0, len(reason), 11, 0, len(padded) // 4) + padded); client.close()
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"up\n"
        (tmp_path / "authority").write_bytes(b"\1\0" + entry)
        with pytest.raises(OutputError, match="No protocol specified"):
            DisplayConnection({"DISPLAY": f":{number}", "XAUTHORITY": str(tmp_path / "authority")})
        assert server.stdout.read().split() == [b"1", b"0"]
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
