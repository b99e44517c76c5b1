"""The whole program on a camera with two streams: real RTSP servers; only the large one shows faces clearly."""

import json
import signal

import cv2
import numpy as np
from waiting import PATIENT_S, until

from app.tools.demo.portraits import crowd_picture

SMALL_WIDTH = 480
MIN_FACE_PX = 40
"""Faces have 24 pixels in the small stream."""


def test_people_are_named_with_the_pixels_of_the_large_stream(
    program, rtsp_server, portraits, people_gallery, config_file, tmp_path
):
    people = cv2.resize(crowd_picture(portraits, 3), (640, 360), interpolation=cv2.INTER_AREA)
    large = np.full((1080, 1920, 3), 110, np.uint8)
    large[200:560, 300:940] = people
    small = cv2.resize(large, (SMALL_WIDTH, 270), interpolation=cv2.INTER_AREA)
    urls = []
    for name, picture in (("large.jpg", large), ("small.jpg", small)):
        cv2.imwrite(str(tmp_path / name), picture)
        urls.append(rtsp_server("--picture", str(tmp_path / name)).url)
    with config_file.open("a", encoding="utf-8") as config:
        config.write(f"channels:\n  door:\n    capture:\n      substream: {urls[1]}\n")
        config.write(f"      open_timeout_s: {PATIENT_S}\n      read_timeout_s: {PATIENT_S}\n")
        # Where no frame of the large stream is near in time, as on a busy machine, that of the small one is compared.
        config.write(f"quality:\n  min_face_px: {MIN_FACE_PX}\n")
    log = tmp_path / "visits.jsonl"
    process = program("--rtsp", f"door={urls[0]}", "--gallery", people_gallery, "--events", log)

    def identified():
        assert process.poll() is None, process.stderr.read()
        written = log.read_bytes().rpartition(b"\n")[0] if log.is_file() else b""
        return [event for event in map(json.loads, written.splitlines()) if event["event"] == "identified"]

    until(lambda: {event["name"] for event in identified()} == {"Grace Hopper", "Eileen Collins"})
    named = identified()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    for event in named:
        width = event["box"][2] - event["box"][0]
        assert event["box"][2] <= SMALL_WIDTH, "the box is one of the small stream"
        assert event["quality"]["size_px"] > 2.5 * width, "compared with the pixels of the large stream"
