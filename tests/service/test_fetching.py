"""Pictures that are fetched from other servers, which here are all on this machine."""

import contextlib
import http.server
import socket
import ssl
import threading

import pytest
from certificates import certificate
from http_client import free_port, serving
from waiting import PATIENT_S

from app.errors import SettingsError
from app.service import fetching
from app.service.addresses import is_public, parsed
from app.service.fetching import Fetcher
from app.settings.serve import ServeSettings


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """What is at a path: a function that answers."""

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answers[self.path.partition("?")[0]](self)

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


@contextlib.contextmanager
def elsewhere(answers, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.daemon_threads = True
    server.answers, server.asked = answers, []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(fetching, "FETCH_WITHIN_S", PATIENT_S)


@pytest.fixture
def answers():
    return {}


@pytest.fixture
def pictures(answers):
    """A server of pictures."""
    with elsewhere(answers) as server:
        yield server


@pytest.fixture
def client(settings, pictures):
    """Of a server that may fetch from this machine."""
    more = {"fetch_urls": True, "fetch_allow": "127.0.0.0/8", "fetch_ports": str(pictures.server_port)}
    with serving(settings, **more) as opened:
        yield opened


def fetched(client, url, **fields):
    (entry,) = client.post("/extract", {"images": {"urls": [url]}, **fields}).json["data"]
    return entry


def at(server, path, host="127.0.0.1"):
    return f"http://{host}:{server.server_port}{path}"


def test_a_picture_is_fetched_through_redirections(client, pictures, answers, photo, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answers["/a.jpg"] = lambda to: to.send(200, photo)
    answers["/1"] = lambda to: to.send(302, Location="/2")
    answers["/2"] = lambda to: to.send(307, Location=at(pictures, "/3"))
    answers["/3"] = lambda to: to.send(301, Location="/a.jpg")
    answers["/0"] = lambda to: to.send(302, Location="/1")
    assert len(fetched(client, at(pictures, "/a.jpg?x=1"))["faces"]) == 1
    assert len(fetched(client, at(pictures, "/1"))["faces"]) == 1
    assert "redirections" in fetched(client, at(pictures, "/0"))["traceback"]
    drawn = client.post("/draw_detections", {"images": {"urls": [at(pictures, "/a.jpg")]}})
    assert (drawn.status, drawn.body[:2]) == (200, b"\xff\xd8")


def test_nothing_is_fetched_by_default(served, pictures):
    assert "serve.fetch_urls" in fetched(served, at(pictures, "/a.jpg"))["traceback"]
    assert pictures.asked == []


def test_this_machine_and_its_network_are_not_asked(settings, pictures):
    with serving(settings, fetch_urls=True, fetch_ports=str(pictures.server_port)) as client:
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]",
                     "[64:ff9b::7f00:1]", "169.254.169.254", "10.0.0.1"):  # fmt: skip
            assert "serve.fetch_allow" in fetched(client, at(pictures, "/a.jpg", host))["traceback"], host
    assert pictures.asked == []


