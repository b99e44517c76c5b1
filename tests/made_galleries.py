"""Galleries made by hand: planted people instead of photos and networks."""

import hashlib
import shutil

import numpy as np
import pytest

from app.gallery.people import EnrolledPeople, PhotoFinding, PhotoRecord
from app.types import Reason


def copy_photos(gallery, folder, *left_out):
    """Without what programs keep next to the photos: which tests have used this gallery before is chance."""
    return shutil.copytree(gallery, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", *left_out))


def make_record(path, person, embedding=None, content=None, reason=None):
    reason = reason or (Reason.USED if embedding is not None else Reason.NO_FACE)
    row = None if embedding is None else np.asarray(embedding, np.float32)
    content_hash = hashlib.sha256((content or path).encode()).hexdigest()
    return PhotoRecord(path, person, content_hash, PhotoFinding(reason, row))


@pytest.fixture(scope="session")
def record():
    return make_record


@pytest.fixture(scope="session")
def gallery_of():
    """Makes a gallery out of (person, embedding) pairs."""

    def make(*photos):
        return EnrolledPeople(
            tuple(make_record(f"{person}/{n}.jpg", person, row) for n, (person, row) in enumerate(photos))
        )

    return make
