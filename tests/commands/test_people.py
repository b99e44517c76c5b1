"""The gallery from the command line."""

import shutil

import cv2
import pytest


@pytest.fixture
def gallery(tmp_path, people_gallery):
    folder = tmp_path / "gallery"
    shutil.copytree(people_gallery, folder)
    return folder


def test_the_list_counts_photos_by_person(completed, gallery):
    code, out, _ = completed("people", "list")
    assert code == 0
    assert ["Eileen", "Collins", "2"] in [line.split() for line in out.splitlines()]


def test_a_good_photo_is_added_under_its_persons_name(completed, gallery, portraits, tmp_path):
    photo = tmp_path / "new.png"
    cv2.imwrite(str(photo), portraits[1].image)
    code, out, err = completed("people", "add", "José García", photo)
    assert code == 0, err
    assert (gallery / "José García" / "new.png").is_file()
    assert "added as" in out


def test_a_photo_that_is_there_already_is_not_added_again(completed, gallery, people_gallery):
    code, out, _ = completed("people", "add", "Grace Hopper", people_gallery / "Grace Hopper_1.jpg")
    assert code == 0 and "is in the gallery already, as Grace Hopper_1.jpg" in out
    assert not (gallery / "Grace Hopper").exists()


def test_a_photo_of_somebody_else_is_not_added_and_that_is_a_failure(completed, gallery, people_gallery):
    code, out, _ = completed("people", "add", "Bob", people_gallery / "Grace Hopper_1.jpg")
    assert code == 1
    assert "not added: the same photo is already Grace Hopper's (Grace Hopper_1.jpg)" in out
    assert not (gallery / "Bob").exists()


def test_a_photo_that_looks_like_somebody_else_is_added_with_a_warning(completed, gallery, portraits, tmp_path):
    photo = tmp_path / "new.png"
    cv2.imwrite(str(photo), portraits[1].image)
    code, out, err = completed("people", "add", "Bob", photo)
    assert code == 0, err
    added, warning = out.splitlines()
    assert added == f"{photo}: added as gallery/Bob/new.png"
    assert warning.startswith("warning: gallery/Bob/new.png looks like Grace Hopper: a similarity of 0.")
    assert "with Grace Hopper_" in warning and "if it does not show Bob, delete it" in warning
    assert "warning: Bob and Grace Hopper look alike" in completed("people", "check")[1]


def test_a_photo_that_resembles_none_of_its_persons_others_is_told_when_added_and_checked(
    completed, gallery, people_gallery, portraits, tmp_path
):
    for name in ("Eileen Collins_1.jpg", "Eileen Collins_2.jpg"):
        (gallery / name).unlink()
    wrong = people_gallery / "Eileen Collins_1.jpg"
    code, out, err = completed("people", "add", "Grace Hopper", wrong)
    assert code == 0, err
    _, warning = out.splitlines()
    told = "Grace Hopper/Eileen Collins_1.jpg resembles no other photo of Grace Hopper: a similarity of "
    assert warning.startswith(f"warning: {told}")
    code, out, _ = completed("people", "check")
    assert code == 0 and out.count("warning: ") == 1 and f"warning: {told}" in out


def test_a_photo_is_the_same_persons_under_the_name_that_is_shown(completed, gallery, people_gallery):
    (gallery / "people.yaml").write_text("Grace Hopper: Admiral Hopper\n", encoding="utf-8")
    code, out, _ = completed("people", "add", "Grace Hopper", people_gallery / "Grace Hopper_1.jpg")
    assert code == 0 and "is in the gallery already" in out


def test_a_useless_photo_is_not_added_and_the_reason_is_said(completed, gallery, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    code, out, _ = completed("people", "add", "Ann", tmp_path / "broken.jpg")
    assert code == 1
    assert "refused" in out and not (gallery / "Ann").exists()


def test_nothing_is_added_when_something_is_wrong_and_all_of_it_is_told(completed, gallery, portraits, tmp_path):
    cv2.imwrite(str(tmp_path / "new.png"), portraits[1].image)
    code, _, err = completed("people", "add", "a/b", tmp_path / "new.png", "gone.jpg", tmp_path)
    assert code == 2
    assert err.count("error: ") == 3
    assert "'a/b' cannot be the name" in err and "gone.jpg cannot be read" in err and "Is a directory" in err
    assert not list(gallery.rglob("new.png"))


def test_an_empty_gallery_says_how_to_fill_it(completed, tmp_path):
    (tmp_path / "gallery").mkdir()
    for action in ("list", "check"):
        code, out, _ = completed("people", action)
        assert code == 0 and "nobody is enrolled" in out and "people add NAME IMG" in out


def test_a_file_in_place_of_the_gallery_is_told(completed, tmp_path):
    (tmp_path / "gallery").write_text("no folder", encoding="utf-8")
    code, _, err = completed("people", "list")
    assert code == 2 and "no such folder" in err


def test_a_person_is_removed_with_everything_that_was_computed(completed, gallery):
    completed("people", "check")
    size_before = (gallery / ".embeddings.cache").stat().st_size
    code, out, err = completed("people", "remove", "Grace Hopper", "--yes")
    assert code == 0, err
    assert out.count("deleted") == 2
    assert sorted(path.name for path in gallery.glob("*.jpg")) == ["Eileen Collins_1.jpg", "Eileen Collins_2.jpg"]
    assert (gallery / ".embeddings.cache").stat().st_size < size_before


def test_nobody_is_removed_without_being_asked(completed, gallery):
    code, _, err = completed("people", "remove", "Grace Hopper")
    assert code == 2 and "--yes" in err
    assert len(list(gallery.glob("Grace*"))) == 2


def test_a_misspelt_person_is_answered_with_the_nearest(completed, gallery):
    code, _, err = completed("people", "remove", "Grace Hoper", "--yes")
    assert code == 2 and "did you mean 'Grace Hopper'" in err


def test_the_check_passes_a_good_gallery(completed, gallery):
    code, out, err = completed("people", "check")
    assert code == 0, err
    assert "4 photos: 4 kept, 0 refused" in out


def test_the_check_names_each_refused_photo_and_fails(completed, gallery):
    (gallery / "Ann.jpg").write_bytes(b"\xff\xd8\xff nothing")
    code, out, _ = completed("people", "check")
    assert code == 1
    assert "5 photos: 4 kept, 1 refused" in out
    (line,) = [line for line in out.splitlines() if line.startswith("Ann.jpg")]
    assert "unreadable" in line
