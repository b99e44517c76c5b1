"""Photos are written completely or not at all, and never replace others."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import GalleryError
from app.gallery.files import add_photo


def test_a_photo_that_cannot_be_written_leaves_no_file(tmp_path):
    gallery = tmp_path / "gallery"
    with pytest.raises(GalleryError, match="too long"):
        add_photo(gallery, "Ann", f"{'x' * 300}.jpg", b"data")
    assert [path for path in gallery.rglob("*") if not path.is_dir()] == []


def test_no_photo_is_replaced(tmp_path):
    first = add_photo(tmp_path / "gallery", "Ann", "photo.jpg", b"one")
    second = add_photo(tmp_path / "gallery", "Ann", "photo.jpg", b"two")
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert second.name == "photo (2).jpg"
    assert sorted(path.name for path in first.parent.iterdir()) == ["photo (2).jpg", "photo.jpg"]


def test_no_photo_is_replaced_by_one_that_is_added_at_the_same_time(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda number: add_photo(tmp_path, "Ann", "photo.jpg", b"%d" % number), range(40)))
    assert sorted(int(path.read_bytes()) for path in paths) == list(range(40))


@pytest.mark.parametrize("filename", ["../../x.jpg", "/etc/x.jpg", "..\\..\\x.jpg", ".x.jpg", "../.x.jpg"])
def test_no_file_name_leads_out_of_the_folder_or_is_hidden(tmp_path, filename):
    assert add_photo(tmp_path, "Ann", filename, b"data") == tmp_path / "Ann" / "x.jpg"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.jpg"]
