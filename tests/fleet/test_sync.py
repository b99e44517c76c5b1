"""Devices exchange their folders through a real database, and agree in the end."""

import os
import random
import shutil

import pytest
from shared_devices import agree

from app.database.gallery import SharedGallery
from app.errors import GalleryError
from app.fleet.decisions import conflicts_here, decide


def test_a_photo_that_is_added_on_a_device_is_an_ordinary_file_on_the_others(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    assert (b.folder / "Ann/1.jpg").read_bytes() == photo(0)
    assert b.gallery.people.names == ("Ann",)
    assert len(b.gallery.index) == 1


def test_a_photo_that_is_deleted_on_a_device_is_deleted_everywhere_with_what_was_computed_of_it(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Ann/2.jpg", photo(1))
    agree(a, b)
    b.delete("Ann/1.jpg")
    agree(b, a)
    assert a.files() == b.files() == [("Ann", photo(1))]
    assert rows("select count(*) from embedding") == [(1,)]
    b.delete("Ann/2.jpg")
    agree(b, a)
    assert a.files() == []
    assert rows("select count(data), count(crop), count(person), max(length(file_name)) from photo") == [(0, 0, 0, 0)]
    assert rows("select count(name) from person") == [(0,)]


def test_a_person_who_is_renamed_is_renamed_everywhere(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Ann/2.jpg", photo(1))
    agree(a, b)
    b.rename("Ann", "Anna")
    agree(b, a)
    assert a.people() == ["Anna"]
    assert rows("select name from person") == [("Anna",)]


def test_a_photo_that_is_given_to_another_person_moves_everywhere(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Ann/2.jpg", photo(2))
    agree(a, b)
    b.move("Ann/2.jpg", "Eva")
    agree(b, a)
    assert a.files() == b.files() == sorted([("Ann", photo(0)), ("Eva", photo(2))])


def test_two_people_who_become_one_are_one_everywhere(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Anna/1.jpg", photo(1))
    agree(a, b)
    b.move("Ann/1.jpg", "Eva")
    b.move("Anna/1.jpg", "Eva")
    agree(b, a)
    assert a.people() == b.people() == ["Eva"]
    assert len(a.files()) == 2


def test_the_same_photo_from_two_devices_is_shared_once(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    b.put("Ann/other.jpg", photo(0))
    agree(a, b)
    assert a.files() == b.files() == [("Ann", photo(0))]
    assert rows("select count(*) from photo") == [(1,)]
    assert rows("select count(*) from conflict") == [(0,)]


@pytest.mark.parametrize("keep_mine", [True, False])
def test_two_names_that_were_given_offline_are_a_conflict_until_somebody_decides(two, photo, keep_mine):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    a.rename("Ann", "Anna")
    b.rename("Ann", "Hanna")
    agree(a, b)
    assert (a.people(), b.people()) == (["Anna"], ["Hanna"])
    (conflict,) = conflicts_here(b.folder)
    assert (conflict.mine, conflict.theirs) == ("Hanna", "Anna")
    with a.shared() as shared:
        assert [(row.device, row.mine, row.theirs) for row in shared.conflicts()] == [("b", "Hanna", "Anna")]
    b.put("Hanna/2.jpg", photo(1))  # meanwhile nothing else stops
    agree(b, a)
    assert a.files() == sorted([("Anna", photo(0)), ("Anna", photo(1))])
    decide(b.settings, 1, keep_mine)
    agree(b, a)
    name = "Hanna" if keep_mine else "Anna"
    assert (a.people(), b.people()) == ([name], [name])
    with a.shared() as shared:
        assert shared.conflicts() == []


@pytest.mark.parametrize("keep_mine", [True, False])
def test_a_photo_that_is_of_different_people_is_a_conflict(two, photo, keep_mine):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    b.put("Eva/1.jpg", photo(0))
    agree(a, b)
    assert (a.people(), b.people()) == (["Ann"], ["Eva"])
    (conflict,) = conflicts_here(b.folder)
    assert (conflict.mine, conflict.theirs) == ("Eva", "Ann")
    decide(b.settings, 1, keep_mine)
    agree(b, a)
    assert a.people() == b.people() == [["Ann"], ["Eva"]][keep_mine]
    assert conflicts_here(b.folder) == []


def test_copies_of_a_photo_leave_its_conflicts_as_they_are(two, photo):
    a, b = two
    b.put("Hanna/1.jpg", photo(0))
    a.put("Anna/1.jpg", photo(0))
    a.put("Eva/2.jpg", photo(1))
    b.put("Ida/2.jpg", photo(1))
    a.put("Mia/3.jpg", photo(2))
    agree(a, b)
    a.rename("Mia", "Mina")
    b.rename("Mia", "Nina")
    agree(a, b)
    before = conflicts_here(b.folder)
    assert sorted((one.mine, one.theirs) for one in before) == [("Hanna", "Anna"), ("Ida", "Eva"), ("Nina", "Mina")]
    for number, content in enumerate((photo(0), photo(1), photo(2))):
        b.put(f"Ada/{number}.jpg", content)
    agree(b, a)
    assert conflicts_here(b.folder) == before


@pytest.mark.parametrize("keep_mine", [True, False])
def test_a_photo_that_was_deleted_before_its_conflict_was_decided_comes_back(two, photo, keep_mine):
    """Its deletion was never sent: the two devices had not agreed about it."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    b.put("Eva/1.jpg", photo(0))
    agree(a, b)
    b.delete("Eva/1.jpg")
    agree(b, a)
    decide(b.settings, 1, keep_mine)
    agree(b, a)
    assert a.people() == b.people() == ["Ann"]


def test_a_conflict_ends_when_both_have_the_same_name(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    a.rename("Ann", "Anna")
    b.rename("Ann", "Hanna")
    agree(a, b)
    a.rename("Anna", "Hanna")
    agree(a, b)
    assert a.people() == b.people() == ["Hanna"]
    assert conflicts_here(b.folder) == []


def test_a_photo_whose_person_gets_the_name_that_it_has_here_is_no_conflict_any_more(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    b.put("Anna/1.jpg", photo(0))
    agree(a, b)
    assert len(conflicts_here(b.folder)) == 1
    a.rename("Ann", "Anna")
    agree(a, b)
    assert a.people() == b.people() == ["Anna"]
    assert conflicts_here(b.folder) == []


def test_a_person_who_is_renamed_while_the_photo_is_being_sent_is_renamed(two, photo, monkeypatch):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    aligned = a.gallery.aligned

    def rename_first(data):
        a.rename("Ann", "Anna")
        return aligned(data)

    monkeypatch.setattr(a.gallery, "aligned", rename_first)
    a.exchange()
    agree(a, b)
    assert a.people() == b.people() == ["Anna"]
    assert conflicts_here(a.folder) == []


def test_a_decision_about_a_conflict_that_does_not_exist_is_refused(two):
    with pytest.raises(GalleryError):
        decide(two[0].settings, 1, True)


def test_a_person_who_became_another_does_not_take_late_photos_along(two, photo):
    """Nobody was deleted, so nothing is."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    b.put("Ann/2.jpg", photo(1))
    a.move("Ann/1.jpg", "Eva")
    agree(a, b)
    assert a.files() == b.files()
    assert len(a.files()) == 3


def test_a_folder_that_was_emptied_deletes_nothing_elsewhere_without_a_question(two, photo):
    a, b = two
    for number in range(12):
        a.put(f"Ann/{number}.jpg", photo(number))
    agree(a, b)
    shutil.rmtree(a.folder / "Ann")
    assert a.exchange().held_back == 12
    agree(b, a)
    assert len(b.files()) == 12
    assert a.exchange(remove_many=True).held_back == 0
    agree(b, a)
    assert b.files() == []


def test_a_file_whose_name_is_not_utf_8_is_shared(two, photo):
    a, b = two
    a.put(os.fsdecode(b"Ann/J\xf6rg.jpg"), photo(0))
    agree(a, b)
    assert b.files() == [("Ann", photo(0))]
    a.delete(os.fsdecode(b"Ann/J\xf6rg.jpg"))
    agree(a, b)
    assert b.files() == []


def test_each_embedder_has_embeddings_of_its_own(two, photo, rows):
    import dataclasses

    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.exchange()
    b.gallery.recognizer = dataclasses.replace(b.recognizer, embedder_id="another")
    b.exchange()
    assert rows("select count(distinct embedder), count(distinct photo), count(*) from embedding") == [(2, 1, 2)]


def test_the_aligned_face_is_stored_with_the_photo(two, photo, rows):
    import cv2
    import numpy as np

    a, _ = two
    a.put("Ann/1.jpg", photo(0))
    a.exchange()
    ((crop, vector),) = rows("select crop, vector from photo join embedding on photo = sha256")
    face = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR)
    embedding = a.recognizer.embed_crops(face[None])[0]
    assert float(embedding @ np.frombuffer(vector, "<f4")) > 0.95


def test_a_damaged_or_dangerous_photo_of_the_database_is_not_written(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    a.exchange()
    rows("update photo set data = 'x' where person = (select id from person where name = 'Ann')")
    rows("update photo set file_name = '../../run.sh' where person = (select id from person where name = 'Eva')")
    assert len(b.exchange().problems) == 2
    assert b.files() == []
    rows("update photo set file_name = '../../good.jpg' where person = (select id from person where name = 'Eva')")
    b.exchange()
    assert (b.folder / "Eva/good.jpg").read_bytes() == photo(2)


def test_a_photo_that_cannot_be_written_is_not_fetched_with_each_exchange(two, photo, rows, monkeypatch):
    """Its person is shown under a name that no folder can have, or its bytes are damaged."""
    a, b = two
    (a.folder / "people.yaml").write_text("acdc: AC/DC\n")
    a.put("acdc/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    a.exchange()
    rows("update photo set data = 'x' where person = (select id from person where name = 'Eva')")
    fetched = []
    data = SharedGallery.data
    monkeypatch.setattr(SharedGallery, "data", lambda shared, sha256: fetched.append(sha256) or data(shared, sha256))
    first = b.exchange()
    assert len(first.problems) == 2
    assert "people.yaml" in first.trouble
    a.put("Ida/1.jpg", photo(1))
    a.exchange()
    assert b.exchange().trouble == first.trouble
    assert len(fetched) == 2  # the damaged one and the new one
    assert b.people() == ["Ida"]
    (b.folder / "acdc").mkdir()
    (b.folder / "people.yaml").write_text("acdc: AC/DC\n")
    b.exchange()
    assert (b.folder / "acdc/1.jpg").read_bytes() == photo(0)


def test_a_folder_that_is_shown_under_another_name_renames_the_person_everywhere(two, photo):
    """People are their names, and the name is the one that is shown."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    (a.folder / "people.yaml").write_text("Ann: Anna Bell\n")
    agree(a, b)
    assert b.people() == ["Anna Bell"]
    assert a.people() == ["Ann"]
    b.rename("Anna Bell", "Eva")
    agree(b, a)
    assert a.gallery.people.names == b.gallery.people.names == ("Eva",)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_devices_that_change_their_folders_at_random_agree_in_the_end(device, photo, seed):
    """Deletions, names and new photos, offline and in any order; conflicts are decided in favour of others."""
    chance = random.Random(seed)
    devices = [device(name) for name in "abc"]
    for _ in range(40):
        one = chance.choice(devices)
        files = sorted(path for path in one.folder.glob("*/*") if not path.parent.name.startswith("."))
        action = chance.choice(["add", "add", "delete", "move", "rename", "exchange", "exchange"])
        if action == "add":
            number = chance.randrange(8)
            if photo(number) not in [content for _, content in one.files()]:
                one.put(f"{chance.choice(['Ann', 'Eva'])}/{number}.jpg", photo(number))
        elif action == "exchange":
            one.exchange()
        elif files:
            path = chance.choice(files).relative_to(one.folder)
            name = chance.choice(["Ann", "Eva", "Ida"])
            if action == "delete":
                one.delete(path)
            elif action == "move" and path.parts[0] != name:
                one.move(path, name)
            elif action == "rename" and not (one.folder / name).exists():
                one.rename(path.parts[0], name)
    for _ in range(4):
        for one in devices:
            one.exchange()
            while conflicts_here(one.folder):
                decide(one.settings, 1, False)
    agree(*devices)
    assert devices[0].files() == devices[1].files() == devices[2].files()
    assert not any(conflicts_here(one.folder) for one in devices)
    with devices[0].shared() as shared:
        assert shared.size().photos == len(devices[0].files())
