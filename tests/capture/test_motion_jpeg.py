"""Motion JPEG over HTTP, with this OpenCV and with the system's, which is another version."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from real_sources import SYSTEM_PYTHON, gstreamer_opencv_missing
from waiting import PATIENT_S

ROOT = Path(__file__).parents[2]
SYSTEMS = pytest.param(
    SYSTEM_PYTHON, marks=pytest.mark.skipif(bool(gstreamer_opencv_missing()), reason=gstreamer_opencv_missing())
)
FIRST, SMALLER, LARGER = (640, 480), (320, 240), (1280, 960)

READ = """
import sys
sys.path.insert(0, sys.argv[1])
from app.capture.decoder_errors import DecoderErrors
output = open(sys.argv[4], "w")
errors = DecoderErrors()
import json
from app.capture.opening import open_reader
from app.capture.reader_child import LiveSource, RateLimit
from app.capture.uri import parse_source
from app.settings import CaptureSettings
settings = CaptureSettings(open_timeout_s=float(sys.argv[3]), read_timeout_s=float(sys.argv[3]))
reader = open_reader(parse_source(sys.argv[2]), settings)
live = LiveSource("cam", reader, lambda: sys.exit("reopened"), RateLimit(None), errors.came)
frames = []
for _ in range(36):
    raw = live.read()
    image = raw.image
    height, width = image.shape[:2]
    corners = [int(image[y, x].mean()) for y in (9, height - 9) for x in (9, width // 2 - 9, width // 2 + 9, width - 9)]
    frames.append([[width, height], corners, reader.time_stamp_s, raw.damaged])
json.dump(frames, output)
"""


def picture(size):
    """Dark on the left, bright on the right, as JPEG."""
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    image[:, size[0] // 2 :] = 220
    return cv2.imencode(".jpg", image)[1].tobytes()


@pytest.fixture
def read_by(tmp_path):
    """What a Python reads of a camera that sends these pictures, 12 of each: size, greys, time stamp, damaged."""
    servers = []

    def read(python, *pictures):
        class Camera(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                head = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
                try:
                    for jpeg in [jpeg for jpeg in pictures for _ in range(12)] + [pictures[-1]] * 100:
                        self.wfile.write(head.format(len(jpeg)).encode() + jpeg + b"\r\n")
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Camera))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}/video"
        answer = tmp_path / "frames.json"
        words = [python, "-c", READ, str(ROOT), url, str(PATIENT_S), str(answer)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENT_S)
        assert done.returncode == 0, done.stderr
        return json.loads(answer.read_text())

    yield read
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("python", [sys.executable, SYSTEMS])
def test_a_new_size_in_mid_stream_is_scaled_to_the_first_and_no_frame_has_a_time_stamp(read_by, python):
    frames = read_by(python, picture(FIRST), picture(SMALLER), picture(LARGER))
    for number, (size, greys, time_stamp_s, damaged) in enumerate(frames):
        assert greys == pytest.approx([40, 40, 220, 220] * 2, abs=6), number
        assert (tuple(size), time_stamp_s, damaged) == (FIRST, None, 0)


@pytest.mark.parametrize("python", [sys.executable, SYSTEMS])
def test_pictures_that_cannot_be_decoded_are_left_out_and_counted(read_by, python):
    whole = picture(FIRST)
    for bad in (b"no picture at all", whole[: len(whole) // 2], whole[:20] + b"\x00" * 500):
        frames = read_by(python, whole, bad, whole)
        assert sum(damaged for *_, damaged in frames) > 0, bad
        for size, greys, _, _ in frames:
            assert (tuple(size), greys) == (FIRST, pytest.approx([40, 40, 220, 220] * 2, abs=6))
