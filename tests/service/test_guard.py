"""Who may do what, and how much of it."""

import base64
import dataclasses
import socket

import pytest
from http_client import serving
from waiting import PATIENT_S

from app.errors import SettingsError
from app.service.guard import Guard
from app.service.http import Endpoint, Scope
from app.service.self_test import self_test_picture
from app.service.sessions import MAX_FAILED_LOGINS
from app.service.tokens import add_token, read_tokens, remove_token
from app.settings.serve import ServeSettings

ENDPOINTS = [
    ("POST", "/extract", Scope.READ),
    ("POST", "/draw_detections", Scope.READ),
    ("POST", "/multipart/draw_detections", Scope.READ),
    ("GET", "/info", Scope.READ),
    ("GET", "/health", Scope.PUBLIC),
    ("GET", "/healthcheck", Scope.PUBLIC),
    ("GET", "/status", Scope.READ),
    ("POST", "/find_faces", Scope.READ),
    ("POST", "/find_faces_base64", Scope.READ),
    ("POST", "/scan_faces", Scope.READ),
    ("GET", "/core/healthcheck", Scope.PUBLIC),
    ("GET", "/core/status", Scope.READ),
    ("POST", "/core/find_faces", Scope.READ),
    ("POST", "/core/find_faces_base64", Scope.READ),
    ("POST", "/core/scan_faces", Scope.READ),
    ("POST", "/api/v1/recognition/recognize", Scope.READ),
    ("POST", "/api/v1/recognition/embeddings/recognize", Scope.READ),
    ("GET", "/api/v1/recognition/faces", Scope.READ),
    ("POST", "/api/v1/recognition/faces", Scope.ENROL),
    ("DELETE", "/api/v1/recognition/faces", Scope.ENROL),
    ("POST", "/api/v1/recognition/faces/delete", Scope.ENROL),
    ("DELETE", "/api/v1/recognition/faces/{image_id}", Scope.ENROL),
    ("GET", "/api/v1/recognition/faces/{image_id}/img", Scope.READ),
    ("POST", "/api/v1/recognition/faces/{image_id}/verify", Scope.READ),
    ("POST", "/api/v1/recognition/embeddings/faces/{image_id}/verify", Scope.READ),
    ("GET", "/api/v1/recognition/subjects", Scope.READ),
    ("POST", "/api/v1/recognition/subjects", Scope.ENROL),
    ("DELETE", "/api/v1/recognition/subjects", Scope.ENROL),
    ("PUT", "/api/v1/recognition/subjects/{subject}", Scope.ENROL),
    ("DELETE", "/api/v1/recognition/subjects/{subject}", Scope.ENROL),
    ("POST", "/api/v1/detection/detect", Scope.READ),
    ("POST", "/api/v1/verification/verify", Scope.READ),
    ("POST", "/api/v1/verification/embeddings/verify", Scope.READ),
    ("GET", "/api/v1/config", Scope.PUBLIC),
    ("GET", "/api/v1/health", Scope.PUBLIC),
    ("GET", "/api/v1/version", Scope.READ),
    ("POST", "/api/v1/detect", Scope.READ),
    ("POST", "/api/v1/embed", Scope.READ),
    ("POST", "/api/v1/identify", Scope.READ),
    ("POST", "/api/v1/verify", Scope.READ),
    ("GET", "/api/v1/people", Scope.READ),
    ("GET", "/api/v1/people/{name}", Scope.READ),
    ("PATCH", "/api/v1/people/{name}", Scope.ENROL),
    ("DELETE", "/api/v1/people/{name}", Scope.ENROL),
    ("POST", "/api/v1/people/{name}/photos", Scope.ENROL),
    ("GET", "/api/v1/people/{name}/photos/{photo}", Scope.READ),
    ("DELETE", "/api/v1/people/{name}/photos/{photo}", Scope.ENROL),
    ("POST", "/api/v1/people/{name}/photos/{photo}/move", Scope.ENROL),
    ("GET", "/api/v1/channels", Scope.READ),
    ("POST", "/api/v1/channels/{name}/stop", Scope.ADMIN),
    ("POST", "/api/v1/channels/{name}/start", Scope.ADMIN),
    ("GET", "/api/v1/channels/{name}/snapshot.jpg", Scope.READ),
    ("GET", "/api/v1/channels/{name}/mjpeg", Scope.READ),
    ("GET", "/api/v1/metrics", Scope.READ),
    ("GET", "/api/v1/events", Scope.READ),
    ("GET", "/api/v1/events/stream", Scope.READ),
    ("GET", "/api/v1/visits", Scope.READ),
    ("GET", "/api/v1/retention", Scope.READ),
    ("GET", "/api/v1/visits/{visit}", Scope.READ),
    ("GET", "/api/v1/visits/{visit}/picture.jpg", Scope.READ),
    ("POST", "/api/v1/visits/{visit}/person", Scope.ENROL),
    ("POST", "/api/v1/events/{event}/person", Scope.ENROL),
    ("GET", "/api/v1/live", Scope.READ),
    ("GET", "/api/v1/strangers", Scope.READ),
    ("GET", "/api/v1/strangers/{stranger}", Scope.READ),
    ("GET", "/api/v1/strangers/{stranger}/pictures/{picture}/frame.jpg", Scope.READ),
    ("DELETE", "/api/v1/strangers/{stranger}", Scope.ENROL),
    ("GET", "/api/v1/strangers/{stranger}/pictures/{picture}", Scope.READ),
    ("POST", "/api/v1/strangers/{stranger}/name", Scope.ENROL),
    ("POST", "/api/v1/strangers/{stranger}/merge", Scope.ENROL),
    ("POST", "/api/v1/strangers/{stranger}/split", Scope.ENROL),
    ("POST", "/api/v1/strangers/{stranger}/ignore", Scope.ENROL),
    ("POST", "/api/v1/strangers/search", Scope.READ),
    ("GET", "/api/v1/undo", Scope.READ),
    ("GET", "/api/v1/people/{name}/export.zip", Scope.ENROL),
    ("GET", "/api/v1/strangers/{stranger}/export.zip", Scope.ENROL),
    ("POST", "/api/v1/undo/{change}", Scope.ENROL),
    ("GET", "/api/v1/settings", Scope.ADMIN),
    ("GET", "/api/v1/session", Scope.PUBLIC),
    ("POST", "/api/v1/session", Scope.PUBLIC),
    ("DELETE", "/api/v1/session", Scope.PUBLIC),
    ("POST", "/api/v1/tickets", Scope.READ),
    ("GET", "/api/v1/status", Scope.READ),
    ("GET", "/api/v1/doctor", Scope.READ),
    ("GET", "/api/v1/fleet", Scope.READ),
    ("POST", "/api/v1/fleet/conflicts/{conflict}", Scope.ADMIN),
    ("GET", "/openapi.json", Scope.READ),
    ("GET", "/", Scope.PUBLIC),
    ("GET", "/docs", Scope.PUBLIC),
    ("GET", "/favicon.ico", Scope.PUBLIC),
    ("GET", "/static/{version}/{file:path}", Scope.PUBLIC),
    ("POST", "/v1/vision/face", Scope.READ),
    ("POST", "/v1/vision/face/recognize", Scope.READ),
    ("POST", "/v1/vision/face/match", Scope.READ),
    ("POST", "/v1/vision/face/list", Scope.READ),
    ("POST", "/v1/vision/face/register", Scope.ENROL),
    ("POST", "/v1/vision/face/delete", Scope.ENROL),
    ("GET", "/v2", Scope.PUBLIC),
    ("GET", "/v2/health/live", Scope.PUBLIC),
    ("GET", "/v2/health/ready", Scope.PUBLIC),
    ("GET", "/v2/models/{model}", Scope.READ),
    ("GET", "/v2/models/{model}/ready", Scope.READ),
    ("POST", "/v2/models/{model}/infer", Scope.READ),
]


