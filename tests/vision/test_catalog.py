"""The catalogue: what it accepts, and what it says to what it does not."""

import hashlib

import pytest
import yaml

from app.errors import ModelError
from app.vision.catalog import read_catalog

DETECTOR = {
    "task": "detection",
    "family": "retinaface",
    "file": "net.onnx",
    "sha256": hashlib.sha256(b"weights").hexdigest(),
    "channels": "bgr",
    "mean": [104, 117, 123],
    "divisor": 1,
    "min_sizes": [[16, 32], [64, 128], [256, 512]],
    "licence": "Apache-2.0",
    "source": "trained for this test",
}
EMBEDDER = {
    **{key: DETECTOR[key] for key in ("file", "sha256", "mean", "divisor", "licence", "source")},
    "task": "embedding",
    "family": "arcface",
    "channels": "rgb",
    "crop": [96, 112],
    "dimensions": 128,
    "threshold": 0.4,
}


def catalog(folder, **entries):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    return read_catalog(path)


def test_entries_are_read_with_their_files_beside_the_catalogue(tmp_path):
    found = catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER)
    finder = found.entry("finder", "detection")
    assert finder.file == tmp_path / "net.onnx"
    assert finder.min_sizes == ((16, 32), (64, 128), (256, 512))
    teller = found.entry("teller", "embedding")
    assert (teller.crop, teller.dimensions, teller.threshold) == ((96, 112), 128, 0.4)
    assert teller.preprocessing.channels == "rgb"


def test_a_file_with_the_right_hash_is_accepted(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"weights")
    assert catalog(tmp_path, finder=DETECTOR).entry("finder", "detection").verified_file() == tmp_path / "net.onnx"


def test_a_file_with_another_hash_is_refused_with_both_hashes(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"tampered")
    with pytest.raises(ModelError) as refused:
        catalog(tmp_path, finder=DETECTOR).entry("finder", "detection").verified_file()
    assert DETECTOR["sha256"] in str(refused.value)
    assert hashlib.sha256(b"tampered").hexdigest() in str(refused.value)


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(ModelError, match=r"'finder' is missing.*net\.onnx\n.*trained for this test\n.*git checkout"):
        catalog(tmp_path, finder=DETECTOR).entry("finder", "detection").verified_file()


def test_an_unknown_name_gets_the_nearest_one_for_the_task(tmp_path):
    with pytest.raises(ModelError, match="no model 'findr' for detection; did you mean 'finder'"):
        catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER).entry("findr", "detection")


def test_a_model_for_another_task_is_not_accepted(tmp_path):
    with pytest.raises(ModelError, match="'teller' is for embedding, not for detection; choose finder"):
        catalog(tmp_path, finder=DETECTOR, teller=EMBEDDER).entry("teller", "detection")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"family": None}, "family is missing"),
        ({"colour": "red"}, "unknown: colour"),
        ({"mean": [1, 2]}, "mean must be 3 numbers"),
        ({"channels": "gray"}, "channels must be bgr or rgb, not 'gray'"),
        ({"task": "guess"}, "task must be detection or embedding, not 'guess'"),
        ({"divisor": "one"}, "divisor must not be 'one'"),
        ({"min_sizes": 16}, "min_sizes must not be 16"),
        ({"min_sizes": [["a"]]}, "min_sizes must be lists of whole numbers"),
        ({"divisor": 0}, "divisor must not be 0"),
    ],
    ids=str,
)
def test_a_faulty_entry_is_named_with_its_fault(tmp_path, change, complaint):
    with pytest.raises(ModelError, match=f"catalog.yaml: model 'finder': {complaint}"):
        catalog(tmp_path, finder={**DETECTOR, **change})


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "finder: 3"], ids=str)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "catalog.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"catalog\.yaml"):
        read_catalog(path)


def test_a_missing_catalogue_says_where_to_start_the_program(tmp_path):
    with pytest.raises(ModelError, match="start the program in its own folder"):
        read_catalog(tmp_path / "nowhere.yaml")
