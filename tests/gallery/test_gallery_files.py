"""Photos are added whole or not at all."""

import pytest

from app.errors import GalleryError
from app.gallery.files import add_photo


def test_a_photo_that_breaks_off_leaves_nothing_behind(tmp_path):
    breaking = tmp_path / "photo.jpg"
    breaking.symlink_to("/proc/self/mem")  # opens, and cannot be read from its beginning
    gallery = tmp_path / "gallery"
    with pytest.raises(GalleryError, match="cannot be copied"):
        add_photo(gallery, "Ann", breaking)
    assert [path for path in gallery.rglob("*") if not path.is_dir()] == []


def test_no_photo_is_replaced(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"one")
    first = add_photo(tmp_path / "gallery", "Ann", photo)
    photo.write_bytes(b"two")
    second = add_photo(tmp_path / "gallery", "Ann", photo)
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert second.name == "photo (2).jpg"
