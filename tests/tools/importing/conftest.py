"""What the tests of importing share: a catalogue of its own, and what the importer tells."""

import pytest


@pytest.fixture
def catalog_path(tmp_path):
    """An empty catalogue in a folder of its own."""
    folder = tmp_path / "engines"
    folder.mkdir()
    path = folder / "catalog.yaml"
    path.write_text("{}\n", encoding="utf-8")
    return path


@pytest.fixture
def messages():
    """A list that takes the importer's lines: pass `messages.append`."""
    return []
