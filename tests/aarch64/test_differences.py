"""The comparison of what two machines found."""

import copy
import json
import subprocess
import sys

import pytest
from shipped import ROOT

HERE = ROOT / "tests" / "aarch64"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, portraits):
    """The real ones, which `make test-aarch64` uses as well."""
    folder = tmp_path_factory.mktemp("pictures")
    subprocess.run([sys.executable, str(HERE / "results.py"), "pictures", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def result(pictures):
    done = subprocess.run([sys.executable, str(HERE / "results.py"), "found", str(pictures)], stdout=subprocess.PIPE)
    assert done.returncode == 0
    return json.loads(done.stdout)


@pytest.fixture
def compared(result, tmp_path):
    """Compares this machine's result with a changed copy: exit code and text."""

    def compare(change):
        other = copy.deepcopy(result)
        change(other["pictures"])
        paths = [tmp_path / "one.json", tmp_path / "other.json"]
        for path, content in zip(paths, (result, other)):
            path.write_text(json.dumps(content), encoding="utf-8")
        words = [sys.executable, str(HERE / "differences.py"), *map(str, paths)]
        done = subprocess.run(words, capture_output=True, text=True)
        return done.returncode, done.stdout

    return compare


def first_face(pictures):
    return pictures["Eileen Collins"]["faces"][0]


def more_similar(face, difference):
    face["similarity"] += difference


def test_the_pictures_show_named_and_unknown_people(result):
    names = {face["name"] for picture in result["pictures"].values() for face in picture["faces"]}
    assert names == {"Eileen Collins", "Grace Hopper", None}
    assert sum(len(picture["faces"]) for picture in result["pictures"].values()) == 27


def test_equal_results_and_small_differences_pass(compared):
    assert compared(lambda pictures: None)[0] == 0
    code, text = compared(
        lambda pictures: first_face(pictures).update(similarity=first_face(pictures)["similarity"] + 5e-4)
    )
    assert code == 0 and "similarity 5.0e-04" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda pictures: first_face(pictures).update(name="Grace Hopper"),
        lambda pictures: first_face(pictures).update(reason="odd"),
        lambda pictures: more_similar(first_face(pictures), 2e-3),
        lambda pictures: more_similar(first_face(pictures), float("nan")),
        lambda pictures: first_face(pictures)["landmarks_px"].pop(),
        lambda pictures: pictures["a crowd"]["faces"].pop(),
        lambda pictures: pictures.pop("a crowd"),
        lambda pictures: pictures["a crowd"].update(pixels="other"),
        lambda pictures: pictures.clear(),
    ],
    ids=["name", "reason", "similarity", "nan", "landmarks", "face", "picture", "pixels", "nothing"],
)
def test_any_other_difference_fails(compared, change):
    code, text = compared(change)
    assert code == 1 and len(text.splitlines()) >= 3
