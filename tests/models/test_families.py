"""The table of families, and the page that explains it."""

import re

import pytest
from shipped import CATALOG, ROOT

from app.models.catalog import read_catalog
from app.models.families import DETECTORS, FAMILIES, can_run
from app.vision.model_outputs import DETECTOR_FAMILIES

PAGE = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")


def test_every_family_of_detectors_can_be_recognised():
    assert set(DETECTORS) == set(DETECTOR_FAMILIES)


@pytest.mark.parametrize("family", DETECTORS)
def test_every_family_of_detectors_is_explained(family):
    assert f"| `{family}` |" in PAGE


def test_the_networks_that_people_bring_are_described_in_the_catalogue():
    described = read_catalog(CATALOG).without_file
    detectors = {name for name, entry in described.items() if entry.task == "detection"}
    assert detectors <= set(re.findall(r"`(?:--like )?([\w.]+)`", PAGE))
    assert {described[name].family for name in detectors} >= {"retinaface", "retinaface_mxnet", "scrfd", "centerface"}
    assert described["mnet_cov2"].landmark_scale == 0.2
    assert all(can_run(entry) for entry in described.values())


def test_every_detector_of_the_catalogue_can_be_run():
    detectors = [entry for entry in read_catalog(CATALOG).entries.values() if entry.task == "detection"]
    assert {"retinaface", "scrfd", "yunet"} <= {entry.family for entry in detectors}
    assert all(can_run(entry) for entry in detectors)


def test_the_pixels_of_detectors_in_the_catalogue_are_those_of_their_family():
    catalog = read_catalog(CATALOG)
    for entry in (*catalog.entries.values(), *catalog.without_file.values()):
        if entry.task == "detection" and not entry.name.startswith("dsfd"):
            usual = DETECTOR_FAMILIES[entry.family].facts
            assert entry.preprocessing.channels == usual["channels"], entry.name
            assert list(entry.preprocessing.mean) == usual["mean"], entry.name
            assert entry.preprocessing.divisor == usual["divisor"], entry.name


def test_every_embedder_of_the_catalogue_is_in_the_table():
    text = (ROOT / "docs" / "embedders.md").read_text(encoding="utf-8")
    described = read_catalog(CATALOG).without_file
    assert all(f"`{name}`" in text for name, entry in described.items() if entry.task == "embedding")


def test_the_entry_to_copy_is_valid(tmp_path):
    text = (ROOT / "docs" / "attributes.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "sha256" in block]
    copied = tmp_path / "catalog.yaml"
    copied.write_text("\n".join(blocks), encoding="utf-8")
    (entry,) = read_catalog(copied).entries.values()
    assert can_run(entry)


@pytest.mark.parametrize("task", ["attributes", "landmarks", "antispoof"])
def test_every_family_that_looks_at_a_found_face_is_explained(task):
    text = (ROOT / "docs" / "attributes.md").read_text(encoding="utf-8")
    assert all(f"| `{family}` | `{family}` |" in text for family in FAMILIES[task])
    assert all(can_run(entry) for entry in read_catalog(CATALOG).entries.values() if entry.task == task)
