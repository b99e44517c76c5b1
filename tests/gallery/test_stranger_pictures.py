"""The frame that a stranger was seen in, kept with the picture of the face."""

import cv2
import pytest
from planted_visits import visit

from app.gallery.stranger_journal import StrangerJournal
from app.gallery.stranger_pictures import FRAME_PX, picture_of, write_picture
from app.identity.strangers import Seen


@pytest.fixture(scope="module")
def group(portraits):
    """Three people next to each other, in a large frame."""
    heads = [cv2.resize(portrait.image, (480, 640)) for portrait in portraits]
    return cv2.hconcat(heads)


def test_the_frame_is_small_and_no_one_else_can_be_recognised_in_it(recognizer, group):
    (faces,) = recognizer.find([group])
    assert len(faces.boxes) == 3
    picture = picture_of(group, faces, 1, with_frame=True)
    assert picture.frame is not None and max(picture.frame.shape[:2]) == FRAME_PX
    before = recognizer.embed_crops(recognizer.crops(group, faces))
    (seen,) = recognizer.find([picture.frame])
    after = recognizer.embed_crops(recognizer.crops(picture.frame, seen))
    similarity = (after @ before.T).max(axis=0)
    assert [bool(one >= recognizer.threshold) for one in similarity] == [False, True, False]
    assert picture_of(group, faces, 1, with_frame=False).frame is None


def test_a_frame_is_readable_by_its_owner_only_and_goes_with_the_picture(recognizer, group, tmp_path):
    journal = StrangerJournal(tmp_path / "strangers")
    journal.create()
    (faces,) = recognizer.find([group])
    for name in ("a.jpg", "b.jpg"):
        write_picture(picture_of(group, faces, 0, with_frame=True), journal.crops / name, journal.frames / name)
    assert (journal.frames / "a.jpg").stat().st_mode & 0o077 == 0
    journal.update(lambda book: [Seen(visit("b", 1, stranger=1, crop_quality=0.5))])
    journal.sweep()
    assert (
        [path.name for path in journal.crops.iterdir()] == [path.name for path in journal.frames.iterdir()] == ["b.jpg"]
    )
