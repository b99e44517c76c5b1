"""Faces are embedded by another machine: a real `serve`, which is killed, frozen, too slow, or has another model."""

import contextlib
import dataclasses
import logging
import threading

import cv2
import numpy as np
import pytest
from ports import free_port
from serve_process import ServeProcess
from shipped import CATALOG
from tcp_link import Link
from waiting import until

from app.errors import ModelError, SettingsError
from app.gallery.gallery import Gallery
from app.models.loading import ModelLoader
from app.models.remote import known_pictures
from app.pipeline import Pipeline
from app.recognizer import Recognizer
from app.service.tokens import add_token
from app.settings import RemoteSettings
from app.types import NO_ATTRIBUTES, Frame, Reason

for package in ("starlette", "uvicorn", "msgspec", "orjson", "msgpack", "python_multipart"):
    pytest.importorskip(package)

FACES = known_pictures((112, 112))
PATIENT_MS = 60_000.0
"""A server that works answers within this time, however busy the machine is."""


@pytest.fixture(autouse=True)
def only_failures_lead_to_checks(monkeypatch):
    """On a busy machine, a server takes longer to start than it is between two checks."""
    monkeypatch.setattr("app.inference.remote.circuit.CHECK_EVERY_S", 3600.0)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    server = ServeProcess(tmp_path_factory.mktemp("server"))
    server.tokens.with_name("device").write_text(add_token(server.tokens, "door", "read"))
    yield server
    server.kill()


@pytest.fixture
def server(module_server):
    """Runs, with the built-in models, and asks for a token."""
    if module_server._process is None:
        module_server.describe()
        module_server.start()
    return module_server


def device_of(server, **remote):
    """The settings of a device that is let in."""
    token = f"file:{server.tokens.with_name('device')}"
    return RemoteSettings(**{"url": server.url, "timeout_ms": PATIENT_MS, "token": token, **remote})


