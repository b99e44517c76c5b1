"""What is kept of a change so that it can be undone: after a crash, too, everything of it can be deleted."""

import shutil
from pathlib import Path

import pytest

from app.errors import GalleryError
from app.gallery.undo import UndoableChange, UndoStore
from app.identity.strangers import Restored, VisitState


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"a face")
    return folder


CHANGE = UndoableChange(
    "merge strangers",
    1.8e9,
    Restored(tuple(VisitState(name, 7, None, f"{name}.jpg", 0.5) for name in "ab")),
    Restored(tuple(VisitState(name, 8, None, f"{name}.jpg", 0.5) for name in "ab")),
)


def killed(*arguments):
    raise KeyboardInterrupt


def left(store):
    return [path.name for path in store.folder.rglob("*")]


def test_a_stranger_is_forgotten_whose_pictures_were_being_kept_when_the_program_was_killed(
    tmp_path, crops, monkeypatch
):
    store, copy = UndoStore(tmp_path, 7.0), shutil.copyfile

    def copy_and_die(source, target):
        copy(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", copy_and_die)
    with pytest.raises(KeyboardInterrupt):
        store.keep(CHANGE, crops)
    assert "a.jpg" in left(store)
    store.forget([], [7])
    assert left(store) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_was_being_deleted_when_the_program_was_killed_is_deleted_by_the_next(tmp_path, crops, monkeypatch, count):
    store, unlink, done = UndoStore(tmp_path, 7.0), Path.unlink, []
    store.keep(CHANGE, crops)

    def unlink_and_die(path, *arguments):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(path)
        unlink(path, *arguments)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(Path, "unlink", unlink_and_die)
        store.remove(CHANGE.id)
    assert [change.id for change in store.all()] == [CHANGE.id]
    store.forget([], [7])
    assert left(store) == []


def test_a_change_that_cannot_be_kept_leaves_nothing(tmp_path, crops, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    store = UndoStore(tmp_path, 7.0)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(GalleryError, match="No space"):
        store.keep(CHANGE, crops)
    assert left(store) == []
