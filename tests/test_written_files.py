"""What a command writes, and what it says where it cannot."""

from pathlib import Path

import pytest

from app.errors import AppError, OutputError
from app.files import check_writable, make_folder, write_text


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "figures.json", "new é")
    assert (tmp_path / "figures.json").read_bytes() == "new é".encode()


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "gone" / "figures.json", "text")


def test_places_where_nothing_can_be_written_are_told_beforehand(tmp_path):
    check_writable(None, tmp_path / "figures.json")
    with pytest.raises(OutputError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="regular file"):
        check_writable(Path("/dev/null"))
    with pytest.raises(AppError, match=r"gone"):
        check_writable(tmp_path, tmp_path / "gone" / "figures.json")


def test_a_folder_cannot_take_the_place_of_a_file(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be created"):
        make_folder(tmp_path / "file")
