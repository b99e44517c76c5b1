"""Who is in an archive, where is a person, and what are they called."""

import csv
import json
import os

import cv2
import numpy as np
import pyarrow.parquet as parquet
import pytest

from app.archive.appearances import appearances, largest_gap_s
from app.errors import ExitCode
from app.identity.grouping import grouped, members


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def csv_rows(path):
    assert path.stat().st_mode & 0o777 == 0o600, "it says who was where"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_faces_are_divided_into_people(archive, answered, config_file, tmp_path):
    """Three people, in each moment of the video and in several pictures."""
    sheet = tmp_path / "people.html"
    words = ("--sheet", sheet, "--times", tmp_path / "times.csv", "--json")
    code, out, err = answered("batch", "cluster", archive, *words, "--config", config_file)
    assert code == ExitCode.DONE, err
    groups = lines(out)
    rows = parquet.read_table(archive / "groups.parquet").to_pylist()
    of_video = {}
    for row in rows:
        if row["position_s"] is not None:
            of_video.setdefault(row["position_s"], set()).add(row["group"])
    assert len(of_video) == 4 and all(found == {1, 2, 3} for found in of_video.values())
    assert sum(group["faces"] for group in groups[:3]) == len(rows) == 25
    assert sheet.stat().st_mode & 0o777 == 0o600, "it shows faces"
    times = csv_rows(tmp_path / "times.csv")
    assert sorted((row["person"], row["video"].rpartition("/")[2]) for row in times) == [
        (f"group {number}", "people.mp4") for number in (1, 2, 3)
    ]
    assert {(row["from"], row["to"], row["moments"]) for row in times} == {("0:00.0", "0:01.5", "4")}
    page = sheet.read_text()
    assert page.count("data:image/jpeg") == sum(min(8, group["faces"]) for group in groups)


def test_a_person_is_found_by_a_photo(archive, answered, config_file, few_pictures, tmp_path):
    words = ("batch", "search", archive, few_pictures / "1.png", "--json", "--config", config_file)
    code, out, err = answered(*words)
    assert code == ExitCode.DONE, err
    found = lines(out)
    assert found[0]["similarity"] == pytest.approx(1, abs=0.001) and found[0]["file"].endswith("1.png")
    similarities = [face["similarity"] for face in found]
    assert similarities == sorted(similarities, reverse=True)
    same = {(face["file"].rpartition("/")[2], face["position_s"]) for face in found if face["same_person"]}
    pairs = {(f"{number}.png", None) for number in range(3, 8) if 1 in (number % 3, (number + 1) % 3)}
    moments = {("people.mp4", face["position_s"]) for face in found if face["position_s"] is not None}
    assert same == {("1.png", None)} | pairs | moments and len(moments) == 4
    _, out, _ = answered(*words, "--top", 1)
    assert lines(out) == found[:1]


def test_names_are_those_of_who(archive, answered, config_file, few_pictures, people_gallery, tmp_path):
    options = ("--gallery", people_gallery, "--config", config_file)
    left = archive / ".names.parquet.abcd_123.part"
    left.write_bytes(b"of a program that was killed")
    os.utime(left, (1.0, 1.0))
    code, out, err = answered("batch", "label", archive, "--json", "--times", tmp_path / "times.csv", *options)
    assert code == ExitCode.DONE, err
    times = csv_rows(tmp_path / "times.csv")
    assert [(row["person"], row["from_s"], row["to_s"], row["moments"]) for row in times] == [
        ("Eileen Collins", "0.0", "1.52", "4"),
        ("Grace Hopper", "0.0", "1.52", "4"),
    ]
    assert {person["name"] for person in lines(out)} == {"Eileen Collins", "Grace Hopper"}
    names = {}
    for row in parquet.read_table(archive / "names.parquet").to_pylist():
        names.setdefault(row["file"].rpartition("/")[2], []).append((str(row["name"]), row["reason"]))
    _, out, _ = answered("who", few_pictures, "--json", *options)
    by_who = {
        line["picture"].rpartition("/")[2]: sorted((str(face["name"]), face["reason"]) for face in line["faces"])
        for line in lines(out)
        if "faces" in line
    }
    assert len(by_who) == 7
    assert by_who == {file: sorted(names[file]) for file in by_who}
    assert not left.exists() and (archive / "names.parquet").stat().st_mode & 0o077 == 0


def test_moments_that_follow_one_another_are_one_range():
    seen = [
        ("Ann", "a.mp4", 0.0),
        ("Ben", "a.mp4", 0.0),
        ("Ann", "a.mp4", 10.0),
        ("Ann", "a.mp4", 10.0),
        ("Ann", "photo.jpg", None),
        ("Ann", "a.mp4", 21.0),
        ("Ann", "b.mp4", 22.0),
    ]
    assert sorted(appearances(seen, 10.0)) == [
        ("Ann", "a.mp4", 0.0, 10.0, 2),
        ("Ann", "a.mp4", 21.0, 21.0, 1),
        ("Ann", "b.mp4", 22.0, 22.0, 1),
        ("Ben", "a.mp4", 0.0, 0.0, 1),
    ]
    assert largest_gap_s(1.0, 10.0) == 10.0
    assert largest_gap_s(60.0, 10.0) == 150.0


def test_groups_are_compared_with_folders(answered, config_file, portraits, tmp_path):
    """Two pictures of each of two people, one of them in the other's folder."""
    pictures = tmp_path / "pictures"
    for name, portrait in (("Ann/1", 0), ("Ann/2", 0), ("Ann/3", 1), ("Ben/1", 1)):
        path = pictures / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), portraits[portrait].image)
    options = ("--config", config_file)
    assert answered("batch", pictures, "--out", tmp_path / "out", "--workers", 1, *options)[0] == ExitCode.DONE
    code, out, err = answered("batch", "cluster", tmp_path / "out", "--folders", "--json", *options)
    assert code == ExitCode.DONE, err
    assert lines(out)[0] == {"folders": 2, "precision": 0.5, "recall": pytest.approx(1 / 3)}


def test_an_archive_of_another_embedder_is_refused(archive, answered, config_file):
    words = ("--embedder", "w600k_mbf", "--config", config_file)
    code, _, err = answered("batch", "cluster", archive, *words)
    assert code == ExitCode.USER_ERROR and "mobilefacenet-" in err and "w600k_mbf-" in err


def planted(people, looks, spread, seed):
    """Unit vectors of people, in a random order, and whose they are."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(people, 128))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    who = random.permutation(np.repeat(np.arange(people), looks))
    vectors = centres[who] + random.normal(size=(len(who), 128)) * spread / np.sqrt(128)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who


@pytest.mark.parametrize("seed", range(3))
def test_planted_people_are_found_in_any_order(seed):
    vectors, who = planted(300, 7, 0.7, seed)
    groups = grouped(vectors, 0.44)
    assert len(np.unique(groups)) == 300
    for rows in members(groups):
        assert len(np.unique(who[rows])) == 1


def test_groups_are_numbered_by_size_and_nothing_is_no_group():
    vectors, _ = planted(3, 1, 0.0, 0)
    repeated = vectors[[0, 1, 1, 2, 2, 2]]
    assert grouped(repeated, 0.5).tolist() == [2, 1, 1, 0, 0, 0]
    assert grouped(np.empty((0, 128), np.float32), 0.5).tolist() == [] and members(np.empty(0, np.int64)) == []
