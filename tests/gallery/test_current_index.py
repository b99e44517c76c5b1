"""What faces are compared with, while a large gallery changes."""

import dataclasses
import sys
import threading

import numpy as np
import pytest
from waiting import until

from app.gallery import current_index
from app.gallery.current_index import CurrentIndex
from app.gallery.people import EnrolledPeople


@pytest.fixture
def photos(record, recognizer):
    size = recognizer.reference.strangers.shape[1]
    rows = np.random.default_rng(1).normal(size=(60, size)).astype(np.float32)
    return [record(f"{number}.jpg", f"p{number}", row) for number, row in enumerate(rows)]


@pytest.mark.parametrize(("large_from", "is_kept"), [(50, True), (10_000, False)])
def test_a_large_gallery_is_not_calibrated_again_for_a_few_photos(recognizer, photos, monkeypatch, large_from, is_kept):
    monkeypatch.setattr(current_index, "LARGE", large_from)
    monkeypatch.setattr(current_index, "RECALIBRATE_FROM_SHARE", 0.05)
    current = CurrentIndex(recognizer)
    first = current.update(EnrolledPeople(tuple(photos[:55]), 1))
    assert first.people == 55
    second = current.update(EnrolledPeople(tuple(photos[:57]), 2))
    assert (second is first) == is_kept
    assert len(current.index) == 57 and current.index.calibration is second
    assert current.update(EnrolledPeople(tuple(photos), 3)).people == 60


def test_a_photo_that_is_another_persons_now_is_calibrated_as_such(recognizer, photos):
    current = CurrentIndex(recognizer)
    assert current.update(EnrolledPeople(tuple(photos), 1)).people == 60
    moved = dataclasses.replace(photos[0], person=photos[1].person)
    assert current.update(EnrolledPeople((moved, *photos[1:]), 2)).people == 59


def test_a_change_while_the_thread_ends_gets_a_graph_too(recognizer, photos, record):
    along_graph = dataclasses.replace(recognizer.recognition, index="hnsw")
    rows = np.random.default_rng(2).normal(size=(1200, len(photos[0].finding.embedding))).astype(np.float32)
    more = [record(f"more{number}.jpg", f"p{number % 9}", row) for number, row in enumerate(rows)]
    current = CurrentIndex(dataclasses.replace(recognizer, recognition=along_graph))

    def change(frame, event, _argument):
        if event == "return" and frame.f_code.co_name == "_make_graph":
            sys.setprofile(None)
            threading.setprofile(None)
            current.update(EnrolledPeople((*photos, *more), 2))

    current.update(EnrolledPeople(tuple(photos), 1))
    threading.setprofile(change)
    try:
        current.finish_in_background()
        until(lambda: len(current.index) == len(photos) + len(more) and not current.index.is_unfinished)
    finally:
        threading.setprofile(None)
        current.close()
