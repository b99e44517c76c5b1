"""Requests through reverse proxies and from pages of other servers, and what a reply says about itself."""

import dataclasses
import json

import pytest
from http_client import Client, free_port, serving

from app.errors import SettingsError
from app.service.api.routes import error_response
from app.service.application import application
from app.service.guard import Guard
from app.service.http import Dialect, Endpoint, Scope
from app.service.server import HttpServer
from app.service.sessions import MAX_FAILED_LOGINS
from app.service.tokens import add_token

SESSION = "/api/v1/session"
KEY = "00000000-0000-0000-0000-000000000000"
HOME, EVIL = "https://home.example", "https://evil.example"


def wrong(client, forwarded):
    return client.get("/info", **{"x-api-key": "wrong", "X-Forwarded-For": forwarded}).status


def test_a_trusted_proxy_says_who_the_client_is(settings, tmp_path):
    tokens, log = tmp_path / "tokens.json", tmp_path / "audit.jsonl"
    secret = add_token(tokens, "phone", "enrol")
    more = {"trusted_proxies": "127.0.0.0/8, 10.0.0.2", "max_connections_per_address": 1}
    with serving(settings, tokens=tokens, audit_log=log, **more) as client:
        # What is before the last address that is not a proxy's is the client's invention.
        tried = [wrong(client, f"198.51.100.{n}, 203.0.113.5:4711, 10.0.0.2") for n in range(MAX_FAILED_LOGINS + 1)]
        assert tried == [401] * MAX_FAILED_LOGINS + [429]
        assert [wrong(client, one) for one in ("203.0.113.5", "203.0.113.6", "[2001:db8::7]:80")] == [429, 401, 401]
        headers = {"X-CSRF": "1", "X-Forwarded-Proto": "https"}
        cookie = client.post(SESSION, {"token": secret}, **headers).headers["set-cookie"]
        assert cookie.startswith("__Host-") and "; Secure" in cookie
        made = {"x-api-key": secret, "X-Forwarded-For": "203.0.113.9"}
        reply = client.post("/api/v1/recognition/subjects", {"subject": "Ann"}, **made)
        assert reply.status == 201
        entry = json.loads(log.read_text().splitlines()[-1])
        assert (entry["address"], entry["request"]) == ("203.0.113.9", reply.headers["x-request-id"])
        with client.opened("/info"), client.opened("/info") as second:
            assert second.status == 401


def test_no_one_else_says_who_the_client_is(settings, tmp_path):
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "phone", "enrol")
    with serving(settings, tokens=tokens, trusted_proxies="10.0.0.2") as client:
        tried = [wrong(client, f"203.0.113.{number}") for number in range(MAX_FAILED_LOGINS + 1)]
        assert tried[-1] == 429
        headers = {"X-CSRF": "1", "X-Forwarded-Proto": "https"}
        assert "Secure" not in client.post(SESSION, {"token": secret}, **headers).headers["set-cookie"]


def test_listed_pages_may_read_replies_and_others_may_not(settings, tmp_path):
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "panel", "read")
    with serving(settings, tokens=tokens, cors_origins=HOME) as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        reply = client.request("OPTIONS", "/extract", headers={"Origin": HOME, **asked})
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, HOME)
        assert "x-api-key" in reply.headers["access-control-allow-headers"]
        other = client.request("OPTIONS", "/extract", headers={"Origin": EVIL, **asked})
        assert "access-control-allow-origin" not in other.headers
        body, token = {"images": {"data": []}}, {"x-api-key": secret}
        reply = client.post("/extract", body, Origin=HOME, **token)
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, HOME)
        assert (reply.headers["vary"], "access-control-allow-credentials" in reply.headers) == ("Origin", False)
        assert client.post("/extract", body, Origin=EVIL, **token).status == 403
        assert "access-control-allow-origin" not in client.get("/info", Origin=EVIL, **token).headers


def test_listed_pages_may_show_the_page_in_a_frame(settings):
    with serving(settings, frame_ancestors=f"{HOME}, http://ha.local:8123") as client:
        allowed = f"frame-ancestors 'self' {HOME} http://ha.local:8123"
        for path in ("/", "/info"):
            assert client.get(path).headers["content-security-policy"].endswith(allowed)


@pytest.mark.parametrize("name", ["cors_origins", "frame_ancestors", "trusted_proxies"])
@pytest.mark.parametrize("value", ["*", "https://a/b", "a; script-src *"])
def test_what_is_no_origin_or_network_is_named(settings, name, value):
    with pytest.raises(SettingsError, match=f"serve.{name}"):
        Guard(dataclasses.replace(settings.serve, **{name: value}))


def test_every_reply_is_careful_also_one_that_refuses(served):
    for headers in ({}, {"Host": "evil.example"}):
        reply = served.get("/info", **headers)
        assert reply.status == (421 if headers else 200)
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["permissions-policy"].startswith("camera=()")
        assert len(reply.headers["x-request-id"]) == 16
    assert served.get("/").headers["permissions-policy"].startswith("camera=(self)")


def test_a_failure_is_found_in_the_log_by_its_number(settings, caplog):
    async def broken(request):
        raise ZeroDivisionError("secret")

    serve = dataclasses.replace(settings.serve, port=free_port())
    dialect = Dialect("broken", (Endpoint("GET", "/broken", broken, Scope.PUBLIC),), error_response)
    with HttpServer(serve) as server:
        server.start(application((dialect,), Guard(serve), serve, print))
        reply = Client(serve.port).get("/broken")
    number = reply.headers["x-request-id"]
    assert (reply.status, number in reply.body.decode(), b"secret" in reply.body) == (500, True, False)
    assert f"request {number}" in caplog.text


def test_the_audit_log_does_not_grow_without_end(settings, tmp_path):
    log = tmp_path / "audit.jsonl"
    with serving(settings, tokens=tmp_path / "tokens.json", audit_log=log, audit_log_mb=0.001) as client:
        for number in range(30):
            reply = client.post("/api/v1/recognition/subjects", {"subject": f"Ann {number}"}, **{"x-api-key": KEY})
            assert reply.status == 201
    older = tmp_path / "audit.jsonl.1"
    assert all(0 < one.stat().st_size <= 1000 and one.stat().st_mode & 0o777 == 0o600 for one in (log, older))
    lines = [json.loads(line) for one in (older, log) for line in one.read_text().splitlines()]
    assert lines[-1]["person"] == "Ann 29"
