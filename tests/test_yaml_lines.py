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
