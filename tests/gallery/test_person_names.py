import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GalleryError
from app.gallery.names import normalize, person_of, read_display_names


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("Ann.jpg", "Ann"),
        ("Ann_0.jpg", "Ann"),
        ("Ann0.jpg", "Ann"),
        ("Ann-2.jpg", "Ann"),
        ("Ann 3.jpg", "Ann"),
        ("Ann_0012.JPEG", "Ann"),
        ("Ann__1.jpg", "Ann_"),
        ("Ann_1_2.jpg", "Ann_1"),
        ("grace_hopper.jpg", "grace_hopper"),
        ("grace_hopper_1.png", "grace_hopper"),
        ("Grace Hopper 2.jpg", "Grace Hopper"),
        ("J. R. R. Tolkien.jpg", "J. R. R. Tolkien"),
        ("张伟.jpg", "张伟"),
        ("张伟2.jpg", "张伟"),
        ("José_1.jpg", "José"),
        ("007.jpg", "007"),
        ("_7.jpg", "_7"),
        (" 7.jpg", "7"),
        ("Ann/IMG_2041.jpg", "Ann"),
        ("Ann/2023/x.jpg", "Ann"),
        ("Agent 47/x.jpg", "Agent 47"),
        ("007/x.jpg", "007"),
    ],
)
def test_the_path_gives_the_person(path, person):
    assert person_of(PurePosixPath(path), {}) == person


def test_composed_and_decomposed_letters_are_one_person():
    decomposed = unicodedata.normalize("NFD", "José")
    assert person_of(PurePosixPath(f"{decomposed}_1.jpg"), {}) == "José"
    assert person_of(PurePosixPath(f"{decomposed}/a.jpg"), {}) == "José"


def test_a_name_that_is_not_unicode_can_still_be_shown_and_stored():
    person_of(PurePosixPath("Ann\udcff.jpg"), {}).encode("utf-8")


@pytest.mark.parametrize("key", ["agent_47.jpg", "agent_47", "agent"])
def test_display_names_are_found_by_file_by_stem_and_by_name(key):
    assert person_of(PurePosixPath("agent_47.jpg"), {key: "Tobias"}) == "Tobias"


def test_the_most_specific_display_name_counts():
    assert person_of(PurePosixPath("agent_47.jpg"), {"agent": "Ann", "agent_47": "Agent 47"}) == "Agent 47"


def test_folders_have_display_names():
    assert person_of(PurePosixPath("hopper/2023/x_1.jpg"), {"hopper": "Grace Hopper"}) == "Grace Hopper"


letters = st.text(st.characters(whitelist_categories=("Lu", "Ll", "Lo"), whitelist_characters="_-' ."), min_size=1)
names = letters.map(normalize).filter(lambda name: name.strip(" _-.") == name and name)
file_names = st.text(st.characters(blacklist_characters="/\0"), min_size=1).filter(lambda name: name not in (".", ".."))


@given(names, st.sampled_from(["", "_", "-", " "]), st.integers(0, 10**6), st.sampled_from([".jpg", ".PNG"]))
def test_photos_numbered_in_any_way_are_of_one_person(name, separator, number, suffix):
    assert person_of(PurePosixPath(f"{name}{separator}{number}{suffix}"), {}) == name
    assert person_of(PurePosixPath(f"{name}{suffix}"), {}) == name
    assert person_of(PurePosixPath(f"{name}/{number}{suffix}"), {}) == name


@given(file_names)
def test_every_name_of_a_file_gives_a_person_in_composed_letters(name):
    person = person_of(PurePosixPath(name + "x.jpg"), {})
    assert person
    assert person == normalize(person)


def test_a_gallery_without_people_yaml_has_no_display_names(tmp_path):
    assert read_display_names(tmp_path / "people.yaml") == {}


def test_display_names_are_taken_as_they_are_written(tmp_path):
    path = tmp_path / "people.yaml"
    path.write_text("# who is who\n007: James Bond\nhopper: 'Grace  Hopper'\nno: No\nzw: 张伟\n", encoding="utf-8")
    assert read_display_names(path) == {"007": "James Bond", "hopper": "Grace Hopper", "no": "No", "zw": "张伟"}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_people_yaml_has_no_names(tmp_path, text):
    path = tmp_path / "people.yaml"
    path.write_text(text)
    assert read_display_names(path) == {}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: A\nb:\n", 2, "the name to show for b"),
        ("a: A\nb: [B, C]\n", 2, "the name to show for b"),
        ("a: A\nb: B\na: C\n", 3, "first in line 1"),
        ("- a\n- b\n", 1, "lines"),
        ("a: A\nb: 'B\n", 3, "not valid YAML"),
        ("a: A\n? [x]\n: y\n", 2, "lines"),
    ],
)
def test_errors_in_people_yaml_name_file_and_line(tmp_path, text, line, says):
    path = tmp_path / "people.yaml"
    path.write_text(text)
    with pytest.raises(GalleryError) as caught:
        read_display_names(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)


def test_a_people_yaml_in_another_encoding_is_an_error(tmp_path):
    path = tmp_path / "people.yaml"
    path.write_bytes("a: José".encode("latin-1"))
    with pytest.raises(GalleryError, match="UTF-8"):
        read_display_names(path)
