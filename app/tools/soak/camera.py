"""A camera of the soak: a program that serves Motion JPEG over HTTP, to be killed and frozen.

    python -m app.tools.soak.camera PORT WALL.png HEAD.png...

Prints `ready` once it listens, and ends when its standard input does. Lines of its input change what it sends:
`size 320x180`, `garbage on`, `garbage off`, and `garbage only`: every picture is cut in half.
"""

from __future__ import annotations

import contextlib
import http.server
import random
import sys
import threading
import time
from typing import Tuple

import cv2
import numpy as np

from app.text import parse_size
from app.tools.soak.scene import HEIGHT, WIDTH, Scene
from app.tools.soak.stamp import now_ms

FPS = 10
QUALITY = 85
BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


class Camera:
    """What is sent, which may be changed while it is."""

    def __init__(self, scene: Scene) -> None:
        self.size: Tuple[int, int] = (WIDTH, HEIGHT)
        self.garbage = "off"
        self._scene = scene
        self._chance = random.Random(1)

    def obey(self, command: str) -> None:
        word, _, value = command.strip().partition(" ")
        if word == "size":
            self.size = parse_size(value)
        elif word == "garbage":
            self.garbage = value

    def part(self) -> bytes:
        """The next picture of the stream, or what a bad cable makes of it."""
        picture = self._scene.picture(now_ms(), self.size)
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        if self.garbage == "only":
            jpeg = jpeg[: len(jpeg) // 2]
        kind = self._chance.random()
        if self.garbage != "on" or kind < 0.5:
            return BOUNDARY % len(jpeg) + jpeg + b"\r\n"
        # Most bytes that are wrong are in a picture; a few break the stream itself.
        noise = bytearray(jpeg)
        for _ in range(len(jpeg) // 200):
            noise[self._chance.randrange(len(jpeg))] = self._chance.randrange(256)
        if kind < 0.98:
            return BOUNDARY % len(noise) + bytes(noise) + b"\r\n"
        if kind < 0.99:
            return BOUNDARY % len(jpeg) + jpeg[: len(jpeg) // 2]
        return bytes(noise)


def serve(camera: Camera, port: int) -> None:
    """Sends the camera's pictures to all who ask, until the standard input ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            due = time.monotonic()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(camera.part())
                    due = max(due + 1 / FPS, time.monotonic() - 1 / FPS)
                    time.sleep(max(0.0, due - time.monotonic()))

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            camera.obey(line)
        server.shutdown()


if __name__ == "__main__":
    cv2.setNumThreads(1)
    wall, *heads = [np.asarray(cv2.imread(name)) for name in sys.argv[2:]]
    serve(Camera(Scene(wall, heads)), int(sys.argv[1]))
