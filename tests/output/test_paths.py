"""Names of output files: never an input of the run, never the same twice, new every day on request."""

import dataclasses
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_results import picture

from app.assembly import open_outputs
from app.errors import OutputError
from app.files import dated
from app.output.paths import refuse_collisions, save_snapshot
from app.settings import OutputSettings, Settings

NOON = time.mktime((2026, 11, 21, 12, 5, 9, 0, 0, -1))


def test_date_and_time_in_a_name_are_those_of_the_start():
    assert dated(Path("out/visits-{date}_{time}.jsonl"), NOON) == Path("out/visits-2026-11-21_12-05-09.jsonl")
    assert dated(Path("plain.mp4"), NOON) == Path("plain.mp4")


def test_a_recording_that_is_read_is_not_overwritten_under_any_of_its_names(tmp_path):
    tape = tmp_path / "tape.mp4"
    tape.write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(tape)
    os.link(tape, tmp_path / "twin.mp4")
    for name in ("tape.mp4", "link.mp4", "twin.mp4", "../" + tmp_path.name + "/tape.mp4"):
        with pytest.raises(OutputError, match="input"):
            refuse_collisions([tmp_path / name], [tape])
    refuse_collisions([tmp_path / "other.mp4"], [tape])


def test_two_outputs_do_not_share_a_file(tmp_path):
    with pytest.raises(OutputError, match="two outputs"):
        refuse_collisions([tmp_path / "a", tmp_path / "b", tmp_path / "a"], [])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"save": "out.avi"}, r"out\.avi.*\.mp4"),
        ({"save": "tape.mp4"}, r"tape\.mp4 is an input"),
        ({"save": "same.mp4", "events": "same.mp4"}, "two outputs"),
        ({"events": "folder"}, "folder"),
    ],
    ids=str,
)
def test_impossible_outputs_are_refused_before_the_run_and_nothing_is_touched(tmp_path, changes, named):
    (tmp_path / "tape.mp4").write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    paths = {key: tmp_path / name for key, name in changes.items()}
    settings = Settings(output=dataclasses.replace(OutputSettings(overwrite=True), **paths))
    with pytest.raises(OutputError, match=named):
        open_outputs(settings, ["door"], [tmp_path / "tape.mp4"], NOON)
    assert (tmp_path / "tape.mp4").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "tape.mp4"]


def test_a_snapshot_can_be_read_back_from_a_unicode_path(tmp_path):
    path = save_snapshot(picture(), tmp_path / "Bilder 张伟", "front/door", 1_800_000_000.25)
    assert path == tmp_path / "Bilder 张伟" / "front_door_2027-01-15T080000.250Z.jpg"
    back = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert back.shape == (180, 320, 3) and np.abs(back.astype(int) - 90).max() <= 3


def test_a_png_is_exact(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = save_snapshot(noise, tmp_path, "c", 0.0, ".png")
    assert np.array_equal(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), noise)


def test_two_snapshots_with_the_same_time_are_two_files(tmp_path):
    paths = {save_snapshot(picture(), tmp_path, "front", 5.0) for _ in range(3)}
    assert len(paths) == 3 and all(path.exists() for path in paths)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        save_snapshot(picture(), tmp_path / "file" / "sub", "front", 0.0)


def test_on_a_full_disk_no_part_of_a_snapshot_is_left(small_disk):
    (small_disk / "ballast").write_bytes(bytes(2_900_000))
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with pytest.raises(OutputError, match="No space left"):
        save_snapshot(noise, small_disk, "door", NOON)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]
