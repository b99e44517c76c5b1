"""The gallery keeps in step with its folder while frames go on."""

import contextlib
import dataclasses
import logging
import shutil
import threading

import pytest
import yaml
from shipped import CATALOG
from waiting import until

from app.assembly import open_enrolment
from app.gallery.enrolment import Enrolment, ErrandRefusedError, Errands
from app.gallery.people import PhotoFinding, PhotoStatus
from app.text import program


@pytest.fixture
def enrolment(networks, settings):
    made = []

    def open_enrolment(**changes):
        gallery = dataclasses.replace(settings.gallery, **changes)
        made.append(Enrolment(gallery, *networks, threshold=0.4, examiner="test"))
        return made[-1]

    yield open_enrolment
    for one in made:
        one.close()


def work_until(enrolment, condition):
    """What the loop does between frames, until something has happened."""
    until(condition, do=enrolment.keep_up)


def names(enrolment):
    return {photo.person for photo in enrolment.gallery.row_photos}


def test_everybody_in_the_folder_is_known_at_the_start(enrolment, people_gallery, settings):
    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    people = enrolment()
    people.enrol_all()
    assert names(people) == {"Eileen Collins", "Grace Hopper"}
    assert len(people.known.index) == 4


def test_a_person_added_while_it_runs_is_known_soon_and_one_removed_is_forgotten(enrolment, people_gallery, settings):
    folder = settings.gallery.folder
    people = enrolment(reload_every_s=0.02)
    people.enrol_all()
    before = people.known
    people.watch()
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", folder / "Grace.jpg")
    work_until(people, lambda: names(people) == {"Grace"})
    assert people.known.generation > before.generation
    assert len(before.index) == 0, "an index in use is never changed"
    (folder / "Grace.jpg").unlink()
    work_until(people, lambda: names(people) == set())


def test_the_networks_are_used_by_the_loops_thread_alone(networks, people_gallery, settings):
    users = []

    class Spy:
        def __init__(self, network):
            self._network = network

        def __getattr__(self, name):
            users.append(threading.get_ident())
            return getattr(self._network, name)

    gallery = dataclasses.replace(settings.gallery, reload_every_s=0.02)
    with contextlib.closing(Enrolment(gallery, *map(Spy, networks), threshold=0.4, examiner="test")) as people:
        people.enrol_all()
        people.watch()
        shutil.copy(people_gallery / "Grace Hopper_1.jpg", settings.gallery.folder / "Grace.jpg")
        work_until(people, lambda: names(people) == {"Grace"})
    assert set(users) == {threading.get_ident()}


def test_photos_seen_before_are_not_embedded_again(networks, people_gallery, settings):
    class Refusing:
        def __getattr__(self, name):
            raise AssertionError("a network was asked")

    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    first = Enrolment(settings.gallery, *networks, threshold=0.4, examiner="test")
    first.enrol_all()
    again = Enrolment(settings.gallery, Refusing(), Refusing(), threshold=0.4, examiner="test")
    again.enrol_all()
    assert names(again) == names(first)


def test_photos_are_judged_anew_where_the_detector_reads_landmarks_otherwise(
    networks, people_gallery, settings, tmp_path
):
    class Spy:
        def __getattr__(self, name):
            asked.append(name)
            return getattr(networks[0], name)

    def asked_for(landmark_scale):
        asked.clear()
        entries["mine"] = {**of_the_family, "landmark_scale": landmark_scale}
        catalog.write_text(yaml.safe_dump(entries), encoding="utf-8")
        with open_enrolment(chosen, Spy(), networks[1]) as people:
            people.enrol_all()
        return list(asked)

    shutil.copytree(people_gallery, settings.gallery.folder, dirs_exist_ok=True)
    catalog, asked = tmp_path / "catalog.yaml", []
    entries = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    of_the_family = {**entries["retinaface_mnet025"], "family": "retinaface_mxnet"}
    del of_the_family["min_sizes"]
    chosen = dataclasses.replace(
        settings, models=dataclasses.replace(settings.models, catalog=catalog, detector="mine")
    )
    assert asked_for(1.0) and not asked_for(1.0)
    assert asked_for(0.2)


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


def test_errands_are_done_by_their_owner_and_refused_after_the_end():
    errands = Errands()
    finding = PhotoFinding(PhotoStatus.NO_FACE)
    answers = []

    def ask():
        try:
            answers.append(errands.ask(lambda: finding))
        except ErrandRefusedError:
            answers.append("refused")

    asker = threading.Thread(target=ask)
    asker.start()
    while not answers:
        errands.run_one()
    asker.join()
    late = threading.Thread(target=ask)
    errands.close()
    late.start()
    late.join()
    assert answers == [finding, "refused"]
