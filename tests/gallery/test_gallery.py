"""The gallery keeps in step with its folder while frames go on."""

import contextlib
import dataclasses
import hashlib
import logging
import shutil
import threading

import cv2
import numpy as np
import pytest
from made_galleries import copy_photos
from waiting import until

from app.errors import GalleryError
from app.gallery.checks import WarningKind
from app.gallery.gallery import Added, Gallery, NewPhoto, Refused
from app.network_thread import NetworkThread
from app.settings import QualitySettings
from app.text import program
from app.types import Faces, Reason


@pytest.fixture
def networks():
    """The queue of jobs that the camera loop works off between two frames."""
    return NetworkThread()


@pytest.fixture
def open_gallery(recognizer, networks, settings):
    opened = []

    def open_one(quality=settings.quality, **changes):
        chosen = dataclasses.replace(
            settings, gallery=dataclasses.replace(settings.gallery, **changes), quality=quality
        )
        opened.append(Gallery(chosen, recognizer, networks))
        return opened[-1]

    yield open_one
    networks.close()
    for gallery in opened:
        gallery.close()


def names(gallery):
    return {photo.person for photo in gallery.people.row_photos}


def test_all_people_in_the_folder_are_known_at_the_start(open_gallery, people_gallery, settings):
    copy_photos(people_gallery, settings.gallery.folder)
    people = open_gallery()
    people.load()
    assert names(people) == {"Eileen Collins", "Grace Hopper"}
    assert len(people.index) == 4


def test_the_threshold_follows_the_people_for_a_stated_false_accept_rate(recognizer, people_gallery, settings):
    folder = settings.gallery.folder
    recognition = dataclasses.replace(recognizer.recognition, false_accept_rate=0.001)
    careful = dataclasses.replace(recognizer, recognition=recognition)
    with Gallery(settings, careful) as gallery:
        gallery.load()
        assert gallery.threshold == recognizer.threshold  # no one is enrolled
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder)
        gallery.load()
        for_one = gallery.threshold
        assert gallery.index.calibration.false_accept_rate(for_one) == pytest.approx(0.001, rel=0.02)
        copy_photos(people_gallery, folder)
        gallery.load()
        assert gallery.threshold > for_one
        (match,) = recognizer.identify(one_face(gallery), gallery.index)
        assert match.name == "Grace Hopper" and match.limit == gallery.threshold
        assert match.confidence > 0.99


def one_face(gallery):
    """The face of the gallery's photo of Grace Hopper, as a camera would show it."""
    row = next(row for row, photo in enumerate(gallery.people.row_photos) if photo.person == "Grace Hopper")
    box = np.array([[0, 0, 99, 99]], np.float32)
    return Faces(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32), gallery.people.embeddings[[row]])


def test_a_person_added_while_it_runs_is_known_soon_and_a_removed_one_is_forgotten(
    open_gallery, networks, people_gallery, settings
):
    folder = settings.gallery.folder
    people = open_gallery(reload_every_s=0.02)
    people.load()
    before = people.index
    people.watch()
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
    until(lambda: [networks.run_pending()] and names(people) == {"Grace"})
    assert people.index.generation > before.generation
    assert len(before) == 0, "an index in use is never changed"
    (folder / "Grace.jpg").unlink()
    until(lambda: [networks.run_pending()] and names(people) == set())


def test_a_run_makes_the_graph_of_a_large_gallery_and_keeps_it_when_people_come(
    recognizer, networks, people_gallery, settings
):
    folder = settings.gallery.folder
    for name in ("Eileen Collins_1.jpg", "Eileen Collins_2.jpg"):
        shutil.copy(people_gallery / name, folder)
    large = dataclasses.replace(recognizer, recognition=dataclasses.replace(recognizer.recognition, index="hnsw"))
    watching = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, reload_every_s=0.02))
    with contextlib.closing(Gallery(watching, large, networks)) as people:
        people.load()
        assert people.index.is_unfinished
        people.watch()
        until(lambda: not people.index.is_unfinished)
        graph = people.index._half.graph
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
        until(lambda: [networks.run_pending()] and "Grace" in names(people))
        assert people.index._half.graph is graph
        row = next(row for row, photo in enumerate(people.people.row_photos) if photo.person == "Grace")
        (found,) = people.index.search(people.people.embeddings[[row]])
        assert (found.person, found.runner_up) == ("Grace", "Eileen Collins")


