"""Archives as Lance datasets. `make test-ray` installs Lance."""

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
from shipped import ROOT

from app import Recognizer, load_settings, read_picture
from app.errors import ExitCode

HAS_LANCE = importlib.util.find_spec("lance") is not None
needs_lance = pytest.mark.skipif(not HAS_LANCE, reason="make test-ray installs Lance")

EXPORT_THAT_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from app.archive.job import stored_job
from app.archive.to_lance import export
from app.settings import Settings

def kill(done, total):
    os.kill(os.getpid(), signal.SIGKILL)

out, target, replace = sys.argv[1:]
export(stored_job(Path(out), Settings()), Path(target), replace == "True", kill)
"""


@pytest.fixture
def dataset(archive, answered, tmp_path):
    """The archive's, and its folder."""
    import lance

    target = tmp_path / "faces.lance"
    code, out, err = answered("batch", "export", archive, "--lance", target)
    assert code == ExitCode.DONE and "25 faces" in out, err
    assert target.stat().st_mode & 0o777 == 0o700, "embeddings are personal data"
    return lance.dataset(str(target)), target


def export_killed(archive, target, replace):
    """Killed after the first part."""
    command = [sys.executable, "-c", EXPORT_THAT_IS_KILLED, *map(str, (archive, target, replace))]
    code = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    assert code == -signal.SIGKILL


@pytest.mark.skipif(HAS_LANCE, reason="Lance is installed")
def test_lance_is_asked_for(archive, answered, tmp_path):
    code, _, err = answered("batch", "export", archive, "--lance", tmp_path / "faces.lance")
    assert code == ExitCode.USER_ERROR and "pip install pylance" in err
    assert not list(tmp_path.glob("*.lance"))


def test_a_dataset_elsewhere_is_refused(archive, answered):
    code, out, err = answered("batch", "export", archive, "--lance", "s3://bucket/faces.lance")
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert "s3://bucket/faces.lance" in err


@needs_lance
def test_each_face_is_a_row_with_the_values_of_the_archive(archive, dataset):
    from app.archive.parts import part_files, read_rows

    columns = ["file", "position_s", "width", "height"]
    expected = [
        {**{name: row[name] for name in columns}, "face": number, **face}
        for path in part_files(archive)
        for row in read_rows(path, [*columns, "faces"])
        for number, face in enumerate(row["faces"])
    ]
    assert len(expected) == 25
    assert dataset[0].to_table().to_pylist() == expected
    field = dataset[0].schema.field("embedding").type
    assert (str(field.value_type), field.list_size) == ("float", len(expected[0]["embedding"]))
    job = json.loads((archive / "job.json").read_text())
    assert dataset[0].schema.metadata[b"embedder"].decode() == job["facts"]["embedder"]


@needs_lance
def test_the_nearest_faces_are_those_of_search(archive, dataset, answered, config_file, few_pictures):
    words = ("batch", "search", archive, few_pictures / "1.png", "--json", "--config", config_file)
    searched = [json.loads(line) for line in answered(*words)[1].splitlines()]
    same = [face for face in searched if face["same_person"]]
    with Recognizer.from_settings(load_settings(config_file)) as recognizer:
        image = read_picture(few_pictures / "1.png")
        (faces,) = recognizer.find([image])
        embedding = recognizer.embed(image, faces).embeddings[0]
    query = {"column": "embedding", "q": embedding, "k": len(same), "metric": "cosine"}
    found = dataset[0].to_table(nearest=query, filter="quality.size_px >= 1", prefilter=True).to_pylist()
    # Sorted, because some pictures are equal.
    assert sorted((face["file"], face["position_s"], round(face["x1"], 1)) for face in found) == sorted(
        (face["file"], face["position_s"], face["box"][0]) for face in same
    )
    similarities = [face["similarity"] for face in same]
    np.testing.assert_allclose([1 - face["_distance"] for face in found], similarities, atol=1e-3)


@needs_lance
def test_a_killed_export_leaves_nothing_under_the_name(archive, answered, tmp_path):
    import lance

    target = tmp_path / "faces.lance"
    export_killed(archive, target, replace=False)
    assert not target.exists()
    assert answered("batch", "export", archive, "--lance", target)[0] == ExitCode.DONE
    assert [path.name for path in tmp_path.glob("*.lance*")] == ["faces.lance"]
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert lance.dataset(str(target)).count_rows() == 25


@needs_lance
def test_a_dataset_is_replaced_on_request_only(archive, dataset, answered, tmp_path):
    import lance

    words = ("batch", "export", archive, "--lance", dataset[1])
    code, _, err = answered(*words)
    assert code == ExitCode.USER_ERROR and str(dataset[1]) in err and "--replace" in err
    export_killed(archive, dataset[1], replace=True)
    assert lance.dataset(str(dataset[1])).count_rows() == 25
    assert answered(*words, "--replace")[0] == ExitCode.DONE
    assert lance.dataset(str(dataset[1])).count_rows() == 25
    assert len(list((dataset[1] / "data").iterdir())) == 1, "neither the old version nor what was killed is left"

    other = tmp_path / "photos"
    other.mkdir()
    (other / "a.txt").touch()
    code, _, err = answered("batch", "export", archive, "--lance", other, "--replace")
    assert code == ExitCode.USER_ERROR and str(other) in err
    assert [path.name for path in other.iterdir()] == ["a.txt"]


@needs_lance
def test_a_damaged_part_is_named(archive, answered, tmp_path):
    copy = tmp_path / "archive"
    shutil.copytree(archive, copy)
    last = sorted(copy.glob("part-*"))[-1]
    data = bytearray(last.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)  # not the counts at its end
    last.write_bytes(data)
    code, _, err = answered("batch", "export", copy, "--lance", tmp_path / "faces.lance")
    assert code == ExitCode.USER_ERROR and str(last) in err
    assert not (tmp_path / "faces.lance").exists()


@needs_lance
def test_the_faces_of_finished_parts_are_exported_and_the_rest_is_said(archive, answered, tmp_path):
    import lance

    copy = tmp_path / "archive"
    shutil.copytree(archive, copy)
    (copy / "manifest.json").unlink()
    first, *others = sorted(copy.glob("part-*"))
    for part in others:
        part.unlink()
    code, out, err = answered("batch", "export", copy, "--lance", tmp_path / "faces.lance")
    assert code == ExitCode.INCOMPLETE and "not complete" in out, err
    faces = sum(len(row["faces"]) for row in parquet.read_table(first).to_pylist())
    assert 0 < lance.dataset(str(tmp_path / "faces.lance")).count_rows() == faces < 25


@needs_lance
def test_two_exports_do_not_write_the_same_dataset(archive, answered, tmp_path):
    folder = tmp_path / ".faces.lance.part"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    code, _, err = answered("batch", "export", archive, "--lance", tmp_path / "faces.lance")
    assert code == ExitCode.USER_ERROR and str(folder) in err and folder.is_dir()
    os.close(handle)
    assert answered("batch", "export", archive, "--lance", tmp_path / "faces.lance")[0] == ExitCode.DONE
