"""The gallery keeps in step with its folder while frames go on."""

import contextlib
import dataclasses
import logging
import shutil
import threading

import pytest
from waiting import until

from app.gallery.enrolment import Enrolment
from app.network_thread import NetworkThread
from app.text import program


@pytest.fixture
def networks():
    """The queue of jobs that the camera loop works off between two frames."""
    return NetworkThread()


@pytest.fixture
def enrolment(recognizer, networks, settings):
    made = []

    def open_enrolment(**changes):
        made.append(Enrolment(dataclasses.replace(settings.gallery, **changes), recognizer, networks))
        return made[-1]

    yield open_enrolment
    networks.close()
    for one in made:
        one.close()


def names(enrolment):
    return {photo.person for photo in enrolment.gallery.row_photos}


def test_everybody_in_the_folder_is_known_at_the_start(enrolment, people_gallery, settings):
    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    people = enrolment()
    people.enrol_all()
    assert names(people) == {"Eileen Collins", "Grace Hopper"}
    assert len(people.index) == 4


def test_a_person_added_while_it_runs_is_known_soon_and_one_removed_is_forgotten(
    enrolment, networks, people_gallery, settings
):
    folder = settings.gallery.folder
    people = enrolment(reload_every_s=0.02)
    people.enrol_all()
    before = people.index
    people.watch()
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
    until(lambda: [networks.run_pending()] and names(people) == {"Grace"})
    assert people.index.generation > before.generation
    assert len(before) == 0, "an index in use is never changed"
    (folder / "Grace.jpg").unlink()
    until(lambda: [networks.run_pending()] and names(people) == set())


def test_the_networks_are_used_by_the_loops_thread_alone(recognizer, networks, people_gallery, settings):
    users = []

    class Spy:
        def __init__(self, network):
            self._network = network

        def __getattr__(self, name):
            users.append(threading.get_ident())
            return getattr(self._network, name)

    gallery = dataclasses.replace(settings.gallery, reload_every_s=0.02)
    spied = dataclasses.replace(recognizer, detector=Spy(recognizer.detector), embedder=Spy(recognizer.embedder))
    with contextlib.closing(Enrolment(gallery, spied, networks)) as people:
        people.enrol_all()
        people.watch()
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / "Grace.jpg")
        until(lambda: [networks.run_pending()] and names(people) == {"Grace"})
    assert set(users) == {threading.get_ident()}


def test_photos_seen_before_are_not_embedded_again(recognizer, networks, people_gallery, settings):
    class Refusing:
        def __getattr__(self, name):
            raise AssertionError("a network was asked")

    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    first = Enrolment(settings.gallery, recognizer, networks)
    first.enrol_all()
    refusing = dataclasses.replace(recognizer, detector=Refusing(), embedder=Refusing())
    again = Enrolment(settings.gallery, refusing, networks)
    again.enrol_all()
    assert names(again) == names(first)


def test_photos_are_judged_again_by_other_networks(recognizer, networks, people_gallery, settings):
    class Spy:
        def __getattr__(self, name):
            asked.append(name)
            return getattr(recognizer.detector, name)

    def asks_the_detector(fingerprint):
        asked.clear()
        spied = dataclasses.replace(recognizer, detector=Spy(), fingerprint=fingerprint)
        Enrolment(settings.gallery, spied, networks).enrol_all()
        return bool(asked)

    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    asked = []
    assert [asks_the_detector(fingerprint) for fingerprint in ("a", "a", "b")] == [True, False, True]


def test_nothing_of_a_removed_person_stays_behind_in_a_cache_of_other_limits(enrolment, people_gallery, settings):
    photo = settings.gallery.folder / "Grace.jpg"
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", photo)
    enrolment().enrol_all()
    cache = settings.gallery.folder / ".embeddings.cache"
    before = cache.read_bytes()
    photo.unlink()
    enrolment(min_face_px=30.0).enrol_all()
    assert len(cache.read_bytes()) < len(before)


def test_refused_photos_and_doubtful_people_are_told_once(enrolment, people_gallery, settings, caplog):
    folder = settings.gallery.folder
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Mary.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    people = enrolment()
    with caplog.at_level(logging.WARNING):
        people.enrol_all()
        people.enrol_all()
    messages = [record.getMessage() for record in caplog.records]
    assert sum("Grace" in message and "Mary" in message for message in messages) == 1
    assert sum(message.startswith("photo broken.jpg: ") for message in messages) == 1


def test_many_people_who_look_alike_do_not_bury_what_else_is_said(enrolment, people_gallery, settings, caplog):
    for number in range(6):
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / f"Person {'ABCDEF'[number]}.jpg")
    people = enrolment()
    with caplog.at_level(logging.WARNING):
        people.enrol_all()
    told = [record.message for record in caplog.records if record.message.startswith("gallery: ")]
    more = len(people.problems()) - 5
    assert more > 0 and len(told) == 6
    assert told[-1] == f"gallery: and {more} more like these; all of them: {program()} people check"
