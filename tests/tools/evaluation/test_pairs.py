"""Lists of pairs: LFW's two kinds, CSV, and what is said of broken ones."""

import numpy as np
import pytest

from app.errors import SourceError
from app.tools.evaluation.pairs import find_pictures, read_pairs

LFW = "2\t1\nAnn\t1\t2\nAnn\t1\tBob B\t3\nBob B\t3\t12\nBob B\t12\tCid\t1\n"


@pytest.fixture
def listed(tmp_path):
    def write(text, name="pairs.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_folds_of_pairs_txt_are_kept(listed):
    found = read_pairs(listed(LFW))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("Ann_0001", "Ann_0002"),
        ("Ann_0001", "Bob B_0003"),
        ("Bob B_0003", "Bob B_0012"),
        ("Bob B_0012", "Cid_0001"),
    ]
    assert found.same.tolist() == [True, False, True, False]
    assert found.folds.tolist() == [0, 0, 1, 1]


def test_a_development_list_has_no_folds(listed):
    found = read_pairs(listed("2\nAnn\t1\t2\nAnn\t1\t3\nAnn\t1\tBob\t3\nBob\t1\tCid\t1\n"))
    assert found.same.tolist() == [True, True, False, False]
    assert found.folds is None


@pytest.mark.parametrize("header", ["", "image_a,image_b,same\n"])
def test_csv(listed, header):
    found = read_pairs(listed(f"{header}Ann_1,Ann_2,1\nb/Ann_1.png, Bob_1 ,false\n"))
    assert [(pair.first, pair.second, pair.same) for pair in found.pairs] == [
        ("Ann_1", "Ann_2", True),
        ("b/Ann_1.png", "Bob_1", False),
    ]
    assert found.folds is None


def test_what_a_windows_program_writes_is_read(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes("image_a,image_b,same\r\nÄnn_1,Ann_2,1\r\nAnn_1,Bob_1,0\r\n".encode("utf-8-sig"))
    assert read_pairs(path).pairs[0].first == "Änn_1"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the list of pairs is empty"),
        ("image_a,image_b,same\n", "no pairs"),
        ("image_a,image_b,same\na,b,1\na,b\n", ":3: expected image_a,image_b,same, not 'a,b'"),
        ("a,b,1\na,b,maybe\n", ":2: expected 1"),
        ("a,b,1\n", "the same person"),
        ("a,b,0\n", "different people"),
        ("hello\nworld\n", ":1: expected LFW's header"),
        ("1 2 3\n", ":1: expected LFW's header"),
        ("2\t1\nAnn\t1\t2\n", "4 lines, after the header; found 1"),
        ("²\n", ":1: expected LFW's header"),
        ("1\nAnn\t1\t²\nAnn\t1\tBob\t1\n", ":2: expected NAME N N or NAME N NAME N"),
        (f"a,b,1\n{'a' * 140_000},b,1\n", ":2: "),
        ("1\nAnn\t1\t2\nAnn\tx\tBob\t1\n", ":3: expected NAME N N or NAME N NAME N"),
        ("1\nAnn\t1\nAnn\t1\tBob\t1\n", ":2: expected NAME N N or NAME N NAME N"),
        ("1\nAnn\t1\tBob\t2\nAnn\t1\tBob\t1\n", ":2: expected NAME N N (one person)"),
    ],
)
def test_broken_lists(listed, text, message):
    path = listed(text)
    with pytest.raises(SourceError) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("header", ["image_a,image_b,same", "file1,file2,label", "A, B, Same"])
def test_a_header_of_a_csv_is_skipped(listed, header):
    found = read_pairs(listed(f"{header}\na_1,a_2,1\na_1,b_1,0\n", "pairs.csv"))
    assert [(pair.first, pair.same, pair.line) for pair in found.pairs] == [("a_1", True, 2), ("a_1", False, 3)]


def test_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        read_pairs(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"1\nJos\xe9\t1\t2\n")
    with pytest.raises(SourceError, match="UTF-8"):
        read_pairs(tmp_path / "latin.txt")


def test_pictures_are_found_in_either_layout_and_with_any_suffix(listed, tmp_path):
    for place in ("Ann/Ann_0001.jpg", "Ann_0002.png", "x/y.bmp"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    pairs = read_pairs(listed("Ann_0001,Ann_0002,1\nAnn_0001,x/y.bmp,0\n", "pairs.csv"))
    assert find_pictures(pairs, tmp_path) == {
        "Ann_0001": tmp_path / "Ann" / "Ann_0001.jpg",
        "Ann_0002": tmp_path / "Ann_0002.png",
        "x/y.bmp": tmp_path / "x" / "y.bmp",
    }


def test_all_missing_pictures_are_reported_at_once(listed, tmp_path):
    lines = "".join(f"a_{number},b_{number},{number % 2}\n" for number in range(4))
    pairs = read_pairs(listed(lines))
    with pytest.raises(SourceError) as caught:
        find_pictures(pairs, tmp_path)
    message = str(caught.value)
    assert f"{pairs.path}:1: no picture 'a_0'" in message
    assert "and 3 more" in message
    with pytest.raises(SourceError, match="no such folder"):
        find_pictures(pairs, tmp_path / "none")


def test_a_list_as_long_as_the_official_one(listed):
    lines = ["10\t300"]
    for fold in range(10):
        lines += [f"P{fold}\t{number}\t{number + 1}" for number in range(1, 301)]
        lines += [f"P{fold}\t{number}\tQ{fold}\t{number}" for number in range(1, 301)]
    found = read_pairs(listed("\n".join(lines) + "\n"))
    assert len(found.pairs) == 6000
    assert (np.bincount(found.folds) == 600).all()
    assert (np.bincount(found.folds[found.same]) == 300).all()
