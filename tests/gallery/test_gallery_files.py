"""Photos are written completely or not at all, and never replace others."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import GalleryError
from app.gallery.changing import LOCK_FILE
from app.gallery.files import add_photo, photos_by_person, remove_photos, rename_person


def test_a_photo_that_cannot_be_written_leaves_no_file(tmp_path):
    gallery = tmp_path / "gallery"
    with pytest.raises(GalleryError, match="too long"):
        add_photo(gallery, "Ann", f"{'x' * 300}.jpg", b"data")
    assert [path for path in gallery.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("length", [241, 300, 100_000])
def test_a_name_that_is_too_long_for_a_folder_is_refused(tmp_path, length):
    (tmp_path / "Ann").mkdir()
    with pytest.raises(GalleryError) as caught:
        add_photo(tmp_path, "x" * length, "photo.jpg", b"data")
    assert str(length) in str(caught.value) and len(str(caught.value)) < 300
    with pytest.raises(GalleryError):
        rename_person(tmp_path, "Ann", "x" * length)


def test_a_long_file_name_in_an_existing_folder_is_refused(tmp_path):
    add_photo(tmp_path, "Ann", "photo.jpg", b"one")
    with pytest.raises(GalleryError, match="too long"):
        add_photo(tmp_path, "Ann", f"{'x' * 300}.jpg", b"data")


@pytest.mark.parametrize("key", ["..", "../outside", "/tmp", ".hidden"])
def test_no_key_of_people_yaml_leads_out_of_the_gallery(tmp_path, key):
    gallery = tmp_path / "gallery"
    for folder in (gallery / ".hidden", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (gallery / "people.yaml").write_text(f'"{key}": Eve\n')
    assert add_photo(gallery, "Eve", "photo.jpg", b"data") == gallery / "Eve" / "photo.jpg"


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
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != LOCK_FILE] == ["x.jpg"]


def gallery_files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE
    )


def fill(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())


def test_a_folder_is_renamed_as_a_whole(tmp_path):
    fill(tmp_path, "Jose/1.jpg", "Jose/2023/x.jpg", "Jose/notes.txt", "Ann.jpg")
    before, after = rename_person(tmp_path, "Jose", "José García")
    assert gallery_files(tmp_path) == [
        "Ann.jpg",
        *sorted(f"José García/{n}" for n in ("1.jpg", "2023/x.jpg", "notes.txt")),
    ]
    assert len(before) == 2 and all(path.is_file() for path in after)
    assert list(photos_by_person(tmp_path)) == ["Ann", "José García"]


def test_loose_photos_get_a_folder_that_keeps_numbers_in_a_name(tmp_path):
    fill(tmp_path, "Bond.jpg", "Bond_2.jpg", "Bond/holiday.png")
    rename_person(tmp_path, "Bond", "Agent 47")
    assert {name: len(photos) for name, photos in photos_by_person(tmp_path).items()} == {"Agent 47": 3}
    assert not (tmp_path / "Bond").exists()


def test_two_names_of_one_person_are_merged_only_on_demand_and_no_photo_is_replaced(tmp_path):
    fill(tmp_path, "Ann/1.jpg", "Anna/1.jpg", "Anna/2.jpg")
    with pytest.raises(GalleryError, match="--merge"):
        rename_person(tmp_path, "Anna", "Ann")
    assert len(gallery_files(tmp_path)) == 3
    rename_person(tmp_path, "Anna", "Ann", merge=True)
    assert gallery_files(tmp_path) == ["Ann/1 (2).jpg", "Ann/1.jpg", "Ann/2.jpg"]
    assert (tmp_path / "Ann/1.jpg").read_bytes() == b"Ann/1.jpg"


def test_a_name_of_people_yaml_can_be_replaced(tmp_path):
    fill(tmp_path, "jg/1.jpg")
    (tmp_path / "people.yaml").write_text("jg: José\nEve: Eva\n", encoding="utf-8")
    rename_person(tmp_path, "José", "Pepe")
    assert list(photos_by_person(tmp_path)) == ["Pepe"]
    with pytest.raises(GalleryError, match=r"people\.yaml"):
        rename_person(tmp_path, "Pepe", "Eve")


@pytest.mark.parametrize("old, new", [("Bob", "Ben"), ("Ann", "a/b"), ("Ann", ""), ("Ann", "Ann"), ("Ann", ".hidden")])
def test_renaming_what_cannot_be_renamed_changes_nothing(tmp_path, old, new):
    fill(tmp_path, "Ann/1.jpg")
    with pytest.raises(GalleryError):
        rename_person(tmp_path, old, new)
    assert gallery_files(tmp_path) == ["Ann/1.jpg"]


def test_the_case_of_a_name_can_be_corrected(tmp_path):
    fill(tmp_path, "ann/1.jpg")
    rename_person(tmp_path, "ann", "Ann")
    assert gallery_files(tmp_path) == ["Ann/1.jpg"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from app.gallery.files import add_photo

os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
add_photo(Path({folder!r}), "Ann", "photo.jpg", b"a photo of Ann")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_half_a_photo_of_a_killed_program_is_deleted_with_the_person(tmp_path):
    add_photo(tmp_path, "Ann", "photo.jpg", b"another photo")
    source = KILLED.format(paths=[path for path in sys.path if path], folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "Ann").iterdir())) == 2, "one is half written"
    assert remove_photos(tmp_path, "Ann") == [tmp_path / "Ann" / "photo.jpg"]
    assert not (tmp_path / "Ann").exists()