def test_the_networks_are_used_by_their_own_thread_only(recognizer, networks, people_gallery, settings):
    users = []

    class Spy:
        def __init__(self, network):
            self._network = network

        def __getattr__(self, name):
            users.append(threading.get_ident())
            return getattr(self._network, name)

    watching = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, reload_every_s=0.02))
    spied = dataclasses.replace(recognizer, detector=Spy(recognizer.detector), embedder=Spy(recognizer.embedder))
    with contextlib.closing(Gallery(watching, spied, networks)) as people:
        people.load()
        people.watch()
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / "Grace.jpg")
        until(lambda: [networks.run_pending()] and names(people) == {"Grace"})
    assert set(users) == {threading.get_ident()}


def test_photos_seen_before_are_not_embedded_again(recognizer, networks, people_gallery, settings):
    class Refusing:
        def __getattr__(self, name):
            raise AssertionError("a network was used")

    copy_photos(people_gallery, settings.gallery.folder)
    first = Gallery(settings, recognizer, networks)
    first.load()
    refusing = dataclasses.replace(recognizer, detector=Refusing(), embedder=Refusing())
    again = Gallery(settings, refusing, networks)
    again.load()
    assert names(again) == names(first)


def test_photos_are_examined_again_by_other_networks(recognizer, networks, people_gallery, settings):
    class Spy:
        def __getattr__(self, name):
            asked.append(name)
            return getattr(recognizer.detector, name)

    def asks_the_detector(fingerprint):
        asked.clear()
        spied = dataclasses.replace(recognizer, detector=Spy(), fingerprint=fingerprint)
        Gallery(settings, spied, networks).load()
        return bool(asked)

    copy_photos(people_gallery, settings.gallery.folder)
    asked = []
    assert [asks_the_detector(fingerprint) for fingerprint in ("a", "a", "b")] == [True, False, True]


def test_nothing_of_a_removed_person_stays_in_a_cache_of_other_limits(open_gallery, people_gallery, settings):
    photo = settings.gallery.folder / "Grace.jpg"
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", photo)
    open_gallery().load()
    cache = settings.gallery.folder / ".embeddings.cache"
    content_hash = hashlib.sha256(photo.read_bytes()).hexdigest().encode()
    assert content_hash in cache.read_bytes()
    photo.unlink()
    open_gallery(quality=QualitySettings(photo_min_face_px=30.0)).load()
    for path in settings.gallery.folder.glob(".embeddings*"):
        assert content_hash not in path.read_bytes()


def test_programs_with_different_settings_do_not_throw_each_others_cache_away(
    open_gallery, people_gallery, settings, monkeypatch
):
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / "Grace.jpg")
    limits = [QualitySettings(), QualitySettings(photo_min_face_px=30.0)]
    for quality in limits:
        open_gallery(quality=quality).load()
    monkeypatch.setattr(Gallery, "examine", lambda *_: pytest.fail("examined again"))
    for quality in [*limits, *limits]:
        people = open_gallery(quality=quality)
        people.load()
        assert people.people.names == ("Grace",)


def test_rejected_photos_and_suspicious_people_are_reported_once(open_gallery, people_gallery, settings, caplog):
    folder = settings.gallery.folder
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Mary.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    people = open_gallery()
    with caplog.at_level(logging.WARNING):
        people.load()
        people.load()
    messages = [record.getMessage() for record in caplog.records]
    assert sum("Grace" in message and "Mary" in message for message in messages) == 1
    assert sum(message.startswith("photo broken.jpg: ") for message in messages) == 1


def test_many_similar_people_do_not_flood_the_log(open_gallery, people_gallery, settings, caplog):
    for number in range(6):
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / f"Person {'ABCDEF'[number]}.jpg")
    people = open_gallery()
    with caplog.at_level(logging.WARNING):
        people.load()
    logged = [record.message for record in caplog.records if record.message.startswith("gallery: ")]
    more = len(people.problems()) - 5
    assert more > 0 and len(logged) == 6
    assert f"{more} more" in logged[-1] and f"{program()} people check" in logged[-1]


@pytest.fixture
def gallery(open_gallery, people_gallery, settings):
    copy_photos(people_gallery, settings.gallery.folder)
    gallery = open_gallery()
    gallery.load()
    return gallery


def encoded(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


def test_an_added_photo_is_in_the_folder_and_known_at_once(gallery, portraits, settings):
    (settings.gallery.folder / "Grace Hopper_1.jpg").unlink()
    (settings.gallery.folder / "Grace Hopper_2.jpg").unlink()
    gallery.load()
    result = gallery.add("Grace", NewPhoto("new.png", encoded(portraits[1].image)))
    assert isinstance(result, Added)
    assert (result.person, result.photo.path, result.photo.finding.reason) == ("Grace", "Grace/new.png", Reason.USED)
    assert (settings.gallery.folder / "Grace/new.png").is_file() and "Grace" in names(gallery)
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("name", "reason"), [("Grace Hopper", Reason.ALREADY_ENROLLED), ("Bob", Reason.OTHER_PERSONS_PHOTO)]
)
def test_a_photo_is_not_added_twice(gallery, people_gallery, settings, name, reason):
    data = (people_gallery / "Grace Hopper_1.jpg").read_bytes()
    result = gallery.add(name, NewPhoto("again.jpg", data))
    assert isinstance(result, Refused) and result.reason is reason
    assert (result.duplicate_of.person, result.duplicate_of.path) == ("Grace Hopper", "Grace Hopper_1.jpg")
    assert not list(settings.gallery.folder.rglob("again*"))


