"""A file is written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from app.files import write_whole


def test_what_stood_there_is_replaced(tmp_path):
    path = tmp_path / "engine"
    path.write_bytes(b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_can_be_for_its_owner_alone(tmp_path):
    write_whole(tmp_path / "mine", b"new", mode=0o600)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600


def test_nothing_half_written_is_left(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "file", b"new")


def test_ctrl_c_is_heard_even_if_the_file_just_got_its_place(tmp_path, monkeypatch):
    replace = Path.replace

    def interrupted(part, path):
        replace(part, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


def test_the_folder_is_on_the_disk_after_the_file_has_its_name(tmp_path, monkeypatch):
    """Else a power failure could bring back what was deleted from the file."""
    done = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replaced(part, path):
        done.append("name")
        return replace(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_whole(tmp_path / "file", b"new")
    assert done == ["file", "name", "folder"]
