"""Requests that are given up, and files that other programs change in the same moment."""

import contextlib
import dataclasses
import io
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import cv2
import pytest
from http_client import Client, free_port, serving
from starlette.requests import Request
from waiting import PATIENT_S, until

from app.assembly import run
from app.capture.uri import parse_source
from app.files import locked
from app.network_thread import NetworkThread
from app.output.progress import Progress
from app.service import audit
from app.service.audit import AuditLog
from app.service.server import OneWrite
from app.service.serving import http_server
from app.service.serving import serving as open_server
from app.settings import GallerySettings, OutputSettings, RunSettings, Settings
from app.settings.serve import ServeSettings

REQUEST = Request({"type": "http", "client": ("127.0.0.1", 1), "headers": []})


def lines(*paths):
    return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]


def test_a_change_that_outlasts_its_request_is_in_the_audit_log(settings, tmp_path, photo, monkeypatch):
    (settings.gallery.folder / "Collins.jpg").write_bytes(photo)
    begun, may_go_on, unlink = threading.Event(), threading.Event(), Path.unlink

    def held(path, *arguments, **options):
        if path.name == "Collins.jpg":
            begun.set()
            assert may_go_on.wait(PATIENT_S)
        unlink(path, *arguments, **options)

    log = tmp_path / "audit.jsonl"
    with serving(settings, tokens=tmp_path / "tokens.json", audit_log=log, timeout_s=1.0) as client:
        (shown,) = client.get("/api/v1/people/Collins").json["photos"]
        monkeypatch.setattr(Path, "unlink", held)
        statuses = []
        path = f"/api/v1/people/Collins/photos/{shown['id']}"
        # A slow machine may give one up before it has begun.
        until(begun.is_set, lambda: statuses.append(client.request("DELETE", path).status))
        assert set(statuses) == {503}
        may_go_on.set()
        until(lambda: [one["action"] for one in lines(log)] == ["remove photo"])


@pytest.mark.parametrize("looked", [1, 2, 3])
def test_the_audit_log_may_be_renamed_by_another_process_at_any_moment(tmp_path, monkeypatch, caplog, looked):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, 1.0)
    log.note(REQUEST, "first")
    stat, looks = Path.stat, []

    def renamed_meanwhile(one, **options):
        found = stat(one, **options)
        if one == path:
            looks.append(one)
            if len(looks) == looked:
                path.rename(tmp_path / "audit.jsonl.1")
        return found

    monkeypatch.setattr(Path, "stat", renamed_meanwhile)
    log.note(REQUEST, "second")
    monkeypatch.undo()
    assert [one["action"] for one in lines(tmp_path / "audit.jsonl.1", path)] == ["first", "second"]
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in tmp_path.glob("audit.jsonl*"))
    assert caplog.text == ""


def test_an_audit_log_that_another_process_is_about_to_rename_is_not_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "LOCK_WAIT_S", 0.0)
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, 1e-6)
    with locked(tmp_path / ".audit.jsonl.lock", 0.0):
        log.note(REQUEST, "first")
        log.note(REQUEST, "second")
    assert [one["action"] for one in lines(path)] == ["first", "second"]
    log.note(REQUEST, "third")
    assert [one["action"] for one in lines(path)] == ["third"]


def test_a_client_that_goes_while_it_sends_is_no_failure(settings, tmp_path, caplog, monkeypatch):
    is_gone, lose = threading.Event(), OneWrite.connection_lost

    def lost(connection, error):
        lose(connection, error)
        is_gone.set()

    with serving(settings, tokens=tmp_path / "tokens.json") as client:
        assert client.get("/api/v1/health").status == 200
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENT_S) as connection:
            connection.sendall(
                b"POST /api/v1/detect HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n"
            )
            assert b" 100 " in connection.recv(100), "the body is waited for"
            monkeypatch.setattr(OneWrite, "connection_lost", lost)
            connection.sendall(b"--x\r\n")
        assert is_gone.wait(PATIENT_S)
    assert "failed" not in caplog.text