def test_a_copy_of_a_rejected_photo_is_refused_for_what_was_found_in_it(gallery, settings, portraits):
    both = encoded(np.concatenate([portraits[0].image, portraits[2].image], axis=1))
    (settings.gallery.folder / "Bob.png").write_bytes(both)
    gallery.load()
    for name in ("Grace Hopper", "Bob"):
        result = gallery.add(name, NewPhoto("two.png", both))
        assert (result.reason, result.duplicate_of) == (Reason.SEVERAL_FACES, None)
        assert result.finding.faces_found == 2


def test_a_photo_given_twice_is_added_once(gallery, portraits):
    photo = NewPhoto("new.png", encoded(portraits[1].image))
    first, second = gallery.add_all("Grace Hopper", [photo, photo])
    assert isinstance(first, Added) and second.reason is Reason.ALREADY_ENROLLED


@pytest.mark.parametrize(
    ("filename", "data", "reason"),
    [
        ("wall.png", encoded(np.full((300, 300, 3), 127, np.uint8)), Reason.NO_FACE),
        ("broken.jpg", b"\xff\xd8\xff nothing", Reason.UNREADABLE),
        ("photo.heic", b"anything", Reason.UNREADABLE),
    ],
)
def test_an_unusable_photo_is_refused_with_its_finding(gallery, settings, filename, data, reason):
    result = gallery.add("Ann", NewPhoto(filename, data))
    assert isinstance(result, Refused)
    assert (result.reason, result.finding.reason) == (reason, reason) and result.finding.message
    assert not (settings.gallery.folder / "Ann").exists()


def test_a_name_that_is_only_a_suffix_is_refused_and_not_written(gallery, portraits, settings):
    result = gallery.add("Ann", NewPhoto("folder/..jpg", encoded(portraits[0].image)))
    assert isinstance(result, Refused) and result.reason is Reason.UNREADABLE
    assert not (settings.gallery.folder / "Ann").exists()


def test_what_was_added_before_a_failure_is_reported_and_known(gallery, portraits, tmp_path):
    reported, before = [], len(gallery.index)

    def photos():
        yield NewPhoto("1.png", encoded(portraits[0].image))
        yield NewPhoto.read(tmp_path / "gone.png")

    with pytest.raises(GalleryError, match="gone"):
        gallery.add_all("Eileen", photos(), reported.append)
    assert [type(result) for result in reported] == [Added] and len(gallery.index) == before + 1


def test_without_a_network_thread_any_thread_may_add_a_photo(recognizer, portraits, settings):
    results = []
    photo = NewPhoto("new.png", encoded(portraits[0].image))
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        threading.Thread(target=lambda: results.append(gallery.add("Ann", photo)), daemon=True).start()
        until(lambda: results)
    assert isinstance(results[0], Added)


def test_watching_needs_the_network_thread(recognizer, settings):
    with contextlib.closing(Gallery(settings, recognizer)) as gallery, pytest.raises(ValueError, match="networks"):
        gallery.watch()


def test_a_photo_that_resembles_another_person_is_added_with_a_warning(gallery, portraits):
    result = gallery.add("Bob", NewPhoto("new.png", encoded(portraits[1].image)))
    (warning,) = result.warnings
    assert warning.kind is WarningKind.SIMILAR_PEOPLE
    assert warning.people == ("Bob", "Grace Hopper") and warning.similarity >= gallery.threshold


def test_a_photo_that_resembles_no_other_of_its_person_is_added_with_a_warning(gallery, people_gallery, settings):
    for name in ("Eileen Collins_1.jpg", "Eileen Collins_2.jpg"):
        (settings.gallery.folder / name).unlink()
    gallery.load()
    wrong = (people_gallery / "Eileen Collins_1.jpg").read_bytes()
    (warning,) = gallery.add("Grace Hopper", NewPhoto("wrong.jpg", wrong)).warnings
    assert warning.kind is WarningKind.OUTLIER and warning.photos == ("Grace Hopper/wrong.jpg",)


def test_a_name_that_cannot_be_a_folder_is_an_error(gallery):
    with pytest.raises(GalleryError, match="a/b"):
        gallery.add("a/b", NewPhoto("new.png", b""))
