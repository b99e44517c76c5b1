"""Recordings made for the tests."""

import cv2
import numpy as np
import pytest

from app.tools.soak.camera_process import CameraProcess


@pytest.fixture
def http_camera(tmp_path):
    """Motion JPEG over HTTP from a process to kill; its pictures show the time."""
    wall, head = tmp_path / "wall.png", tmp_path / "head.png"
    cv2.imwrite(str(wall), np.full((360, 640, 3), 90, np.uint8))
    cv2.imwrite(str(head), np.full((225, 200, 3), 120, np.uint8))
    process = CameraProcess("cam", wall, [head])
    yield process
    process.close()


@pytest.fixture
def recording(tmp_path):
    """Writes a video whose frame n (modulo 20) is a plain grey of brightness 30 + 10 n."""

    def write(name="clip.mp4", frames=20, fps=25.0, size=(64, 48), codec="mp4v"):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
        assert writer.isOpened()
        for number in range(frames):
            writer.write(np.full((size[1], size[0], 3), 30 + 10 * (number % 20), np.uint8))
        writer.release()
        return path

    return write
