"""The folder of recordings: names, and what is deleted when."""

import logging
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import OutputError
from app.output import recordings as module
from app.output.recordings import CLOCK_TRUSTED_AFTER_S, Recordings, Segment, segments_in, superfluous
from app.settings.recording import RecordSettings

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc).timestamp()
DAY_S = 86400.0


class Clock:
    def __init__(self, wall=NOON):
        self.wall, self.clock = wall, 1000.0

    def passes(self, seconds):
        self.wall += seconds
        self.clock += seconds


@pytest.fixture
def opened(monkeypatch):
    monkeypatch.setattr(module, "MIN_FREE_BYTES", 0)
    several = []

    def start(folder, clock=None, **settings):
        clock = clock or Clock()
        settings = RecordSettings(**{"min_free_gb": 0.0, "keep_days": None, **settings})
        several.append(Recordings(folder, settings, lambda: clock.wall, lambda: clock.clock))
        return several[-1]

    yield start
    for one in several:
        one.close()


def record(recordings, moment, size=1000, channel="door"):
    path = recordings.begin(channel, moment)
    path.write_bytes(size.to_bytes(4, "big") + b"mdatmoof".ljust(size - 4))
    recordings.end(path)
    return path


def names(folder):
    paths = (path for path in folder.rglob("*.m*") if path.is_file() and "linked" not in path.parts)
    return sorted(str(path.relative_to(folder)) for path in paths)


def test_names_are_sortable_and_say_channel_and_time_in_utc(opened, tmp_path):
    recordings = opened(tmp_path)
    moments = [NOON + 3600 * hour for hour in range(0, 48, 5)]
    paths = [record(recordings, moment) for moment in moments]
    assert paths[0] == tmp_path / "door/2026-11-30/door-2026-11-30T12-00-00Z.mp4"
    assert paths == sorted(paths)
    assert [segment.began_at for segment in sorted(segments_in(tmp_path))] == moments


def test_a_segment_is_never_written_over_another_one(opened, tmp_path):
    recordings = opened(tmp_path)
    first, second = record(recordings, NOON, 1234), record(recordings, NOON)
    assert (first.name, second.name) == ("door-2026-11-30T12-00-00Z.mp4", "door-2026-11-30T12-00-00Z-2.mp4")
    assert first.stat().st_size == 1234


def test_only_segments_of_this_program_are_deleted(opened, tmp_path):
    recordings, clock = opened(tmp_path, max_gb=0.001), Clock()
    others = [
        "door/2026-11-29/holiday.mp4",
        "door/2026-11-29/door-2026-11-29T12-00-00Z.mkv",
        "door/2026-11-29/yard-2026-11-29T12-00-00Z.mp4",
        "door/door-2026-11-29T12-00-00Z.mp4",
        "door/2026-11-28/door-2026-11-29T12-00-00Z.mp4",
        "door/2026-13-99/door-2026-13-99T12-00-00Z.mp4",
        "holiday.mp4",
    ]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(600_000))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.mp4").write_bytes(bytes(600_000))
    (tmp_path / "door/2026-11-29/door-2026-11-29T11-00-00Z.mp4").symlink_to(elsewhere / "mine.mp4")
    (tmp_path / "linked").symlink_to(tmp_path / "door")
    for hour in range(4):
        record(recordings, clock.wall - DAY_S + hour * 3600, 600_000)
    recordings.check()
    kept = {"door/2026-11-29/door-2026-11-29T15-00-00Z.mp4", "elsewhere/mine.mp4"}
    kept |= {"door/2026-11-29/door-2026-11-29T11-00-00Z.mp4", *others}
    assert set(names(tmp_path)) == kept


def test_what_is_too_old_is_deleted_with_its_empty_folders(opened, tmp_path):
    clock = Clock()
    recordings = opened(tmp_path, clock, keep_days=2.0)
    for day in range(5):
        record(recordings, clock.wall - day * DAY_S, channel="door")
    record(recordings, clock.wall - 4 * DAY_S, channel="removed camera")
    clock.passes(CLOCK_TRUSTED_AFTER_S + 1)
    recordings.check()
    assert [Path(name).parts[1] for name in names(tmp_path)] == ["2026-11-29", "2026-11-30"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".recordings", "door"]
    assert len(list((tmp_path / "door").iterdir())) == 2


def test_a_clock_that_is_years_ahead_for_a_moment_deletes_nothing(opened, tmp_path):
    clock = Clock()
    recordings = opened(tmp_path, clock)
    record(recordings, clock.wall)
    recordings.close()
    clock = Clock(NOON + 3650 * DAY_S)
    recordings = opened(tmp_path, clock, keep_days=30.0)
    recordings.check()
    assert len(names(tmp_path)) == 1, "it is ahead at the start"
    clock.wall = NOON + 60
    recordings.check()
    clock.passes(CLOCK_TRUSTED_AFTER_S + 1)
    recordings.check()
    clock.wall += 3650 * DAY_S
    recordings.check()
    assert len(names(tmp_path)) == 1, "it was set ahead during the run"
    clock.passes(CLOCK_TRUSTED_AFTER_S + 1)
    recordings.check()
    assert names(tmp_path) == []


