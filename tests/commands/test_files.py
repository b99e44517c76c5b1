"""A command's file is written whole or not at all."""

import pytest

from app.commands.files import write_whole
from app.errors import OutputError


def test_file_is_replaced(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old", encoding="utf-8")
    write_whole(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "gone" / "figures.json", "text")