def test_what_a_client_that_has_gone_waited_for_is_not_done(settings, tmp_path, photo, monkeypatch):
    networks, asked = NetworkThread(), []
    begun, may_go_on, imdecode = threading.Event(), threading.Event(), cv2.imdecode
    is_gone, lose = threading.Event(), OneWrite.connection_lost

    def held(*arguments):
        begun.set()
        assert may_go_on.wait(PATIENT_S)
        return imdecode(*arguments)

    def lost(connection, error):
        lose(connection, error)
        is_gone.set()

    with serving(settings, networks, tokens=tmp_path / "tokens.json") as client:
        monkeypatch.setattr(cv2, "imdecode", held)
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENT_S) as connection:
            body = (
                b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
                + photo
                + b"\r\n--x--\r\n"
            )
            head = (
                "POST /api/v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            )
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert begun.wait(PATIENT_S)
            monkeypatch.setattr(OneWrite, "connection_lost", lost)
        assert is_gone.wait(PATIENT_S)
        assert client.get("/api/v1/health").status == 200, "the server has come by"
        networks.on_submit(lambda: asked.append(1))
        may_go_on.set()
    assert asked == []


def test_what_has_begun_when_the_server_ends_is_answered(settings, tmp_path, photo, monkeypatch):
    monkeypatch.setattr("app.service.server.CLOSE_WITHIN_S", PATIENT_S)
    begun, may_go_on, imdecode = threading.Event(), threading.Event(), cv2.imdecode

    def held(*arguments):
        begun.set()
        assert may_go_on.wait(PATIENT_S)
        return imdecode(*arguments)

    limits = dataclasses.replace(settings.serve, port=free_port(), tokens=tmp_path / "tokens.json")
    with ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:
        server = stack.enter_context(open_server(dataclasses.replace(settings, serve=limits), Progress(io.StringIO())))
        monkeypatch.setattr(cv2, "imdecode", held)
        files = [("photos", "a.jpg", photo)]
        reply = pool.submit(Client(limits.port).upload, "/api/v1/people/Ann/photos", files=files)
        assert begun.wait(PATIENT_S)
        ended = pool.submit(stack.pop_all().close)
        until(lambda: server._server.should_exit)
        may_go_on.set()
        assert (reply.result().status, reply.result().json["photos"][0]["added"]) == (200, True)
        ended.result()


def test_a_request_that_waits_for_the_networks_of_a_run_is_refused_when_that_ends(
    people_video, people_gallery, built_in_models, tmp_path, photo
):
    settings = Settings(
        models=built_in_models,
        gallery=GallerySettings(folder=people_gallery),
        output=OutputSettings(window=False),
        run=RunSettings(max_frames=1),
        serve=ServeSettings(port=free_port(), tokens=tmp_path / "tokens.json"),
    )
    replies = []

    @contextlib.contextmanager
    def alongside(opened):
        with ThreadPoolExecutor(1) as pool, http_server(settings, opened.recognizer, opened.gallery, opened.networks):
            yield
            files = [("image", "a.jpg", photo)]
            replies.append(pool.submit(Client(settings.serve.port).upload, "/api/v1/detect", files=files))
            until(lambda: replies[0].done() or any(opened.networks._waiting.values()))

    sources = [parse_source(str(people_video), "hall")]
    run(settings, sources, threading.Event, Progress(io.StringIO()), alongside=alongside)
    assert replies[0].result().status == 503


def test_a_folder_that_is_removed_while_people_are_listed_is_left_out(own, monkeypatch):
    for name in ("Ann", "Bob"):
        (own.gallery / name).mkdir()
    iterdir = Path.iterdir

    def removed_meanwhile(path):
        if PurePath(path).name == "Ann" and path.exists():
            path.rmdir()
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", removed_meanwhile)
    reply = own.get("/api/v1/recognition/subjects", **{"x-api-key": "4d4b0b4c-9f4e-4a8e-8a43-3f2f6f9d0c55"})
    assert (reply.status, reply.json) == (200, {"subjects": ["Bob"]})