def test_short_runs_delete_what_is_old_as_well(opened, tmp_path):
    clock = Clock()
    recordings = opened(tmp_path, clock, keep_days=1.0)
    record(recordings, clock.wall - 3 * DAY_S)
    record(recordings, clock.wall)
    recordings.close()
    again = opened(tmp_path, clock, keep_days=1.0)
    again.check()
    assert names(tmp_path) == ["door/2026-11-30/door-2026-11-30T12-00-00Z.mp4"]


SEGMENTS = st.lists(st.builds(Segment, st.floats(0, 1e6), st.uuids().map(lambda u: Path(str(u))), st.integers(0, 999)))


@given(SEGMENTS, st.none() | st.floats(0, 1e6), st.none() | st.integers(0, 9999), st.integers(-9, 5000), st.data())
def test_the_oldest_are_deleted_and_no_more_than_needed(segments, oldest, max_bytes, to_free, data):
    writing = data.draw(st.sets(st.sampled_from([one.path for one in segments]))) if segments else set()
    chosen = superfluous(segments, oldest, max_bytes, to_free, writing)
    left = [one for one in segments if one not in chosen]
    assert not {one.path for one in chosen} & writing
    may_go = [one for one in left if one.path not in writing]
    assert not chosen or not may_go or max(chosen) <= min(may_go)
    if may_go:
        assert oldest is None or min(may_go).began_at >= oldest
        assert max_bytes is None or sum(one.size for one in left) <= max_bytes
        assert sum(one.size for one in chosen) >= to_free
    if chosen and (oldest is None or chosen[-1].began_at >= oldest):
        fewer = chosen[:-1]
        size = sum(one.size for one in [*left, chosen[-1]])
        assert (max_bytes is not None and size > max_bytes) or sum(one.size for one in fewer) < to_free


def test_a_segment_that_is_being_written_stays(opened, tmp_path):
    recordings = opened(tmp_path, max_gb=0.001)
    path = recordings.begin("door", NOON)
    path.write_bytes(bytes(2_000_000))
    recordings.check()
    assert path.exists()
    recordings.end(path)
    recordings.check()
    assert not path.exists()


def test_a_second_program_is_refused_and_the_first_one_goes_on(opened, tmp_path):
    recordings = opened(tmp_path)
    with pytest.raises(OutputError, match="another program"):
        opened(tmp_path)
    recordings.check()
    assert recordings.paused is None
    recordings.close()
    opened(tmp_path)


def test_a_removed_folder_pauses_and_a_new_one_resumes(opened, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    recordings = opened(tmp_path / "videos")
    (tmp_path / "videos").rename(tmp_path / "moved")
    for _ in range(3):
        recordings.check()
    assert recordings.paused is not None and not (tmp_path / "videos").exists()
    (tmp_path / "videos").mkdir()
    recordings.check()
    assert recordings.paused is None
    record(recordings, NOON)
    assert len(names(tmp_path / "videos")) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def mounted(folder, size="8m"):
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder):
        pytest.skip("no rights to mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_is_unmounted_is_not_replaced_by_the_one_below(opened, small_disk):
    recordings = opened(small_disk)
    subprocess.run(["umount", "-l", str(small_disk)], check=True)
    recordings.check()
    assert recordings.paused is not None
    assert list(small_disk.iterdir()) == [], "nothing is written below"
    assert mounted(small_disk)
    recordings.check()
    assert recordings.paused is not None, "an empty disk may be any"
    (small_disk / ".recordings").touch()
    recordings.check()
    assert recordings.paused is None


@pytest.mark.parametrize("when_full", ["delete", "pause"])
def test_a_full_disk_gets_room_by_deleting_or_recording_pauses(opened, small_disk, when_full, caplog):
    caplog.set_level(logging.WARNING)
    recordings = opened(small_disk, min_free_gb=0.003, when_full=when_full)
    paths = [record(recordings, NOON + minute * 60, 1_000_000) for minute in range(7)]
    recordings.check()
    there = [path.exists() for path in paths]
    if when_full == "delete":
        assert there == [False] * 2 + [True] * 5 or there == [False] * 3 + [True] * 4
        assert recordings.paused is None and caplog.records == []
        return
    assert all(there) and recordings.paused is not None
    for path in paths[:4]:
        path.unlink()
    recordings.check()
    assert recordings.paused is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_nothing_is_deleted_where_that_would_not_make_enough_room(opened, small_disk):
    recordings = opened(small_disk, min_free_gb=0.006)
    (small_disk / "films").write_bytes(bytes(5_000_000))
    paths = [record(recordings, NOON + minute * 60, 500_000) for minute in range(4)]
    recordings.check()
    assert all(path.exists() for path in paths) and recordings.paused is not None
    (small_disk / "films").write_bytes(bytes(500_000))
    recordings.check()
    assert recordings.paused is None
    assert [path.exists() for path in paths] in ([False] + 3 * [True], 2 * [False] + 2 * [True])


def test_segments_without_a_picture_are_removed_at_the_next_start(opened, tmp_path):
    recordings = opened(tmp_path)
    complete = record(recordings, NOON)
    for channel in ("door", "yard"):
        recordings.begin(channel, NOON + 60).write_bytes(b"\0\0\0\x08ftyp\0\0\0\x08moov")
    recordings.close()
    opened(tmp_path)
    assert names(tmp_path) == [str(complete.relative_to(tmp_path))]


def test_a_folder_that_cannot_be_written_is_refused(opened, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        opened(tmp_path / "file" / "videos")
