"""The gallery from the command line."""

import re
import shutil

import cv2
import numpy as np
import pytest
from made_galleries import copy_photos


@pytest.fixture
def gallery(tmp_path, people_gallery):
    folder = tmp_path / "gallery"
    copy_photos(people_gallery, folder)
    return folder


def test_the_list_counts_photos_by_person(completed, gallery):
    code, out, _ = completed("people", "list")
    assert code == 0
    assert ["Eileen", "Collins", "2"] in [line.split() for line in out.splitlines()]


def test_the_list_names_files_that_are_not_supported(completed, gallery):
    (gallery / "Ann.avif").write_bytes(b"anything")
    code, out, _ = completed("people", "list")
    assert code == 0 and "Ann.avif" in out


def test_a_good_photo_is_added_under_its_persons_name(completed, gallery, portraits, tmp_path):
    photo = tmp_path / "new.png"
    cv2.imwrite(str(photo), portraits[1].image)
    code, out, err = completed("people", "add", "José García", photo)
    assert code == 0, err
    assert (gallery / "José García" / "new.png").is_file()
    assert "added as" in out


def test_a_photo_that_is_in_the_gallery_is_not_added_again(completed, gallery, people_gallery):
    code, out, _ = completed("people", "add", "Grace Hopper", people_gallery / "Grace Hopper_1.jpg")
    assert code == 0 and "already" in out and "Grace Hopper_1.jpg" in out
    assert not (gallery / "Grace Hopper").exists()


def test_a_photo_of_another_person_is_not_added_and_that_is_a_failure(completed, gallery, people_gallery):
    code, out, _ = completed("people", "add", "Bob", people_gallery / "Grace Hopper_1.jpg")
    assert code == 1
    assert "not added" in out and "Grace Hopper_1.jpg" in out
    assert not (gallery / "Bob").exists()


def test_a_photo_that_resembles_another_person_is_added_with_a_warning(completed, gallery, portraits, tmp_path):
    photo = tmp_path / "new.png"
    cv2.imwrite(str(photo), portraits[1].image)
    code, out, err = completed("people", "add", "Bob", photo)
    assert code == 0, err
    added, warning = out.splitlines()
    assert added == f"{photo}: added as gallery/Bob/new.png"
    assert warning.startswith("warning: Bob/new.png ") and "Grace Hopper" in warning
    assert re.search("warning: Bob .*Grace Hopper", completed("people", "check")[1])


def test_a_photo_that_resembles_none_of_its_persons_others_is_reported_when_added_and_checked(
    completed, gallery, people_gallery, portraits, tmp_path
):
    for name in ("Eileen Collins_1.jpg", "Eileen Collins_2.jpg"):
        (gallery / name).unlink()
    wrong = people_gallery / "Eileen Collins_1.jpg"
    code, out, err = completed("people", "add", "Grace Hopper", wrong)
    assert code == 0, err
    _, warning = out.splitlines()
    outlier = "warning: Grace Hopper/Eileen Collins_1.jpg resembles no other photo of Grace Hopper"
    assert warning.startswith(outlier)
    code, out, _ = completed("people", "check")
    assert code == 0 and out.count("warning: ") == 1 and outlier in out


def test_a_photo_is_the_same_persons_under_the_name_that_is_shown(completed, gallery, people_gallery):
    (gallery / "people.yaml").write_text("Grace Hopper: Admiral Hopper\n", encoding="utf-8")
    code, out, _ = completed("people", "add", "Grace Hopper", people_gallery / "Grace Hopper_1.jpg")
    assert code == 0 and "already" in out


