"""Names of files: never over what is being read, never twice, and new every day where that is asked for."""

import dataclasses
import os
import time
from pathlib import Path

import pytest

from app.errors import OutputError
from app.output.opening import open_outputs
from app.output.paths import dated, refuse_collisions
from app.settings import OutputSettings

NOON = time.mktime((2026, 11, 21, 12, 5, 9, 0, 0, -1))


def test_date_and_time_in_a_name_are_those_of_the_start():
    assert dated(Path("out/visits-{date}_{time}.jsonl"), NOON) == Path("out/visits-2026-11-21_12-05-09.jsonl")
    assert dated(Path("plain.mp4"), NOON) == Path("plain.mp4")


def test_a_recording_that_is_read_is_not_written_over_under_any_of_its_names(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(film)
    os.link(film, tmp_path / "twin.mp4")
    for name in ("film.mp4", "link.mp4", "twin.mp4", "../" + tmp_path.name + "/film.mp4"):
        with pytest.raises(OutputError, match="is being read"):
            refuse_collisions([tmp_path / name], [film])
    refuse_collisions([tmp_path / "other.mp4"], [film])


def test_two_outputs_do_not_share_a_file(tmp_path):
    with pytest.raises(OutputError, match="named for two outputs"):
        refuse_collisions([tmp_path / "a", tmp_path / "b", tmp_path / "a"], [])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"save": "film.avi"}, r"ends in \.mp4"),
        ({"save": "tape.mp4"}, "is being read"),
        ({"save": "same.mp4", "events": "same.mp4"}, "two outputs"),
        ({"events": "folder"}, "is a folder"),
    ],
    ids=str,
)
def test_impossible_outputs_are_refused_before_the_run_and_nothing_is_touched(tmp_path, changes, complaint):
    (tmp_path / "tape.mp4").write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    paths = {key: tmp_path / name for key, name in changes.items()}
    settings = dataclasses.replace(OutputSettings(overwrite=True), **paths)
    with pytest.raises(OutputError, match=complaint):
        open_outputs(settings, ["door"], [tmp_path / "tape.mp4"], NOON)
    assert (tmp_path / "tape.mp4").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "tape.mp4"]
