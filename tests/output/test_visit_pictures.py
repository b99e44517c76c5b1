"""The best picture of each visit as a file."""

import dataclasses
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_results import ANN, STRANGER, frame, picture, result, track
from waiting import until

from app.events.event import EventKind
from app.events.sinks import EventPublisher
from app.events.stream import EventStream
from app.output.visit_pictures import VisitPictures
from app.types import Match, Reason

BOX = (100, 50, 160, 110)


def seen(index, grey, clarity, match=ANN, box=BOX):
    """A frame of one grey level with one face of track 1."""
    made = frame(index, position=index / 10, image=picture(grey=grey))
    one = track(1, match, box, first_seen=0.0, last_seen=index / 10)
    return dataclasses.replace(result(made, [box], [match], [one], track_ids=[1]), clarities=(clarity,))


class Kept:
    name = "kept"

    def __init__(self):
        self.events = []

    def write(self, event):
        self.events.append(event)

    def close(self):
        pass


def snapshots(folder, *results, **options):
    """The pictures' grey levels, and the events."""
    sink = Kept()
    pictures = VisitPictures(folder, **{"keep_days": 30, "max_files": 100, "cover": None, **options})
    publisher = EventPublisher([sink], EventStream(), pictures=pictures)
    for made in results:
        publisher.handle(made)
    publisher.close()
    assert publisher.lost == ()
    return [round(cv2.imread(str(path)).mean()) for path in sorted(folder.glob("*.jpg"))], sink.events


def test_the_clearest_picture_of_a_visit_is_written_and_named_in_left(tmp_path):
    greys, events = snapshots(tmp_path, seen(0, 50, 0.4), seen(1, 100, 0.9), seen(2, 150, 0.5))
    assert greys == pytest.approx([100], abs=2)
    left = events[-1]
    assert left.kind is EventKind.LEFT
    assert left.as_json()["snapshot"] == left.snapshot == str(next(tmp_path.glob("visit-*-front-1.jpg")))
    assert [event.snapshot for event in events[:-1]] == [None, None]


def test_of_equally_clear_ones_the_largest_counts(tmp_path):
    large = (80, 30, 200, 150)
    greys, _ = snapshots(tmp_path, seen(0, 50, 0.9), seen(1, 100, 0.9, box=large), seen(2, 150, 0.9))
    assert greys == pytest.approx([100], abs=2)


def test_a_face_in_doubt_may_be_another_persons(tmp_path):
    doubt = Match(None, Reason.TRACK_IN_DOUBT, 0.6, nearest="Ann")
    greys, _ = snapshots(tmp_path, seen(0, 50, 0.4), seen(1, 100, 0.9, doubt), seen(2, 150, 0.4))
    assert greys == pytest.approx([50], abs=2)


@pytest.mark.parametrize("cover, match, count", [("all", ANN, 0), ("strangers", ANN, 1), ("strangers", STRANGER, 0)])
def test_covered_faces_have_no_picture(tmp_path, cover, match, count):
    greys, events = snapshots(tmp_path, seen(0, 50, 0.9, match), cover=cover)
    assert len(greys) == count
    assert (events[-1].snapshot is not None) == bool(count)


def test_a_person_who_is_covered_once_known_has_no_picture_from_before(tmp_path):
    eve_like = Match(None, Reason.BELOW_THRESHOLD, 0.3, nearest="Eve")
    greys, _ = snapshots(tmp_path, seen(0, 50, 0.9, eve_like), seen(1, 60, 0.9, ANN), cover="Ann")
    assert greys == []


def test_old_pictures_and_those_above_the_number_are_deleted(tmp_path):
    for day in range(1, 6):
        path = tmp_path / f"visit-2026-11-0{day}T120000Z-front-{day}.jpg"
        path.write_bytes(b"x")
        os.utime(path, (1000.0 + day, 1000.0 + day))
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    clock = [1000.0 + 86400.0 + 2.5]
    pictures = VisitPictures(tmp_path, keep_days=1, max_files=2, cover=None, clock=lambda: clock[0])
    pictures.prune()
    pictures.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "holiday.jpg", "visit-2026-11-04T120000Z-front-4.jpg", "visit-2026-11-05T120000Z-front-5.jpg",
    ]  # fmt: skip
    clock[0] += 2
    again = VisitPictures(tmp_path, keep_days=1, max_files=9, cover=None, clock=lambda: clock[0])
    again.prune()
    again.close()
    assert [path.name for path in sorted(tmp_path.glob("visit*"))] == ["visit-2026-11-05T120000Z-front-5.jpg"]


def test_old_pictures_are_deleted_also_where_no_one_comes(tmp_path):
    old = tmp_path / "visit-2026-11-01T120000Z-front-1.jpg"
    old.write_bytes(b"x")
    pictures = VisitPictures(tmp_path, keep_days=1, max_files=9, cover=None, clock=lambda: time.time() + 100_000)
    until(lambda: not old.exists())
    pictures.close()


def test_a_folder_that_cannot_be_written_is_reported_and_the_events_go_on(tmp_path):
    folder = tmp_path / "pictures"
    pictures = VisitPictures(folder, keep_days=1, max_files=2, cover=None)
    folder.rmdir()
    sink = Kept()
    publisher = EventPublisher([sink], EventStream(), pictures=pictures)
    publisher.handle(seen(0, 50, 0.9))
    publisher.close()
    assert [event.kind for event in sink.events][-1] is EventKind.LEFT
    assert [str(folder) in lost for lost in publisher.lost] == [True]


def test_pictures_are_written_again_when_a_folder_that_was_removed_is_back(tmp_path, caplog):
    folder = tmp_path / "pictures"
    pictures = VisitPictures(folder, keep_days=1, max_files=9, cover=None)
    written = []
    for number, is_there in enumerate((True, False, False, True)):
        if folder.exists() is not is_there:
            folder.mkdir() if is_there else shutil.rmtree(folder)
        pictures.see(seen(number, 50, 0.9), lambda track, visit=number: visit)
        written.append(Path(pictures.save(number, ANN, "front", 0.0)))
        until(lambda path=written[-1], lost=number, there=is_there: path.exists() if there else pictures.lost == lost)
    pictures.close()
    assert [path.exists() for path in written] == [False, False, False, True], "the first one was removed"
    assert pictures.lost == 2
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_large_face_is_shrunk(tmp_path):
    image = np.full((720, 1280, 3), 80, np.uint8)
    made = dataclasses.replace(
        result(frame(0, position=0.0, image=image), [(200, 100, 600, 500)], [ANN], [track(1, ANN)], track_ids=[1]),
        clarities=(0.9,),
    )
    pictures = VisitPictures(tmp_path, keep_days=1, max_files=2, cover=None)
    pictures.see(made, lambda number: 4)
    path = pictures.save(4, ANN, "front", 1_800_000_000.0)
    until(Path(path).exists)
    pictures.close()
    assert cv2.imread(path).shape == (280, 320, 3)