@pytest.fixture(scope="module")
def locked(tmp_path_factory, built_in_models):
    """A client of a server with tokens, and the token of each scope."""
    from app.settings import GallerySettings, Settings

    folder = tmp_path_factory.mktemp("locked")
    tokens = folder / "tokens.json"
    secrets = {scope: add_token(tokens, scope, scope) for scope in ("read", "enrol", "admin")}
    settings = Settings(models=built_in_models, gallery=GallerySettings(folder=folder))
    with serving(settings, tokens=tokens, max_body_mb=1.0, receive_timeout_s=2.0) as client:
        yield client, secrets, tokens


def test_every_endpoint_is_listed_here(recognizer, settings):
    """A new endpoint must get a scope on purpose, and a line in the table above."""
    from app.gallery.gallery import Gallery
    from app.network_thread import NetworkThread
    from app.service.core import FaceService
    from app.service.measurements import Measurements
    from app.service.run_view import RunView
    from app.service.serving import dialects

    view = RunView.prepared(settings)
    service = FaceService(settings, recognizer, Gallery(settings, recognizer), NetworkThread())
    all_dialects = dialects(service, view, Guard(settings.serve), Measurements(view))
    endpoints = [endpoint for dialect in all_dialects for endpoint in dialect.endpoints]
    assert all(isinstance(endpoint, Endpoint) for endpoint in endpoints)
    assert sorted((one.method, one.path, one.scope) for one in endpoints) == sorted(ENDPOINTS)
    sockets = [socket for dialect in all_dialects for socket in dialect.sockets]
    assert [(one.path, one.scope) for one in sockets] == [("/api/v1/live", Scope.READ)]


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_an_endpoint_takes_the_tokens_of_its_scope_and_above(locked, method, path, scope):
    client, secrets, _ = locked

    def status(**headers):
        headers["X-CSRF"] = "1"
        reply = client.request(method, path, b"" if method == "POST" else None, headers)
        # CompreFace's words for a missing key, and for a wrong one.
        refused = reply.body.startswith(b'{"message":"Missing header') or b"API Key not found" in reply.body
        return 401 if refused else reply.status

    assert (status() == 401) is (scope is not Scope.PUBLIC)
    for name, secret in secrets.items():
        # CompreFace's clients know the second one only.
        headers = [{"Authorization": f"Bearer {secret}", "x-api-key": secret}, {"x-api-key": secret}]
        assert all((status(**one) not in (401, 403)) is (Scope[name.upper()] >= scope) for one in headers)


