import pytest

from app.errors import SettingsError
from app.settings.yaml_lines import read_yaml


def read(tmp_path, content):
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yaml(path, SettingsError)


def test_values_know_their_lines(tmp_path):
    ((section, node),) = read(tmp_path, "first:\n  number: 007\n\n  list: [1, a]\n").entries("the file")
    entries = {key.text: (value.line, value.text, value.value()) for key, value in node.entries("first")}
    assert section.place == f"{tmp_path}/some.yaml:1"
    assert entries == {"number": (2, "007", 7), "list": (4, "", [1, "a"])}


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_an_empty_file_has_no_root(tmp_path, content):
    assert read(tmp_path, content) is None


def test_null_has_no_entries(tmp_path):
    ((_, node),) = read(tmp_path, "first:\n").entries("the file")
    assert node.is_null and not list(node.entries("first"))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: 1\nb: \xff\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: [1\n", 2),
        ("a: 1\nb: \0\n", 2),
        ("- 1\n", 1),
        ("a: 1\n[b]: 2\n", 2),
        ("a: 1\nb: 2\na: 3\n", 3),
    ],
)
def test_mistakes_are_reported_with_their_line(tmp_path, content, line):
    with pytest.raises(SettingsError, match=rf"some.yaml:{line}: "):
        list(read(tmp_path, content).entries("the file"))


def test_a_value_that_cannot_be_constructed(tmp_path):
    ((_, node),) = read(tmp_path, "a: 2020-99-99\n").entries("the file")
    with pytest.raises(SettingsError, match=r"some.yaml:1: "):
        node.value()


def test_a_missing_file(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        read_yaml(tmp_path / "nowhere.yaml", SettingsError)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11)
)
"""Ten thousand million values when it is written out."""
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 11))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\nb: " + "[" * 20_000 + "]" * 20_000, 2),
        ("a: 1\nb: " + "{a: " * 5_000 + "}" * 5_000, 2),
        ("".join(" " * n + "-\n" for n in range(1_000)), r"\d+"),
        (BOMB, r"\d+"),
        (MERGES, r"\d+"),
        ("a: &a [1, *a]\n", 1),
        ("a: 1\nb: " + "x" * 100_000, 2),
        ("x" * 1_000 + ": 1\n", 1),
        ("a: 1\nb: *" + "x" * 100_000, 2),
    ],
    ids=["lists", "mappings", "indented", "aliases", "merges", "itself", "long value", "long key", "long alias"],
)
def test_a_file_that_would_take_for_ever_is_refused_with_a_line(tmp_path, content, line):
    with pytest.raises(SettingsError, match=rf"some.yaml:{line}: ") as caught:
        list(read(tmp_path, content).entries("the file"))
    assert len(str(caught.value)) < 1_000


def test_aliases_and_merges_are_fine_in_moderation(tmp_path):
    root = read(tmp_path, "a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\n")
    assert root.value() == {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 2, "y": [1, 2]}}


def test_a_file_of_many_megabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "some.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SettingsError, match=r"some\.yaml"):
        read_yaml(path, SettingsError)


def test_many_keys_are_read_in_reasonable_time(tmp_path):
    content = "".join(f"key{number}: {number}\n" for number in range(20_000))
    assert len(list(read(tmp_path, content).entries("the file"))) == 20_000


@pytest.mark.parametrize("number", ["9" * 5_000, "0x" + "f" * 5_000, ":".join(["1"] * 3_000), "1:" * 3_000 + "1.5"])
def test_a_number_without_end_is_refused(tmp_path, number):
    ((_, node),) = read(tmp_path, f"a: {number}\n").entries("the file")
    with pytest.raises(SettingsError, match=r"some.yaml:1: ") as caught:
        node.value()
    assert len(str(caught.value)) < 500
