"""The gallery as a page: facts of planted photos, and the page of real ones."""

import re
import shutil

import numpy as np
import pytest
from made_galleries import copy_photos

from app.gallery.people import EnrolledPeople, PhotoFinding, PhotoRecord
from app.tools.gallery_report.facts import gallery_facts
from app.types import Reason

ANN, BOB, EVE, OTHER = np.eye(64, dtype=np.float32)[:4]


def photo(path, vector, content=None, reason=Reason.USED, px=150.0):
    finding = PhotoFinding(reason, vector, faces_found=1, face_px=px, sharpness=80)
    return PhotoRecord(path, path.split("/")[0], content or path, finding)


def facts_of(*photos, threshold=0.4):
    people = gallery_facts(EnrolledPeople(tuple(photos)), threshold)
    return {person.name: person for person in people}, {
        facts.photo.path: facts for person in people for facts in person.photos
    }


def test_a_photo_of_another_person_is_suspected():
    _, photos = facts_of(
        photo("Ann/1.jpg", ANN),
        photo("Ann/2.jpg", ANN + 0.5 * OTHER),
        photo("Ann/3.jpg", BOB + 0.5 * OTHER),
        photo("Bob/1.jpg", BOB),
    )
    assert [path for path, facts in photos.items() if facts.wrong_person] == ["Ann/3.jpg", "Bob/1.jpg"]
    assert photos["Ann/3.jpg"].other_photo.path == "Bob/1.jpg"
    assert photos["Ann/1.jpg"].own == pytest.approx(1 / np.sqrt(1.25))


def test_a_photo_that_resembles_no_other_of_its_person_is_suspected():
    _, photos = facts_of(
        photo("Ann/1.jpg", ANN), photo("Ann/2.jpg", ANN + 0.5 * BOB), photo("Ann/3.jpg", OTHER), photo("Eve/1.jpg", EVE)
    )
    assert [path for path, facts in photos.items() if facts.wrong_person] == ["Ann/3.jpg"]


def test_copies_are_named_and_do_not_count_as_another_look():
    people, photos = facts_of(
        photo("Ann/1.jpg", ANN), photo("Ann/2.jpg", ANN, content="Ann/1.jpg"), photo("Ann/3.jpg", ANN + 0.1 * BOB)
    )
    assert {path: facts.copy_of and facts.copy_of.path for path, facts in photos.items()} == {
        "Ann/1.jpg": None,
        "Ann/2.jpg": "Ann/1.jpg",
        "Ann/3.jpg": "Ann/1.jpg",
    }
    assert photos["Ann/3.jpg"].own is None
    assert len(people["Ann"].missing) == 1


def test_what_is_missing():
    rejected = PhotoRecord("Eve/1.jpg", "Eve", "eve", PhotoFinding(Reason.NO_FACE))
    many = [photo(f"Bob/{n}.jpg", BOB + 0.4 * np.eye(64, dtype=np.float32)[10 + n]) for n in range(3)]
    people, _ = facts_of(photo("Ann/1.jpg", ANN, px=60.0), rejected, *many)
    assert {name: len(person.missing) for name, person in people.items()} == {"Ann": 2, "Bob": 0, "Eve": 1}
    assert people["Ann"].nearest.other == pytest.approx(0, abs=1e-6) and people["Eve"].nearest is None


def test_the_page_contains_everything_and_nothing_from_elsewhere(answered, config_file, people_gallery, tmp_path):
    gallery = tmp_path / "gallery"
    copy_photos(people_gallery, gallery)
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", gallery / "Grace Hopper_7.jpg")
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", gallery / "Grace Hopper_<b>1.jpg")
    (gallery / "Nobody.jpg").write_bytes(b"not a picture")
    page = tmp_path / "report.html"
    code, out, err = answered("people", "check", "--report", page, "--config", config_file)
    assert f"written: {page}" in out
    assert code == 1, err  # one photo cannot be used
    html = page.read_text(encoding="utf-8")
    assert html.count("<figure>") == 7 and html.count("data:image/jpeg;base64,") == 6
    for fact in ("Grace Hopper", "Eileen Collins", "unreadable", ">copy<", "another person?", "&lt;b&gt;1.jpg"):
        assert fact in html
    assert not re.search(r"https?://|<script|<link|<b>1\.jpg", html)
    assert html.index("<h2>Nobody</h2>") < html.index("<h2>Eileen Collins</h2>")


def test_a_page_that_cannot_be_written_is_refused_at_once(answered, config_file, tmp_path):
    (tmp_path / "gallery").mkdir()
    code, _, err = answered("people", "check", "--report", tmp_path / "none" / "r.html", "--config", config_file)
    assert code == 2 and "none" in err