def test_a_removed_token_is_refused_at_once(locked):
    client, _, tokens = locked
    secret = add_token(tokens, "guest", "read")
    assert client.get("/info", Authorization=f"Bearer {secret}").status == 200
    remove_token(tokens, "guest")
    assert client.get("/info", Authorization=f"Bearer {secret}").status == 401


def test_tokens_are_stored_as_hashes_that_only_the_owner_can_read(tmp_path):
    path = tmp_path / "tokens.json"
    secret = add_token(path, "phone", "read")
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [token.name for token in read_tokens(path)] == ["phone"]
    with pytest.raises(SettingsError):
        add_token(path, "phone", "read")


def test_a_broken_token_file_lets_no_one_in(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text("[")
    with pytest.raises(SettingsError, match="tokens"):
        read_tokens(path)


def test_the_first_token_of_a_running_server_is_in_its_log(tmp_path, settings, caplog):
    tokens = tmp_path / "tokens.json"
    with serving(settings, tokens=tokens) as client:
        assert client.get("/info").status == 200
        assert str(tokens) not in caplog.text
        add_token(tokens, "phone", "read")
        assert [client.get("/info").status for _ in range(2)] == [401, 401]
        add_token(tokens, "tablet", "read")
        assert client.get("/info").status == 401
    assert [record.levelname for record in caplog.records if str(tokens) in record.getMessage()] == ["WARNING"]


def test_guessing_is_slowed_down(tmp_path, settings):
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "owner", "read")
    with serving(settings, tokens=tokens) as client:
        guesses = [client.get("/info", Authorization="Bearer wrong") for _ in range(MAX_FAILED_LOGINS + 1)]
        assert [guess.status for guess in guesses] == [401] * MAX_FAILED_LOGINS + [429]
        assert guesses[-1].headers["retry-after"] == "60"
        # Someone behind the same address who has a token is not in the way of that.
        assert client.get("/info", Authorization=f"Bearer {secret}").status == 200


def test_the_last_token_that_is_removed_opens_nothing(tmp_path, settings):
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "owner", "read")
    with serving(settings, tokens=tokens) as client:
        remove_token(tokens, "owner")
        assert client.get("/info").status == 401
        assert client.get("/info", Authorization=f"Bearer {secret}").status == 401
        tokens.unlink()
        assert client.get("/info").status == 401
    tokens.write_text("[]")
    with serving(settings, tokens=tokens) as client:
        assert client.get("/info").status == 401


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "192.168.1.9"])
def test_a_server_answers_to_its_own_names(served, host):
    assert served.get("/info", Host=host.format(port=served.port)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", ""])
def test_other_names_are_refused_so_that_no_page_can_point_one_here(served, host):
    assert served.get("/info", Host=host).status == 421


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["origin", "null", "fetch"],
)
def test_pages_of_other_servers_may_not_post(served, headers):
    assert served.post("/extract", {"images": {}}, **headers).status == 403
    assert served.get("/health", **headers).status == 200


