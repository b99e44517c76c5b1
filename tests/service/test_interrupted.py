"""Requests that are given up, and files that other programs change in the same moment."""

import json
import socket
import threading
from pathlib import Path, PurePath

import pytest
from http_client import serving
from starlette.requests import Request
from waiting import PATIENT_S, until

from app.files import locked
from app.service import audit
from app.service.audit import AuditLog

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
    from app.service.server import OneWrite

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