def test_an_unusable_photo_is_not_added(completed, gallery, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    code, out, _ = completed("people", "add", "Ann", tmp_path / "broken.jpg")
    assert code == 1
    assert "not added" in out and not (gallery / "Ann").exists()


def test_nothing_is_added_when_arguments_are_wrong_and_all_are_reported(completed, gallery, portraits, tmp_path):
    cv2.imwrite(str(tmp_path / "new.png"), portraits[1].image)
    (tmp_path / "none here").mkdir()
    code, _, err = completed("people", "add", "a/b", tmp_path / "new.png", "gone.jpg", tmp_path / "none here")
    assert code == 2
    assert err.count("error: ") == 3
    assert all(wrong in err for wrong in ("'a/b'", "gone.jpg", "none here"))
    assert not list(gallery.rglob("new.png"))


def test_an_empty_gallery_is_shown_with_the_command_to_fill_it(completed, tmp_path):
    (tmp_path / "gallery").mkdir()
    for action in ("list", "check"):
        code, out, _ = completed("people", action)
        assert code == 0 and "people add NAME PHOTO" in out


def test_a_file_in_place_of_the_gallery_is_an_error(completed, tmp_path):
    (tmp_path / "gallery").write_text("no folder", encoding="utf-8")
    code, _, err = completed("people", "list")
    assert code == 2 and "no such folder" in err


@pytest.mark.parametrize(
    "words",
    [("list",), ("check",), ("add", "Ann", "ann.jpg"), ("strangers",), ("search", "ann.jpg"), ("export", "Ann", "x")],
)
def test_a_misspelt_gallery_is_an_error_and_is_not_created(completed, gallery, tmp_path, words):
    (tmp_path / "ann.jpg").write_bytes(next(gallery.rglob("*.jpg")).read_bytes())
    words = [str(tmp_path / word) if word.endswith(".jpg") else word for word in words]
    code, out, err = completed("people", *words, "--gallery", str(tmp_path / "galery"))
    assert (code, out) == (2, ""), err
    assert "'gallery'?" in err
    assert not (tmp_path / "galery").exists()


def test_a_person_is_removed_with_everything_that_was_computed(completed, gallery):
    completed("people", "check")
    size_before = (gallery / ".embeddings.cache").stat().st_size
    code, out, err = completed("people", "remove", "Grace Hopper", "--yes")
    assert code == 0, err
    assert out.count("deleted") == 2
    assert sorted(path.name for path in gallery.glob("*.jpg")) == ["Eileen Collins_1.jpg", "Eileen Collins_2.jpg"]
    assert (gallery / ".embeddings.cache").stat().st_size < size_before


def test_removing_needs_confirmation(completed, gallery):
    code, _, err = completed("people", "remove", "Grace Hopper")
    assert code == 2 and "--yes" in err and "error:" not in err
    assert len(list(gallery.glob("Grace*"))) == 2


def test_a_misspelt_name_is_an_error_with_a_suggestion(completed, gallery):
    code, _, err = completed("people", "remove", "Grace Hoper", "--yes")
    assert code == 2 and "'Grace Hopper'" in err


def test_the_check_passes_a_good_gallery(completed, gallery):
    code, out, err = completed("people", "check")
    assert code == 0, err
    assert "4 photos: 4 used, 0 rejected" in out


def test_the_check_names_each_rejected_photo_and_fails(completed, gallery):
    (gallery / "Ann.jpg").write_bytes(b"\xff\xd8\xff nothing")
    code, out, _ = completed("people", "check")
    assert code == 1
    assert "5 photos: 4 used, 1 rejected" in out
    (line,) = [line for line in out.splitlines() if line.startswith("Ann.jpg")]
    assert "unreadable" in line
    assert line.split()[3:5] == ["-", "-"], "a photo that cannot be read has neither a size nor a sharpness"


@pytest.fixture
def group(portraits, tmp_path):
    """A photo of Collins and, to the right of her, the stranger."""
    path = tmp_path / "group.png"
    cv2.imwrite(str(path), np.concatenate([portraits[0].image, portraits[2].image], axis=1))
    return path


def test_of_several_people_one_is_chosen_by_number(answered, config_file, group, tmp_path):
    folder, numbers = tmp_path / "gallery", tmp_path / "numbers.jpg"
    folder.mkdir()

    def add(*options):
        return answered("people", "add", "Eileen", group, "--config", config_file, *options)

    code, out, _ = add()
    assert code == 1 and "several_faces 2" in out and "--face N" in out
    code, out, _ = add("--preview", numbers)
    assert code == 0 and "2 faces" in out and cv2.imread(str(numbers)).shape == (512, 1024, 3)
    assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
    code, _, err = add("--face", "3")
    assert code == 2 and "no face 3" in err
    code, _, err = add("--preview", group)
    assert code == 2 and "itself" in err
    code, out, _ = add("--face", "1")
    assert code == 0 and (folder / "Eileen" / "group-face1.png").is_file()
    assert answered("people", "check", "--config", config_file)[0] == 0
    (folder / "Both.png").write_bytes(group.read_bytes())
    code, out, _ = answered("people", "check", "--config", config_file)
    assert code == 1 and "several_faces 2" in out


def test_all_photos_of_a_folder_are_added_and_counted(completed, gallery, portraits, people_gallery, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), portraits[1].image)
    cv2.imwrite(str(folder / "b.png"), np.full((200, 200, 3), 127, np.uint8))
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "c.jpg")
    (folder / "notes.txt").write_text("no photo", encoding="utf-8")
    code, out, err = completed("people", "add", "Grace Hopper", folder)
    assert code == 1, err
    assert "3 photos: 1 added, 1 in the gallery already, 1 not added" in out
    assert [path.name for path in (gallery / "Grace Hopper").iterdir()] == ["a.png"]


def test_a_person_is_renamed_and_recognised_by_the_new_name(completed, gallery, people_gallery):
    code, out, err = completed("people", "rename", "Grace Hopper", "Admiral Hopper")
    assert code == 0, err
    assert "gallery/Grace Hopper_1.jpg is now gallery/Admiral Hopper/Grace Hopper_1.jpg" in out
    code, out, _ = completed("people", "add", "Admiral Hopper", people_gallery / "Grace Hopper_1.jpg")
    assert code == 0 and "already" in out
    code, _, err = completed("people", "rename", "Eileen Colins", "Eileen")
    assert code == 2 and "Eileen Collins" in err, "the name that was meant is suggested"
    code, _, err = completed("people", "rename", "Admiral Hopper", "Eileen Collins")
    assert code == 2 and "--merge" in err