@pytest.fixture
def embedder(settings):
    """Opens embedders of a server, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_embedder(server, models=settings.models, **remote):
            device = dataclasses.replace(settings, models=models, remote=device_of(server, **remote))
            return stack.enter_context(contextlib.closing(ModelLoader(device).open_embedder()))

        yield open_embedder


@pytest.fixture(scope="module")
def wrong_catalog(tmp_path_factory):
    """The same file under the same name, which gets its pictures in another order of colours."""
    folder = tmp_path_factory.mktemp("wrong")
    for file in (*CATALOG.parent.glob("*.onnx"), *CATALOG.parent.glob("*.npz")):
        (folder / file.name).symlink_to(file)
    lines = CATALOG.read_text().splitlines(keepends=True)
    start = lines.index("mobilefacenet:\n")
    row = next(row for row in range(start, len(lines)) if lines[row] == "  channels: rgb\n")
    lines[row] = "  channels: bgr\n"
    (folder / "catalog.yaml").write_text("".join(lines))
    return folder / "catalog.yaml"


def errors_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def same(vectors, others):
    return bool(((vectors * others).sum(axis=1) > 0.9999).all())


def test_the_server_embeds_and_the_answers_are_those_of_this_machine(server, embedder, recognizer):
    remote = embedder(server)
    pictures = np.concatenate([FACES] * 5)
    vectors, lengths = remote.embed_with_norms(pictures)
    here, lengths_here = recognizer.embed_crops_with_norms(pictures)
    assert same(vectors, here) and np.allclose(lengths, lengths_here, rtol=1e-3)
    status = remote.remote
    assert status.is_up and status.answered == 2 and status.local == status.failed == 0, "20 faces are two requests"
    assert status.p95_s > 0 and remote.runs_on.backend == "remote" and server.url in remote.runs_on.label


def test_closing_ends_the_thread_also_while_the_server_hangs(server, embedder):
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "remote mobilefacenet"]

    until(lambda: not threads())
    remote = embedder(server)
    assert len(threads()) == 1
    server.freeze()
    try:
        remote._engine._timeout_s = 0.2
        remote.embed(FACES)
        remote.close()
        until(lambda: not threads())
    finally:
        server.thaw()


def test_a_killed_server_is_replaced_by_this_machine_and_comes_back(server, embedder, recognizer, caplog):
    remote = embedder(server)
    expected = recognizer.embed_crops(FACES)
    server.kill()
    for _ in range(3):
        assert same(remote.embed(FACES), expected)
    status = remote.remote
    assert not status.is_up and status.failed == 1 and status.local == 3, "a dead server is asked once"
    assert remote.runs_on.backend == "onnx"
    assert len(errors_in(caplog)) == 1 and server.url in errors_in(caplog)[0]
    server.start()
    until(lambda: remote.remote.is_up)
    assert same(remote.embed(FACES), expected)
    assert remote.remote.answered == 1 and remote.remote.local == 3 and remote.runs_on.backend == "remote"


def test_a_frozen_server_costs_one_deadline(server, embedder, recognizer, caplog):
    remote = embedder(server)
    server.freeze()
    try:
        engine = remote._engine
        engine._timeout_s = 0.2
        assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
        assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
        assert remote.remote.failed == 1 and remote.remote.local == 2 and not remote.remote.is_up
        assert "200 ms" in errors_in(caplog)[0]
    finally:
        engine._timeout_s = PATIENT_MS / 1000
        server.thaw()
    until(lambda: remote.remote.is_up)


@pytest.mark.slow
def test_a_server_that_is_too_slow_is_not_used(server, embedder, recognizer, caplog):
    remote = embedder(server, timeout_ms=1.0)
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
    assert not remote.remote.is_up and remote.remote.failed == 0 and "limit is 1 ms" in errors_in(caplog)[0]


@pytest.mark.slow
def test_a_start_without_the_server_goes_on_and_finds_it_later(server, embedder, recognizer, caplog):
    server.kill()
    remote = embedder(server)
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
    assert not remote.remote.is_up and len(errors_in(caplog)) == 1
    server.start()
    until(lambda: remote.remote.is_up)


def test_a_server_with_another_model_is_refused_at_the_start(server, embedder, settings, wrong_catalog):
    with pytest.raises(ModelError, match="404"):
        embedder(server, model="other")
    with pytest.raises(ModelError, match=r"cosine .* 0\.8"):
        embedder(server, dataclasses.replace(settings.models, catalog=wrong_catalog))


@pytest.mark.slow
def test_a_server_that_comes_back_with_another_model_is_not_used(server, embedder, recognizer, wrong_catalog, caplog):
    remote = embedder(server)
    server.kill()
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
    server.describe(wrong_catalog)
    server.start()
    until(lambda: len(errors_in(caplog)) == 2)
    assert "another model" in errors_in(caplog)[1] and not remote.remote.is_up
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
    server.kill()
    server.describe()
    server.start()
    until(lambda: remote.remote.is_up)


@pytest.mark.slow
def test_another_model_behind_a_new_connection_gets_no_face_a_name(server, embedder, recognizer, wrong_catalog, caplog):
    """It was replaced between two requests, so that no request has failed."""
    remote = embedder(server)
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES)) and remote.remote.answered == 1
    server.kill()
    server.describe(wrong_catalog)
    server.start()
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES))
    assert remote.remote.failed == remote.remote.local == 1 and "another model" in errors_in(caplog)[0]
    server.kill()


@pytest.mark.slow
def test_a_server_that_only_closed_the_connection_is_used_again(server, embedder, caplog):
    remote = embedder(server)
    server.kill()
    server.start()
    remote.embed(FACES)
    status = remote.remote
    assert status.is_up and status.answered == 1 and status.failed == status.local == 0 and not errors_in(caplog)


@pytest.mark.slow
def test_attribute_models_run_there_as_well(server, settings, portraits, caplog):
    server.kill()
    server.describe(mask="mask_drawn", gender_age="genderage_utk")
    server.start()
    attributes = dataclasses.replace(settings.attributes, mask="mask_drawn", gender_age="genderage_utk")
    remote = device_of(server, attributes=True, fallback="later")
    here = dataclasses.replace(settings, attributes=attributes)

    def predicted(recognizer):
        image = portraits[0].image
        (faces,) = recognizer.find([image])
        return recognizer.attributes(image, faces, range(len(faces)), [NO_ATTRIBUTES] * len(faces))[0]

    with Recognizer.from_settings(here) as recognizer:
        assert recognizer.remotes == {}
        expected = predicted(recognizer)
    with Recognizer.from_settings(dataclasses.replace(here, remote=remote)) as recognizer:
        assert set(recognizer.remotes) == {"embedder", "mask", "gender_age"}
        found = predicted(recognizer)
        server.kill()
        assert predicted(recognizer).age == pytest.approx(expected.age, abs=0.1), "they do not wait"
        after = recognizer.remotes
    assert found.gender is expected.gender and found.age == pytest.approx(expected.age, abs=0.1)
    assert found.mask_probability == pytest.approx(expected.mask_probability, abs=0.01)
    assert after["mask"].answered > 0 and after["mask"].local == 1 and after["mask"].failed == 1
    server.describe()
    server.start()
    with pytest.raises(ModelError, match="404"):
        Recognizer.from_settings(dataclasses.replace(here, remote=remote))


def test_an_attribute_model_that_the_server_lacks_is_explained(server, settings):
    attributes = dataclasses.replace(settings.attributes, gender_age="genderage_utk")
    here = dataclasses.replace(settings, attributes=attributes, remote=device_of(server, attributes=True))
    with pytest.raises(ModelError, match=r"404.*serve --gender-age genderage_utk") as refused:
        Recognizer.from_settings(here)
    assert "remote.model" not in str(refused.value)


def test_only_those_with_a_token_are_let_in(server, embedder, monkeypatch):
    monkeypatch.setenv("FACES_TOKEN", server.tokens.with_name("device").read_text())
    with pytest.raises(ModelError, match="401"):
        embedder(server, token=None)
    assert embedder(server, token="env:FACES_TOKEN").remote.is_up
    with pytest.raises(SettingsError, match=r"remote\.token"):
        embedder(server, token="secret itself")


def test_doctor_says_how_the_server_is(server, settings):
    from app.tools.doctor.program import check_networks

    def last(**remote):
        return check_networks(dataclasses.replace(settings, remote=device_of(server, **remote)))[-1]

    assert last().status.value == "OK" and server.url in last().text
    refused = last(model="other")
    assert refused.status.value == "PROBLEM" and "404" in refused.text
    lost = last(url=f"http://127.0.0.1:{free_port()}")
    assert lost.status.value == "warning" and "refused" in lost.text


@pytest.mark.parametrize(
    "url", ["ftp://a:1", "http://", "http://user:password@host", "grpc://host", "http://host:port", "host:80"]
)
def test_an_address_that_cannot_be_used_is_refused(server, embedder, url):
    with pytest.raises(SettingsError, match=r"remote\.url"):
        embedder(server, url=url)


@pytest.mark.slow
def test_names_that_may_wait_come_when_the_server_does(server, settings, people_gallery, people_video, caplog):
    _, picture = cv2.VideoCapture(str(people_video)).read()
    server.kill()
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=people_gallery),
        remote=device_of(server, fallback="later"),
    )
    with Recognizer.from_settings(settings) as recognizer, contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        assert gallery.people.names, "photos do not wait"
        pipeline = Pipeline(recognizer, gallery, settings)
        moments = iter(range(1000))

        def look():
            index = next(moments)
            return pipeline.process(Frame(picture, "door", index, 0.0, index * 0.04)).matches

        for _ in range(10):
            assert {match.reason for match in look()} == {Reason.NOT_COMPARED_YET}
        assert recognizer.embedder.remote.deferred >= 10
        server.start()
        until(lambda: recognizer.embedder.remote.is_up)
        named = [{match.name for match in look()} for _ in range(20)][-1]
        assert named == {"Eileen Collins", "Grace Hopper", None}
        local = recognizer.embedder.remote.local
        server.kill()
        kept = {match.name for match in look()}
        assert kept == named, "who has a name keeps it"
        assert recognizer.embedder.remote.local == local


def test_faces_travel_as_their_pixels_and_those_who_are_settled_send_nothing(
    server, settings, people_gallery, people_video
):
    _, picture = cv2.VideoCapture(str(people_video)).read()
    with contextlib.closing(Link(server.port)) as link:
        settings = dataclasses.replace(
            settings,
            gallery=dataclasses.replace(settings.gallery, folder=people_gallery),
            remote=device_of(server, url=f"http://127.0.0.1:{link.port}"),
        )
        with Recognizer.from_settings(settings) as recognizer, contextlib.closing(
            Gallery(settings, recognizer)
        ) as gallery:
            gallery.load()
            crops = recognizer.crops(picture, recognizer.find([picture])[0])
            assert len(crops) == 3 and crops[0].nbytes == 112 * 112 * 3 == 37632
            before = link.sent_bytes
            recognizer.embed_crops(crops)
            on_the_wire = link.sent_bytes - before
            assert crops.nbytes < on_the_wire < 1.02 * crops.nbytes, "with the headers of HTTP"
            assert picture.nbytes > 24 * crops.nbytes, "and a frame is much more"

            pipeline, sent = Pipeline(recognizer, gallery, settings), []
            rule = settings.recognition
            for index in range(int(25 * rule.reembed_after_s) - 1):
                result = pipeline.process(Frame(picture, "door", index, 0.0, index * 0.04))
                sent.append(recognizer.embedder.remote.answered)
            votes = rule.vote_window
            assert {match.name for match in result.matches} == {"Eileen Collins", "Grace Hopper", None}
            settled = sent[-1]
            assert sent[votes] > sent[0]
            assert settled - sent[votes] <= 1, "a clearer look at the unknown face, of three faces in each frame"
            while sent[-1] == settled:
                index += 1
                pipeline.process(Frame(picture, "door", index, 0.0, index * 0.04))
                sent.append(recognizer.embedder.remote.answered)
            assert index * 0.04 >= rule.reembed_after_s, "they are compared again after this time"
            assert recognizer.embedder.remote.failed == recognizer.embedder.remote.local == 0
