import os
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from app.errors import GalleryError
from app.gallery.cache import CACHE_FILE, EmbeddingCache
from app.gallery.folder import SAVE_EVERY_S, STILL_COPYING_S, GalleryFolder, scan
from app.gallery.people import PhotoFinding
from app.types import Reason

ROOT_READS_EVERYTHING = not hasattr(os, "geteuid") or os.geteuid() == 0


class Examiner:
    """Reads photos whose bytes are `face X`; keeps what it was given."""

    def __init__(self):
        self.asked = []

    def __call__(self, data):
        self.asked.append(data)
        if data.startswith(b"face "):
            rng = np.random.default_rng(list(data))
            return PhotoFinding(Reason.USED, rng.normal(size=16).astype(np.float32), 1, 120, 80)
        if data.startswith(b"wall"):
            return PhotoFinding(Reason.NO_FACE, message="no face found")
        return PhotoFinding(Reason.UNREADABLE, message="not a picture")


@pytest.fixture
def examine():
    return Examiner()


@pytest.fixture
def put(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


@pytest.fixture
def folder(tmp_path, examine):
    return GalleryFolder(tmp_path, "model", examine)


def people_and_photos(gallery):
    return [(photo.person, photo.path, photo.finding.reason.value) for photo in gallery.photos]


def test_only_pictures_are_seen(tmp_path, put):
    for name in ("a.jpg", "b.JPEG", "c/d.png", "c/e/f.webp", "g.bmp", "h.tif", "i.TIFF"):
        put(name, b"face")
    for name in ("README.md", ".hidden.jpg", ".git/x.jpg", CACHE_FILE, "c/@eaDir/t.jpg", "notes.txt", "people.yaml"):
        put(name, b"other")
    found = scan(tmp_path)
    assert sorted(found.photos) == ["a.jpg", "b.JPEG", "c/d.png", "c/e/f.webp", "g.bmp", "h.tif", "i.TIFF"]
    assert found.problems == ()
    assert found.display_names is not None


def test_pictures_in_unsupported_formats_are_reported(tmp_path, put):
    put("Ann/IMG_1.NEF", b"x")
    (problem,) = scan(tmp_path).problems
    assert "Ann/IMG_1.NEF" in problem
    assert "JPEG" in problem


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(GalleryError, match="nowhere"):
        scan(tmp_path / "nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_but_never_in_circles(tmp_path, put):
    put("Ann/a.jpg", b"face")
    (tmp_path / "Ann" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert list(scan(tmp_path).photos) == ["Ann/a.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_out_of_the_gallery_are_reported_and_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "gallery"
    for place in (outside, folder):
        place.mkdir()
    (outside / "o.jpg").write_bytes(b"face")
    (folder / "Linked").symlink_to(outside)
    (folder / "Eve.jpg").symlink_to(outside / "o.jpg")
    (folder / "Zero.jpg").symlink_to("/dev/zero")
    found = scan(folder)
    assert found.photos == {}
    assert sorted(problem.partition(":")[0] for problem in found.problems) == ["Eve.jpg", "Linked", "Zero.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_reported_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "Eve.jpg")
    found = scan(tmp_path)
    assert found.photos == {}
    assert "Eve.jpg" in found.problems[0]


def test_only_new_and_changed_photos_are_examined(tmp_path, put, folder, examine):
    for name in ("same.jpg", "changed.jpg", "gone.jpg"):
        put(name, b"face " + name.encode())
    folder.refresh(100)
    examine.asked.clear()
    put("changed.jpg", b"face of another size")
    put("new.jpg", b"face new")
    (tmp_path / "gone.jpg").unlink()
    people = folder.refresh(101)
    assert sorted(examine.asked) == [b"face new", b"face of another size"]
    assert people.names == ("changed", "new", "same")


def test_an_empty_folder_is_an_empty_gallery(folder):
    gallery = folder.refresh(100)
    assert gallery.names == ()
    assert folder.refresh(101) is None


def test_every_photo_is_examined_once_and_reported(put, folder, examine):
    put("Ann_1.jpg", b"face 1")
    put("Ann_2.jpg", b"wall")
    put("Bob/x.jpg", b"rubbish")
    gallery = folder.refresh(100)
    assert people_and_photos(gallery) == [
        ("Ann", "Ann_1.jpg", "used"),
        ("Ann", "Ann_2.jpg", "no_face"),
        ("Bob", "Bob/x.jpg", "unreadable"),
    ]
    assert folder.refresh(100 + STILL_COPYING_S) is None
    count = len(examine.asked)
    assert folder.refresh(200) is None
    assert len(examine.asked) == count


def test_only_new_photos_are_examined_and_the_generation_grows(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    first = folder.refresh(100)
    put("Bob.jpg", b"face 2")
    second = folder.refresh(102)
    (tmp_path / "Ann.jpg").unlink()
    third = folder.refresh(104)
    assert examine.asked == [b"face 1", b"face 2"]
    assert [gallery.names for gallery in (first, second, third)] == [("Ann",), ("Ann", "Bob"), ("Bob",)]
    assert first.generation < second.generation < third.generation


def test_a_photo_under_a_new_name_is_not_examined_again(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    folder.refresh(100)
    (tmp_path / "Ann.jpg").rename(tmp_path / "Bob.jpg")
    assert folder.refresh(102).names == ("Bob",)
    assert len(examine.asked) == 1


def test_a_touched_photo_changes_nothing(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    folder.refresh(100)
    os.utime(str(tmp_path / "Ann.jpg"), (1, 1))
    assert folder.refresh(102) is None
    assert len(examine.asked) == 1


def test_the_same_bytes_in_two_files_are_examined_once(put, folder, examine):
    put("Ann.jpg", b"face 1")
    put("Bob.jpg", b"face 1")
    assert folder.refresh(100).names == ("Ann", "Bob")
    assert len(examine.asked) == 1


def test_a_restart_examines_nothing_again(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    put("Bob.jpg", b"wall")
    before = folder.refresh(100)
    after = GalleryFolder(tmp_path, "model", examine).refresh(200)
    assert len(examine.asked) == 2
    assert people_and_photos(after) == people_and_photos(before)
    np.testing.assert_array_equal(after.embeddings, before.embeddings)


@pytest.mark.slow
def until_changed(path, change):
    """The clock of a file system goes in steps of some milliseconds."""
    before = path.stat().st_ctime_ns
    until(lambda: path.stat().st_ctime_ns != before, change)


def test_a_restart_reads_only_files_that_have_changed(tmp_path, put, folder, monkeypatch):
    for number in range(4):
        put(f"Ann/{number}.jpg", b"face %d" % number)
    before = folder.refresh(100)
    one, two, three = (tmp_path / "Ann" / f"{number}.jpg" for number in (1, 2, 3))
    until_changed(one, lambda: one.write_bytes(b"face 9"))  # as long as before
    until_changed(two, lambda: os.utime(two))
    status = three.stat()
    until_changed(three, lambda: three.write_bytes(b"face 8"))
    until_changed(three, lambda: os.utime(three, ns=(status.st_atime_ns, status.st_mtime_ns)))
    read, read_bytes = [], Path.read_bytes

    def recorded(path):
        read.append(path.relative_to(tmp_path).as_posix())
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", recorded)
    after = GalleryFolder(tmp_path, "model", Examiner()).refresh(200)
    assert sorted(read) == [CACHE_FILE, "Ann/1.jpg", "Ann/2.jpg", "Ann/3.jpg"]
    hashes = [[photo.content_hash for photo in people.photos] for people in (before, after)]
    assert [old == new for old, new in zip(*hashes)] == [True, False, True, False]
    read.clear()
    GalleryFolder(tmp_path, "model", Examiner()).refresh(300)
    assert read == [CACHE_FILE]


def test_the_paths_of_removed_photos_leave_the_cache(tmp_path, put, folder):
    put("Ann/1.jpg", b"face 1")
    put("Bob/1.jpg", b"face 2")
    folder.refresh(100)
    assert b"Ann/1.jpg" in (tmp_path / CACHE_FILE).read_bytes()
    (tmp_path / "Ann" / "1.jpg").unlink()
    folder.refresh(200)
    assert b"Ann" not in (tmp_path / CACHE_FILE).read_bytes()


def test_ten_thousand_photos_at_once(tmp_path, put, folder, examine):
    folder.refresh(0.0)
    for number in range(10_000):
        put(f"person {number % 500}/{number}.jpg", b"face %d" % number)
    people = folder.refresh(1.0)
    assert (len(people.names), len(people.photos), len(people.embeddings)) == (500, 10_000, 10_000)
    again = Examiner()
    assert len(GalleryFolder(tmp_path, "model", again).refresh(2.0).photos) == 10_000
    assert (len(examine.asked), again.asked) == (10_000, [])


def test_another_model_examines_everything_again(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    folder.refresh(100)
    GalleryFolder(tmp_path, "another model", examine).refresh(200)
    assert len(examine.asked) == 2


def test_a_damaged_cache_is_replaced(tmp_path, put, folder, examine):
    put("Ann.jpg", b"face 1")
    folder.refresh(100)
    (tmp_path / CACHE_FILE).write_bytes(b"rubbish")
    assert GalleryFolder(tmp_path, "model", examine).refresh(200).names == ("Ann",)
    assert len(examine.asked) == 2
    GalleryFolder(tmp_path, "model", examine).refresh(300)
    assert len(examine.asked) == 2


def test_what_was_examined_before_an_interruption_is_not_examined_again(tmp_path, put):
    put("Ann.jpg", b"face 1")
    put("Bob.jpg", b"face 2")
    asked = []

    def interrupted(data):
        if asked:
            raise KeyboardInterrupt
        asked.append(data)
        return Examiner()(data)

    with pytest.raises(KeyboardInterrupt):
        GalleryFolder(tmp_path, "model", interrupted).refresh(100)
    examine = Examiner()
    GalleryFolder(tmp_path, "model", examine).refresh(200)
    assert examine.asked == [b"face 2"]


def test_while_many_photos_are_examined_what_was_found_is_saved_now_and_then(tmp_path, put):
    for number in range(40):
        put(f"{number:02d}.jpg", b"face %d" % number)
    now, sizes, asked = [0.0], [], []

    def slow(data):
        asked.append(data)
        cache = tmp_path / CACHE_FILE
        if cache.exists() and cache.stat().st_size not in sizes:
            sizes.append(cache.stat().st_size)
            after_a_kill = EmbeddingCache(cache, "model").load().findings
            assert len(after_a_kill) == len(asked) - 1
        now[0] += 1.0
        return Examiner()(data)

    GalleryFolder(tmp_path, "model", slow, clock=lambda: now[0]).refresh(100)
    assert len(sizes) == 40 / SAVE_EVERY_S - 1, "and once at the end"
    assert len(EmbeddingCache(tmp_path / CACHE_FILE, "model").load().findings) == 40


def test_a_cache_that_takes_long_to_write_is_written_less_often(tmp_path, put, monkeypatch):
    for number in range(60):
        put(f"{number:02d}.jpg", b"face %d" % number)
    now, saves = [0.0], []

    def examine(data):
        now[0] += 1.0
        return Examiner()(data)

    def save(self, cached):
        now[0] += 1.0
        saves.append(len(cached.findings))

    monkeypatch.setattr(EmbeddingCache, "save", save)
    GalleryFolder(tmp_path, "model", examine, clock=lambda: now[0]).refresh(100)
    assert saves == [5, 25, 45, 60], "every 20 s instead of 5 s"


def test_an_incomplete_photo_is_examined_again_when_it_has_grown(put, folder):
    put("Ann.jpg", b"fa")
    assert people_and_photos(folder.refresh(100)) == [("Ann", "Ann.jpg", "unreadable")]
    put("Ann.jpg", b"face 1")
    assert people_and_photos(folder.refresh(102)) == [("Ann", "Ann.jpg", "used")]


def test_an_unreadable_photo_is_examined_again_only_while_it_is_new(put, folder, examine):
    put("Ann.jpg", b"rubbish")
    folder.refresh(100)
    assert folder.refresh(102) is None
    assert folder.refresh(104) is None
    assert len(examine.asked) == 3
    folder.refresh(106)
    folder.refresh(1000)
    assert len(examine.asked) == 3


@pytest.mark.skipif(ROOT_READS_EVERYTHING, reason="root reads everything")
def test_a_photo_that_may_not_be_read_is_reported_and_read_once_it_may(tmp_path, put, folder):
    put("Ann.jpg", b"face 1")
    (tmp_path / "Ann.jpg").chmod(0)
    (photo,) = folder.refresh(100).photos
    assert photo.finding.reason is Reason.UNREADABLE
    assert "denied" in photo.finding.message
    folder.refresh(200)
    (tmp_path / "Ann.jpg").chmod(0o600)
    assert folder.refresh(300).photos[0].finding.reason is Reason.USED


def test_people_yaml_renames_people_while_it_runs(tmp_path, put, folder, examine):
    put("hopper/a.jpg", b"face 1")
    assert folder.refresh(100).names == ("hopper",)
    put("people.yaml", b"hopper: Grace Hopper\n")
    assert folder.refresh(102).names == ("Grace Hopper",)
    assert len(examine.asked) == 1


def test_a_broken_people_yaml_is_an_error_until_it_is_fixed(put, folder):
    put("Ann.jpg", b"face 1")
    put("people.yaml", b"Ann: [\n")
    for now in (100, 102):
        with pytest.raises(GalleryError, match=r"people\.yaml"):
            folder.refresh(now)
    put("people.yaml", b"Ann: Anna\n")
    assert folder.refresh(104).names == ("Anna",)


def test_problems_of_files_are_reported(put, folder):
    put("Ann.avif", b"x")
    folder.refresh(100)
    assert "Ann.avif" in folder.problems[0]


def test_progress_counts_the_photos_that_are_read(put, folder):
    put("Ann.jpg", b"face 1")
    put("Bob.jpg", b"face 2")
    seen = []
    folder.refresh(100, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_folder_that_vanishes_leaves_the_people_known_so_far(tmp_path, put, folder, examine):
    put("g/Ann.jpg", b"face 1")
    folder = GalleryFolder(tmp_path / "g", "model", examine)
    folder.refresh(100)
    (tmp_path / "g").rename(tmp_path / "away")
    with pytest.raises(GalleryError):
        folder.refresh(102)
    (tmp_path / "away").rename(tmp_path / "g")
    assert folder.refresh(104) is None


def test_who_is_deleted_by_another_program_while_photos_are_examined_does_not_stay_in_the_cache(tmp_path, put, examine):
    put("Ann.jpg", b"face Ann")
    put("Bob.jpg", b"face Bob")
    other = GalleryFolder(tmp_path, "model", examine)

    def forget_and_examine(data):
        if (tmp_path / "Bob.jpg").exists() and data == b"face Bob":
            (tmp_path / "Bob.jpg").unlink()
            other.refresh(100)
        return examine(data)

    people = GalleryFolder(tmp_path, "model", forget_and_examine).refresh(100)
    assert people.names == ("Ann",)
    assert len(EmbeddingCache(tmp_path / CACHE_FILE, "model").load().findings) == 1


def test_what_a_killed_program_has_left_half_written_is_deleted(tmp_path, put, folder):
    """A photo, and embeddings of everybody. Another program may be writing what is new."""
    left = ("Ann/.photo.jpg.abcd_123.part", f".{CACHE_FILE}.01234567.part", ".strangers/.journal.jsonl.abcdefgh.part")
    kept = ("Ann/.new.jpg.abcd_123.part", "Ann/.mine.part", "Ann/.photo.jpg", "Ann/a.jpg.abcdefgh.part")
    for name in (*left, *kept):
        put(name, b"face")
    for name in (*left, *kept[1:]):
        os.utime(tmp_path / name, (1.0, 1.0))
    folder.refresh(100)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)
