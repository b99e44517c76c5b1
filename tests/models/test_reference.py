"""The embeddings of strangers and non-faces that come with an embedder."""

import numpy as np
import pytest
import yaml
from shipped import CATALOG

from app.errors import ModelError
from app.models.catalog import read_catalog
from app.models.loading import ModelLoader
from app.models.reference import read_reference
from app.settings import ModelSettings, Settings


@pytest.fixture
def entry():
    return read_catalog(CATALOG).require("mobilefacenet")


def write(path, entry, **changes):
    rows = np.eye(3, entry.dimensions, dtype=np.float16)
    stored = {
        "embedder_sha256": np.array(entry.sha256),
        "strangers": rows,
        "non_faces": rows[:2],
        "same_person": np.ones(1),
        **changes,
    }
    np.savez(path, **{name: value for name, value in stored.items() if value is not None})
    return path


def test_the_built_in_embedder_has_strangers_and_non_faces_that_differ():
    reference = ModelLoader(Settings()).reference()
    assert reference.strangers.shape == (1500, 128)
    assert reference.non_faces.shape == (500, 128)
    for rows in (reference.strangers, reference.non_faces):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert 0.5 < np.median(reference.same_person) < 0.9
    # One photo each: no stranger is there twice. Non-faces resemble one another, and few of them a stranger.
    alike = reference.strangers @ reference.strangers.T - np.eye(1500)
    assert alike.max() < 0.46
    assert np.median(reference.non_faces @ reference.non_faces.T) > np.median(alike) + 0.1


def test_an_embedder_without_a_reference_has_none(tmp_path):
    facts = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["mobilefacenet"]
    del facts["reference"]
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"plain": facts}), encoding="utf-8")
    assert ModelLoader(Settings(models=ModelSettings(catalog=catalog, embedder="plain"))).reference() is None


def test_rows_are_read_with_unit_length(tmp_path, entry):
    path = write(tmp_path / "made.npz", entry, strangers=3 * np.eye(4, entry.dimensions, dtype=np.float16))
    np.testing.assert_allclose(np.linalg.norm(read_reference(path, entry).strangers, axis=1), 1)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"embedder_sha256": np.array("0" * 64)}, "0" * 64),
        ({"non_faces": None}, "non_faces"),
        ({"strangers": np.eye(3, dtype=np.float16)}, r"\(3, 3\)"),
        ({"strangers": np.array(["a", "b"])}, "made.npz"),
    ],
)
def test_a_reference_that_does_not_fit_is_an_error_with_its_path(tmp_path, entry, changes, shown):
    path = write(tmp_path / "made.npz", entry, **changes)
    with pytest.raises(ModelError, match=shown) as error:
        read_reference(path, entry)
    assert str(path) in str(error.value)


def test_a_missing_reference_is_none_and_the_log_says_so(tmp_path, caplog):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_bytes(CATALOG.read_bytes())
    assert ModelLoader(Settings(models=ModelSettings(catalog=catalog))).reference() is None
    assert str(tmp_path / "mobilefacenet_reference.npz") in caplog.text


def test_a_cut_off_reference_is_an_error(tmp_path, entry):
    path = write(tmp_path / "made.npz", entry)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ModelError, match="damaged"):
        read_reference(path, entry)
