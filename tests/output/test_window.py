"""The window on a real X server, with keys that are really pressed.

The program runs in a process of its own: what Qt does when its display goes is to end it.
"""

import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from waiting import PATIENT_S, until

from app.output.display import gui_toolkit

pytestmark = [
    pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs an X server without a screen (Debian's xvfb)"),
    pytest.mark.skipif(not shutil.which("xdotool"), reason="needs something that presses keys (Debian's xdotool)"),
    pytest.mark.skipif(
        gui_toolkit(cv2.getBuildInformation()) is None, reason="this OpenCV has no windows (opencv-python-headless)"
    ),
]

PROGRAM = """
    import logging, sys, time
    from pathlib import Path
    from made_results import ANN, frame, picture, result
    from app.errors import OutputError
    from app.output.annotate import Annotator
    from app.output.outputs import Control
    from app.output.window import Window

    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    annotator = Annotator()
    window = Window(annotator, Path(sys.argv[1]), title="faces under test")
    number, before = 0, None
    control, started = Control.RUN, time.monotonic()
    try:
        while control is not Control.STOP and time.monotonic() - started < 600:
            if control is Control.RUN:
                for source in ("front", "yard"):
                    image = picture(640, 360, 90 if source == "front" else 160)
                    window.handle(result(frame(number, source=source, image=image), [(200, 120, 320, 260)], [ANN]))
                number += 1
            if (Path(sys.argv[1]) / "hold").exists():
                print("held", flush=True)
                sys.stdin.readline()
            control = window.poll(10)
            if number == 3 and control is Control.RUN:
                print("shown", flush=True)
            if (control, annotator.landmarks, annotator.why, annotator.grid) != before:
                before = control, annotator.landmarks, annotator.why, annotator.grid
                print(control.value, *before[1:], flush=True)
    except OutputError as error:
        print("error:", error, flush=True)
    window.close()
    print("ended", flush=True)
"""


class Screen:
    def __init__(self, folder):
        self._folder = folder
        reading, writing = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1000x24", "-noreset", "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as answer:
            self.environment = {**os.environ, "DISPLAY": f":{answer.readline().strip()}"}
        self.environment.pop("WAYLAND_DISPLAY", None)
        self.program = None
        self.window = None

    def start(self, snapshots):
        paths = [path for path in sys.path if path]
        source = f"import sys; sys.path[:0] = {paths!r}\n" + textwrap.dedent(PROGRAM)
        self.program = subprocess.Popen(
            [sys.executable, "-c", source, str(snapshots)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / "stderr").open("wb"),
            text=True,
        )
        self.expect("shown")
        self.window = int(self.xdotool("search", "--sync", "--onlyvisible", "--name", "^faces under test$")[-1])

    def xdotool(self, *arguments):
        return subprocess.run(
            ["xdotool", *arguments], env=self.environment, check=True, capture_output=True, text=True, timeout=PATIENT_S
        ).stdout.split()

    def press(self, key):
        """There is no window manager, so the window under the mouse is the one that hears."""
        self.xdotool("mousemove", "300", "200", "key", key)

    def map_again(self):
        """Where the server is slow and there is no window manager, Qt can miss that its window was mapped: it then
        takes keys and never paints."""
        self.xdotool("windowunmap", "--sync", str(self.window), "windowmap", "--sync", str(self.window))

    def expect(self, beginning):
        """The program's next line that begins so."""
        seen = []
        for line in self.program.stdout:
            seen.append(line)
            if line.startswith(beginning):
                return line.strip()
        raise AssertionError(f"{beginning!r} not in {seen}; {(self._folder / 'stderr').read_text()}")

    def picture(self):
        grab = pytest.importorskip("PIL.ImageGrab", reason="Pillow takes the screenshot")
        try:
            image = grab.grab(xdisplay=self.environment["DISPLAY"])
        except OSError as error:
            pytest.skip(f"Pillow cannot take screenshots here: {error}")
        return np.array(image.convert("RGB"))[..., ::-1]

    def close(self):
        for process in (self.program, self.server):
            if process is not None:
                process.kill()
                process.wait()
        if self.program is not None:
            self.program.stdout.close()
            self.program.stdin.close()


def ask_to_close(display, window):
    """Sends WM_DELETE_WINDOW in X11's own words."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(f"/tmp/.X11-unix/X{display[1:]}")
        server.sendall(struct.pack("<BxHHHHxx", 0x6C, 11, 0, 0, 0))
        greeting = server.recv(8, socket.MSG_WAITALL)
        server.recv(4 * struct.unpack("<H", greeting[6:8])[0], socket.MSG_WAITALL)
        protocols, delete = (atom(server, name) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        message = struct.pack("<BBHII5I", 33, 32, 0, window, protocols, delete, 0, 0, 0, 0)
        server.sendall(struct.pack("<BBHII", 25, 0, 11, window, 0) + message)
        atom(server, b"WM_PROTOCOLS")  # an answer to this means that the message is through


def atom(server, name):
    padded = name + b"\0" * (-len(name) % 4)
    server.sendall(struct.pack("<BBHHH", 16, 0, 2 + len(padded) // 4, len(name), 0) + padded)
    return struct.unpack("<I", server.recv(32, socket.MSG_WAITALL)[8:12])[0]


@pytest.fixture
def screen(tmp_path):
    screen = Screen(tmp_path)
    yield screen
    screen.close()


def test_every_key_works(screen, tmp_path):
    screen.start(tmp_path / "snapshots")
    screen.press("l")
    screen.expect("run True False")
    screen.press("w")
    screen.expect("run True True")
    screen.press("g")
    screen.expect("run True True True")
    screen.press("s")
    assert "front_" in screen.expect("saved") and "yard_" in screen.expect("saved")
    assert len(list((tmp_path / "snapshots").glob("*.jpg"))) == 2
    screen.press("space")
    screen.expect("pause True True")
    screen.press("l")
    screen.expect("pause False True")
    screen.press("space")
    screen.expect("run False True")
    screen.press("q")
    screen.expect("stop False True")
    screen.expect("ended")
    assert screen.program.wait(PATIENT_S) == 0


def both_are_shown(screenshot):
    teal = np.abs(screenshot.astype(int) - (108, 124, 0)).max(axis=2) < 30
    greys = [(np.abs(screenshot.astype(int) - grey).max(axis=2) < 3).sum() for grey in (90, 160)]
    return min(greys) > 50_000 and teal.sum() > 1_000


def test_both_channels_are_shown_side_by_side(screen, tmp_path):
    screen.start(tmp_path)
    looks = itertools.count(1)

    def is_seen():
        if both_are_shown(screen.picture()):
            return True
        if not next(looks) % 5:
            screen.map_again()
        return False

    until(is_seen)
    screen.press("Escape")
    screen.expect("stop")
    assert screen.program.wait(PATIENT_S) == 0


def test_closing_the_window_ends_the_run(screen, tmp_path):
    """Closing is a message from the window manager, of which there is none here: it is sent by hand."""
    screen.start(tmp_path)
    ask_to_close(screen.environment["DISPLAY"], screen.window)
    screen.expect("stop")
    screen.expect("ended")
    assert screen.program.wait(PATIENT_S) == 0


def test_a_lost_display_is_an_error_of_the_window_and_does_not_end_the_process(screen, tmp_path):
    """Between two polls, that is: if it goes while Qt itself is at work, Qt has the last word."""
    screen.start(tmp_path)
    (tmp_path / "hold").touch()
    screen.expect("held")
    screen.server.kill()
    screen.server.wait()
    screen.program.stdin.write("go on\n")
    screen.program.stdin.flush()
    assert "display" in screen.expect("error:")
    screen.expect("ended")
