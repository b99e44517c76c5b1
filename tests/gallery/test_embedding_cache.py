import logging
import sys

import numpy as np
import pytest

from app.gallery.cache import NOTHING_CACHED, Cached, EmbeddingCache, FileStamp, KnownFile
from app.gallery.people import PhotoFinding
from app.types import Reason

CACHED = Cached(
    {
        "aa": PhotoFinding(Reason.USED, np.array([0.6, 0.8], np.float32), 1, 101.5, 44.25, True, "turned upright"),
        "bb": PhotoFinding(Reason.TOO_SMALL, message="keine Gesichter: 张伟", measured=31.5, limit=40.0),
        "cc": PhotoFinding(Reason.MAIN_FACE_USED, np.array([1, 0], np.float32), 3),
    },
    {
        "Ann/1.jpg": KnownFile(FileStamp(70_000, 1_800_000_000_123_456_789, 1_800_000_001_000_000_000), "aa"),
        "张伟/2.jpg": KnownFile(FileStamp(60_000, -1, 0), "bb"),
    },
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".embeddings.cache"


def facts(finding):
    embedding = None if finding.embedding is None else finding.embedding.tolist()
    return (
        finding.reason,
        embedding,
        finding.faces_found,
        finding.face_px,
        finding.sharpness,
        finding.rotation_fixed,
        finding.message,
        finding.why,
    )


def test_findings_come_back_as_they_were_saved(path):
    EmbeddingCache(path, "model").save(CACHED)
    loaded = EmbeddingCache(path, "model").load()
    assert {key: facts(finding) for key, finding in loaded.findings.items()} == {
        key: facts(finding) for key, finding in CACHED.findings.items()
    }
    assert loaded.files == CACHED.files


def test_no_findings_can_be_saved_too(path):
    EmbeddingCache(path, "model").save(NOTHING_CACHED)
    assert EmbeddingCache(path, "model").load() == NOTHING_CACHED


def test_a_missing_cache_is_empty(path, caplog):
    assert EmbeddingCache(path, "model").load() == NOTHING_CACHED
    assert caplog.records == []


def test_a_cache_of_other_models_is_not_used_and_that_is_logged(path, caplog):
    caplog.set_level(logging.INFO)
    EmbeddingCache(path, "model").save(CACHED)
    assert EmbeddingCache(path, "another model").load() == NOTHING_CACHED
    assert str(path) in caplog.text


def test_a_cache_of_another_version_is_not_used(path, caplog):
    caplog.set_level(logging.INFO)
    EmbeddingCache(path, "model").save(CACHED)
    path.write_bytes(path.read_bytes().replace(b"version 3", b"version 2", 1))
    assert EmbeddingCache(path, "model").load() == NOTHING_CACHED
    assert "version" in caplog.text


def test_a_cache_cut_short_anywhere_is_not_used(path):
    EmbeddingCache(path, "model").save(CACHED)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert EmbeddingCache(path, "model").load() == NOTHING_CACHED


def test_a_cache_with_any_byte_altered_is_not_used(path):
    EmbeddingCache(path, "model").save(CACHED)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        assert EmbeddingCache(path, "model").load() == NOTHING_CACHED


def test_saving_leaves_one_file_that_only_its_owner_reads(path):
    cache = EmbeddingCache(path, "model")
    cache.save(CACHED)
    cache.save(NOTHING_CACHED)
    assert list(path.parent.iterdir()) == [path]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written_is_reported_once(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path / "gone" / "cache", "model")
    cache.save(CACHED)
    cache.save(CACHED)
    assert caplog.text.count("cannot be written") == 1


def test_a_failed_save_leaves_the_old_cache_and_no_other_files(path):
    path.mkdir()
    EmbeddingCache(path, "model").save(CACHED)
    assert list(path.parent.iterdir()) == [path]
    assert EmbeddingCache(path, "model").load() == NOTHING_CACHED
