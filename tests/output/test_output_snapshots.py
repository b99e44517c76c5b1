"""Single pictures on request."""

import cv2
import numpy as np
import pytest
from made_results import picture

from app.errors import OutputError
from app.output.snapshots import save_snapshot


def test_a_snapshot_can_be_read_back_from_a_unicode_path(tmp_path):
    path = save_snapshot(picture(), tmp_path / "Bilder 张伟", "front/door", 1_800_000_000.25)
    assert path == tmp_path / "Bilder 张伟" / "front_door_2027-01-15T080000.250Z.jpg"
    back = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert back.shape == (180, 320, 3) and np.abs(back.astype(int) - 90).max() <= 3


def test_a_png_is_exact(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = save_snapshot(noise, tmp_path, "c", 0.0, ".png")
    assert np.array_equal(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), noise)


def test_two_of_the_same_moment_are_two_files(tmp_path):
    paths = {save_snapshot(picture(), tmp_path, "front", 5.0) for _ in range(3)}
    assert len(paths) == 3 and all(path.exists() for path in paths)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        save_snapshot(picture(), tmp_path / "file" / "sub", "front", 0.0)