def test_a_redirection_is_checked_like_an_address(client, pictures, answers):
    for target in ("http://169.254.169.254/", "http://10.1.2.3/x", "http://127.0.0.1:22/", "file:///etc/passwd", "//"):
        answers["/away"] = lambda to, target=target: to.send(302, Location=target)
        assert fetched(client, at(pictures, "/away"))["status"] == "failed"
    assert {path for path, _ in pictures.asked} == {"/away"}


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "169.254.169.254", "172.16.0.1",
     "168.63.129.16", "192.0.0.192", "192.168.1.1", "224.0.1.1", "240.0.0.1", "255.255.255.255", "::", "::1",
     "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "fe80::1%eth0",
     "fd00:ec2::254", "ff02::1", "2001:db8::1", "x"],
)  # fmt: skip
def test_what_is_not_of_the_internet(text):
    assert not is_public(parsed(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_what_is_of_the_internet(text):
    assert is_public(parsed(text))


def test_headers_with_rights_are_not_passed_on(client, pictures, answers, photo):
    answers["/a.jpg"] = lambda to: to.send(200, photo)
    sent = {"Authorization": "Bearer x", "cookie": "a=b", "Host": "evil", "Referer": "http://a/", "X-Camera": 7}
    assert fetched(client, at(pictures, "/a.jpg"), img_req_headers=sent)["status"] == "ok"
    ((_, got),) = pictures.asked
    assert (got["Referer"], got["X-Camera"], got["Host"]) == ("http://a/", "7", f"127.0.0.1:{pictures.server_port}")
    assert not {"authorization", "cookie"} & {name.lower() for name in got}
    broken = fetched(client, at(pictures, "/a.jpg"), img_req_headers={"X-A": "1\r\nHost: evil"})
    assert broken["status"] == "failed"
    assert len(pictures.asked) == 1


def test_another_server_gets_none_of_the_headers(settings, answers, photo):
    with elsewhere(answers) as first, elsewhere({"/a.jpg": lambda to: to.send(200, photo)}) as second:
        answers["/away"] = lambda to: to.send(302, Location=at(second, "/a.jpg"))
        ports = f"{first.server_port},{second.server_port}"
        with serving(settings, fetch_urls=True, fetch_allow="127.0.0.1", fetch_ports=ports) as client:
            entry = fetched(client, at(first, "/away"), img_req_headers={"X-Key": "secret"})
    assert entry["status"] == "ok"
    assert (first.asked[0][1]["X-Key"], "X-Key" in second.asked[0][1]) == ("secret", False)


def test_what_is_too_large_or_no_picture_fails(client, pictures, answers):
    answers["/large"] = lambda to: to.send(200, bytes(fetching.MAX_FETCHED_BYTES + 1))
    answers["/text"] = lambda to: to.send(200, b"root:x:0:0")
    answers["/missing"] = lambda to: to.send(404, b"secret")
    assert "10 MB" in fetched(client, at(pictures, "/large"))["traceback"]
    assert "root" not in fetched(client, at(pictures, "/text"))["traceback"]
    assert "404" in fetched(client, at(pictures, "/missing"))["traceback"]
    for url in (f"http://127.0.0.1:{free_port()}/", at(pictures, "/a b"), at(pictures, "/", "a:b@127.0.0.1"), "http:"):
        assert fetched(client, url)["status"] == "failed"


@pytest.mark.parametrize("path", ["/headers", "/body"])
def test_a_server_that_trickles_is_given_up(client, pictures, answers, monkeypatch, path):
    monkeypatch.setattr(fetching, "FETCH_WITHIN_S", 1.0)
    given_up = threading.Event()

    def trickle(to):
        to.wfile.write(b"HTTP/1.1 200 OK\r\n" if path == "/headers" else b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not given_up.wait(0.05):
                to.wfile.write(b"X-A: b\r\n")

    answers[path] = trickle
    try:
        assert "1 s" in fetched(client, at(pictures, path))["traceback"]
    finally:
        given_up.set()


def test_certificates_are_verified(settings, photo, tmp_path, monkeypatch):
    cert, key = certificate(tmp_path / "tls", "pictures")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with elsewhere({"/a.jpg": lambda to: to.send(200, photo)}, context) as server:
        more = {"fetch_urls": True, "fetch_allow": "127.0.0.0/8", "fetch_ports": str(server.server_port)}
        with serving(settings, **more) as client:
            url = at(server, "/a.jpg").replace("http:", "https:")
            assert "certificate" in fetched(client, url)["traceback"]
            monkeypatch.setenv("SSL_CERT_FILE", str(cert))
            assert fetched(client, url)["status"] == "ok"
            # A name that the certificate is not for, at the same address.
            assert "certificate" in fetched(client, url.replace("127.0.0.1", "localhost"))["traceback"]
    assert len(server.asked) == 1


def test_a_name_is_resolved_once(settings, pictures, answers, photo, monkeypatch):
    """A name server that changes its mind between check and connection gains nothing."""
    answers["/a.jpg"] = lambda to: to.send(200, photo)
    resolve, asked = socket.getaddrinfo, []

    def rebinding(host, *rest, **more):
        if host != "rebinding.example":
            return resolve(host, *rest, **more)
        asked.append(host)
        return resolve("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = str(pictures.server_port)
    with serving(settings, fetch_urls=True, fetch_allow="127.0.0.1", fetch_ports=port) as client:
        assert fetched(client, at(pictures, "/a.jpg", "rebinding.example"))["status"] == "ok"
        assert pictures.asked[0][1]["Host"] == f"rebinding.example:{port}"
        assert len(asked) == 1
        assert "serve.fetch_allow" in fetched(client, at(pictures, "/a.jpg", "rebinding.example"))["traceback"]


@pytest.mark.parametrize("wrong", [{"fetch_allow": "home"}, {"fetch_ports": "0"}, {"fetch_ports": "http"}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(SettingsError, match=f"serve.{next(iter(wrong))}"):
        Fetcher(ServeSettings(**wrong))
