"""The table of families, and the page that explains it."""

import re

import pytest
from shipped import CATALOG, ROOT

from app.vision.catalog import read_catalog
from app.vision.families import DETECTORS, FAMILIES, can_run
from app.vision.recognising import DETECTOR_FAMILIES

PAGE = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")


def test_every_family_of_detectors_can_be_recognised():
    assert set(DETECTORS) == set(DETECTOR_FAMILIES)


@pytest.mark.parametrize("family", DETECTORS)
def test_every_family_of_detectors_is_explained(family):
    assert f"| `{family}` |" in PAGE


def test_the_entries_to_copy_are_valid(tmp_path):
    copied = tmp_path / "catalog.yaml"
    copied.write_text("\n".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)), encoding="utf-8")
    entries = read_catalog(copied).entries
    assert len(entries) == 4
    assert all(can_run(entry) for entry in entries.values())
    assert entries["mnet_cov2"].landmark_scale == 0.2


def test_every_detector_of_the_catalogue_can_be_run():
    detectors = [entry for entry in read_catalog(CATALOG).entries.values() if entry.task == "detection"]
    assert {"retinaface", "scrfd", "yunet"} <= {entry.family for entry in detectors}
    assert all(can_run(entry) for entry in detectors)


def test_the_pixels_of_detectors_in_the_catalogue_are_those_of_their_family():
    for entry in read_catalog(CATALOG).entries.values():
        if entry.task == "detection":
            usual = DETECTOR_FAMILIES[entry.family].facts
            assert entry.preprocessing.channels == usual["channels"], entry.name
            assert list(entry.preprocessing.mean) == usual["mean"], entry.name
            assert entry.preprocessing.divisor == usual["divisor"], entry.name


@pytest.mark.parametrize(("page", "count"), [("attributes.md", 3), ("embedders.md", 3)])
def test_the_entries_to_copy_of_other_pages_are_valid(tmp_path, page, count):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "sha256" in block]
    copied = tmp_path / "catalog.yaml"
    copied.write_text("\n".join(blocks), encoding="utf-8")
    entries = read_catalog(copied).entries
    assert len(entries) == count
    assert all(can_run(entry) for entry in entries.values())


@pytest.mark.parametrize("task", ["attributes", "landmarks", "antispoof"])
def test_every_family_that_looks_at_a_found_face_is_explained(task):
    text = (ROOT / "docs" / "attributes.md").read_text(encoding="utf-8")
    assert all(f"| `{family}` | `{family}` |" in text for family in FAMILIES[task])
    assert all(can_run(entry) for entry in read_catalog(CATALOG).entries.values() if entry.task == task)