def test_the_own_page_and_listed_pages_may_post(settings):
    with serving(settings, allowed_origins="https://home.example") as client:
        own = f"http://127.0.0.1:{client.port}"
        for origin in (own, "https://home.example"):
            assert client.post("/extract", {"images": {}}, Origin=origin).status == 200


def test_a_body_above_the_limit_is_refused_before_it_is_read(locked):
    client, secrets, _ = locked
    token = {"Authorization": f"Bearer {secrets['read']}"}
    assert client.request("POST", "/extract", b"x" * 1_000_001, token).status == 413
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        # Nothing of the body is sent: the length in the header is enough.
        connection.sendall(
            f"POST /extract HTTP/1.1\r\nHost: localhost\r\nx-api-key: {secrets['read']}\r\n"
            "Content-Length: 999999999\r\n\r\n".encode()
        )
        assert b" 413 " in connection.recv(100)


def test_a_body_without_a_length_is_limited_as_well(locked):
    client, secrets, _ = locked
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENT_S) as connection:
        connection.sendall(
            f"POST /extract HTTP/1.1\r\nHost: localhost\r\nx-api-key: {secrets['read']}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        # The end never comes: it is refused as soon as it is too long.
        connection.sendall(b"f4241\r\n" + b"x" * 0xF4241)
        assert b" 413 " in connection.recv(100)


def test_a_body_that_does_not_come_is_not_waited_for(locked):
    client, secrets, _ = locked
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENT_S) as connection:
        connection.sendall(
            f"POST /extract HTTP/1.1\r\nHost: localhost\r\nx-api-key: {secrets['read']}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert b" 408 " in connection.recv(100)


def test_too_many_pictures_in_one_request_are_refused(settings):
    with serving(settings, max_pictures=3) as client:
        assert client.post("/extract", {"images": {"data": ["x"] * 3}}).status == 200
        assert client.post("/extract", {"images": {"data": ["x"] * 4}}).status == 413


@pytest.mark.parametrize("crops", [False, True])
def test_many_large_pictures_in_one_request_are_examined_one_after_the_other(settings, crops):
    picture = base64.b64encode(self_test_picture()).decode()
    with serving(settings, max_waiting_mp=0.01) as client:
        body = {"images": {"data": [picture] * 3}, "return_face_data": crops}
        reply = client.post("/extract", body)
        assert reply.status == 200, reply.body
        assert [len(entry["faces"]) for entry in reply.json["data"]] == [1, 1, 1]


def test_replies_carry_headers_that_keep_browsers_careful(served):
    headers = served.get("/info").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_an_unknown_path_or_method_is_answered_in_json(served):
    for method, path, status, allowed in (
        ("GET", "/nothing", 404, None),
        ("GET", "/extract", 405, "POST"),
        # Clients of CompreFace's API expect 404 there.
        ("GET", "/api/v1/recognition/recognize", 404, "POST"),
    ):
        reply = served.request(method, path)
        assert (reply.status, reply.headers.get("allow")) == (status, allowed)
        assert reply.json["message"].startswith(f"{status} ")
        assert (reply.json["code"], bool(reply.json["detail"])) == (0, True)
        assert "no-store" in reply.headers["cache-control"]


def test_the_methods_of_a_path_can_be_asked_for(served):
    reply = served.request("OPTIONS", "/find_faces")
    assert (reply.status, reply.headers["allow"], reply.body) == (200, "POST", b"")
    assert "access-control-allow-origin" not in reply.headers
    assert served.request("HEAD", "/healthcheck").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_machines_are_not_let_in_without_a_token(tmp_path, host):
    settings = ServeSettings(host=host, tokens=tmp_path / "tokens.json")
    with pytest.raises(SettingsError, match="tokens add"):
        Guard(settings).check_address()
    Guard(dataclasses.replace(settings, insecure=True)).check_address()
    add_token(settings.tokens, "phone", "read")
    Guard(settings).check_address()


def test_a_port_that_is_in_use_is_named():
    from app.service.server import HttpServer

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=str(port)):
            HttpServer(ServeSettings(port=port))
