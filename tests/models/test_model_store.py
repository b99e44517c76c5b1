"""Downloads over connections that misbehave in every way we could think of, from a server on this machine."""

import contextlib
import dataclasses
import hashlib
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from real_sources import held_port
from waiting import PATIENT_S

from app.errors import ModelError
from app.models.download import PartFile, RetryPolicy
from app.models.entry import FileState, ModelEntry
from app.models.store import install, require_acceptance
from app.vision.preprocessing import Preprocessing

WEIGHTS = np.random.default_rng(1).bytes(1_000_000)
OTHER_WEIGHTS = np.random.default_rng(2).bytes(1_000_000)
RETRIES = RetryPolicy(timeout_s=PATIENT_S, attempts=3, first_wait_s=0)


@dataclasses.dataclass
class Answer:
    """How the server answers one request; correctly by default."""

    body: bytes = WEIGHTS
    etag: str = '"1"'
    status: int = 200
    understands_range: bool = True
    sends_length: bool = True
    cut_after: int = -1
    """Hangs up after so many bytes of the body."""
    drips: bool = False
    """One byte at a time, each well before any time-out."""
    stall_after: int = -1
    """Falls silent after so many bytes of the body, without hanging up."""
    piece_begins_at: int = -1
    """Sends another piece than was asked for."""
    location: str = ""


class ModelServer:
    """A server on this machine, its next answers, and the requests it got."""

    def __init__(self):
        self.answers = []
        self.requests = []
        self.end = threading.Event()
        self.stalled = threading.Event()
        parent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                parent.requests.append((self.path, dict(self.headers)))
                parent.send(self, parent.answers.pop(0) if parent.answers else Answer())

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.address}/net.onnx"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def send(self, request, answer):
        first = self._first_byte(request, answer)
        body = answer.body[first:]
        status = 206 if first else answer.status
        if first > len(answer.body):
            status, body = 416, b""
        request.send_response(status)
        if answer.location:
            request.send_header("Location", answer.location)
        if answer.etag:
            request.send_header("ETag", answer.etag)
        if status == 206:
            begins = first if answer.piece_begins_at < 0 else answer.piece_begins_at
            request.send_header("Content-Range", f"bytes {begins}-{len(answer.body) - 1}/{len(answer.body)}")
        if answer.sends_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        limit = max(answer.cut_after, answer.stall_after)
        if answer.drips:
            with contextlib.suppress(ConnectionError):
                for at in range(len(body)):
                    request.wfile.write(body[at : at + 1])
                    if self.end.wait(0.02):
                        return
        with contextlib.suppress(ConnectionError):
            request.wfile.write(body if limit < 0 else body[:limit])
            request.wfile.flush()
        if answer.stall_after >= 0:
            self.stalled.set()
            self.end.wait()

    @staticmethod
    def _first_byte(request, answer):
        wanted = request.headers.get("Range")
        condition = request.headers.get("If-Range", answer.etag)
        if answer.status != 200 or not wanted or not answer.understands_range or condition != answer.etag:
            return 0
        return int(wanted.replace("bytes=", "").rstrip("-"))

    def ranges(self):
        return [headers.get("Range") for _, headers in self.requests]

    def close(self):
        self.end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server():
    running = ModelServer()
    yield running
    running.close()


@pytest.fixture
def entry(tmp_path, server):
    return ModelEntry(
        name="finder",
        task="detection",
        family="retinaface",
        file=tmp_path / "engines" / "finder.onnx",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        preprocessing=Preprocessing("bgr", (104, 117, 123), 1),
        licence="MIT",
        source="random weights",
        url=server.url,
    )


def part_of(entry):
    return entry.file.with_name(".finder.onnx.part")


def pull(entry, origin="", **changes):
    return install(entry, origin, retries=dataclasses.replace(RETRIES, **changes))


def names(entry):
    return sorted(path.name for path in entry.file.parent.iterdir())


def test_a_model_is_downloaded_and_nothing_else_is_left(entry):
    calls = []
    assert install(entry, retries=RETRIES, progress=lambda done, total: calls.append((done, total)))
    assert entry.file.read_bytes() == WEIGHTS
    assert names(entry) == ["finder.onnx"]
    assert calls[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert calls == sorted(calls)


def test_an_installed_model_is_not_downloaded(entry, server):
    pull(entry)
    assert not pull(entry)
    assert len(server.requests) == 1


def test_the_final_name_is_never_that_of_an_incomplete_file(entry):
    entry.file.parent.mkdir()
    entry.file.write_bytes(b"an older model")
    seen = []
    install(entry, retries=RETRIES, progress=lambda done, total: seen.append(entry.file.read_bytes()))
    assert len(seen) > 2 and set(seen) == {b"an older model"}
    assert entry.file_state() is FileState.VALID


def test_another_file_is_an_error_with_both_hashes_and_deleted(entry, server):
    server.answers = [Answer(body=OTHER_WEIGHTS)]
    with pytest.raises(ModelError) as refused:
        pull(entry)
    assert entry.sha256 in str(refused.value)
    assert hashlib.sha256(OTHER_WEIGHTS).hexdigest() in str(refused.value)
    assert names(entry) == []


@pytest.mark.parametrize(
    ("body", "remark"),
    [(b"<!DOCTYPE html><html>Welcome!", "web page"), (b"version https://git-lfs.github.com/spec/v1", "Git LFS")],
    ids=["web page", "Git LFS pointer"],
)
def test_a_web_page_or_git_lfs_pointer_is_named_as_such(entry, server, body, remark):
    server.answers = [Answer(body=body)]
    with pytest.raises(ModelError, match=remark):
        pull(entry)


def test_a_broken_connection_is_resumed_where_it_broke(entry, server):
    server.answers = [Answer(cut_after=300_000), Answer(cut_after=200_000)]
    pull(entry)
    assert entry.file.read_bytes() == WEIGHTS
    assert server.ranges() == [None, "bytes=300000-", "bytes=500000-"]
    assert [headers.get("If-Range") for _, headers in server.requests] == [None, '"1"', '"1"']


def test_after_the_last_attempt_the_next_command_resumes(entry, server):
    server.answers = [Answer(cut_after=100_000)] * 3
    with pytest.raises(ModelError, match=r"3 times: .*300\.0 kB of 1\.0 MB\n.*300\.0 kB"):
        pull(entry)
    assert part_of(entry).read_bytes() == WEIGHTS[:300_000]
    assert not entry.file.exists()
    pull(entry)
    assert server.ranges()[-1] == "bytes=300000-"
    assert names(entry) == ["finder.onnx"]


def test_a_server_that_cannot_resume_sends_the_whole_file_again(entry, server):
    server.answers = [Answer(cut_after=300_000), Answer(understands_range=False)]
    pull(entry)
    assert server.ranges() == [None, "bytes=300000-"]
    assert entry.file.read_bytes() == WEIGHTS


def test_a_file_that_changed_between_two_attempts_is_downloaded_again(entry, server):
    server.answers = [Answer(body=OTHER_WEIGHTS, cut_after=300_000), Answer(etag='"2"')]
    pull(entry)
    assert server.ranges() == [None, "bytes=300000-"]
    assert entry.file.read_bytes() == WEIGHTS


def test_parts_of_two_files_are_noticed_even_if_the_server_sends_no_etag(entry, server):
    server.answers = [Answer(body=OTHER_WEIGHTS, etag="", cut_after=300_000), Answer(etag=""), Answer(etag="")]
    pull(entry)
    assert server.ranges() == [None, "bytes=300000-", None]
    assert entry.file.read_bytes() == WEIGHTS


def test_a_part_that_is_longer_than_the_file_is_discarded(entry, server):
    with PartFile(entry.file) as part:
        part.append(WEIGHTS + b"more")
    pull(entry)
    assert server.ranges() == ["bytes=1000004-", None]
    assert entry.file.read_bytes() == WEIGHTS


def test_a_range_that_was_not_requested_is_not_used(entry, server):
    server.answers = [Answer(cut_after=300_000), Answer(piece_begins_at=0)]
    pull(entry)
    assert server.ranges() == [None, "bytes=300000-", None]
    assert entry.file.read_bytes() == WEIGHTS


def test_a_complete_part_needs_no_server(entry, server):
    with PartFile(entry.file) as part:
        part.append(WEIGHTS)
    pull(entry)
    assert server.requests == []
    assert entry.file.read_bytes() == WEIGHTS


def test_a_mirror_resumes_what_another_server_began(entry, server):
    server.answers = [Answer(cut_after=300_000)] + [Answer(status=503)] * 3
    with pytest.raises(ModelError):
        pull(entry)
    server.answers = []
    pull(entry, f"{server.address}/mirror.onnx")
    path, headers = server.requests[-1]
    assert (path, headers["Range"]) == ("/mirror.onnx", "bytes=300000-")
    assert "If-Range" not in headers
    assert entry.file.read_bytes() == WEIGHTS


def test_a_download_that_drips_counts_as_lost_and_keeps_what_came(entry, server):
    server.answers = [Answer(drips=True)]
    assert pull(entry, timeout_s=2)
    assert entry.file.read_bytes() == WEIGHTS
    assert len(server.requests) >= 2 and int(server.ranges()[1].strip("bytes=-")) > 0


def test_a_stalled_download_is_retried(entry, server):
    server.answers = [Answer(stall_after=600_000)]
    pull(entry, timeout_s=5)
    assert server.ranges()[1] is not None
    assert entry.file.read_bytes() == WEIGHTS


def test_a_server_that_does_not_answer_is_an_error(entry):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/net.onnx"
        with pytest.raises(ModelError, match=r"http://127.*0\.1 s\n(.|\n)*--from FILE"):
            pull(entry, address, timeout_s=0.1)
    assert names(entry) == []


def test_an_interrupted_download_keeps_its_part(entry, server):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(entry, retries=RETRIES, progress=interrupt)
    kept = part_of(entry).stat().st_size
    assert 0 < kept < len(WEIGHTS)
    assert not entry.file.exists()
    pull(entry)
    assert server.ranges() == [None, f"bytes={kept}-"]
    assert entry.file.read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, "404"), (403, "403"), (429, "429"), (503, "503")],
)
def test_an_error_status_is_reported_with_the_address_and_the_way_around(entry, server, status, meaning):
    server.answers = [Answer(status=status, body=b"no")]
    with pytest.raises(ModelError, match=meaning) as refused:
        pull(entry)
    assert server.url in str(refused.value)
    assert f"engines pull finder --from FILE      (it goes to {entry.file})" in str(refused.value)
    assert len(server.requests) == 1


def test_a_refused_connection_is_reported(entry):
    with held_port() as unused, pytest.raises(ModelError, match="connection refused"):
        pull(entry, f"http://127.0.0.1:{unused.getsockname()[1]}/net.onnx")


def test_an_unknown_host_is_reported(entry, monkeypatch):
    def no_such_name(*words, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(ModelError, match="unknown host"):
        pull(entry, "https://models.invalid/net.onnx")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_also_when_resuming(entry, server, status):
    server.answers = [
        *[Answer(status=status, location="/elsewhere.onnx", body=b""), Answer(cut_after=300_000)],
        Answer(status=status, location="/elsewhere.onnx", body=b""),
    ]
    pull(entry)
    assert [path for path, _ in server.requests] == ["/net.onnx", "/elsewhere.onnx"] * 2
    assert server.ranges()[3] == "bytes=300000-"
    assert entry.file.read_bytes() == WEIGHTS


@pytest.mark.parametrize("target", ["http://example.org/net.onnx", "ftp://127.0.0.1/net.onnx", "http://10.0.0.1/a"])
def test_a_redirect_to_an_unsafe_address_is_not_followed(entry, server, target):
    server.answers = [Answer(status=302, location=target, body=b"")]
    with pytest.raises(ModelError, match="https:// addresses only"):
        pull(entry)


@pytest.mark.parametrize("address", ["http://example.org/a", "ftp://example.org/a", "https:///a", "http://[::1/a"])
def test_unsafe_addresses_are_not_requested(entry, address):
    with pytest.raises(ModelError, match=r"https://|invalid"):
        pull(entry, address)


def test_a_password_in_an_address_is_not_repeated(entry):
    with pytest.raises(ModelError, match="password") as refused:
        pull(entry, "https://user:secret@example.org/net.onnx")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("size", [100, 100_000_000])
def test_a_file_of_another_size_is_an_error_at_once(entry, size):
    with pytest.raises(ModelError, match=f"1000000 bytes, expected {size}"):
        pull(dataclasses.replace(entry, size_bytes=size))
    assert names(entry) == []


def test_without_a_content_length_the_size_is_limited(entry, server):
    server.answers = [Answer(sends_length=False)]
    with pytest.raises(ModelError, match="bytes, expected 1000"):
        pull(dataclasses.replace(entry, size_bytes=1000))


def test_the_content_length_may_be_missing(entry, server):
    server.answers = [Answer(sends_length=False)]
    pull(entry)
    assert entry.file.read_bytes() == WEIGHTS


def test_a_full_disk_is_noticed_before_the_download(entry, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=500_000))
    with pytest.raises(ModelError, match=r"1\.0 MB.* 500\.0 kB"):
        pull(entry)


def test_a_folder_that_cannot_be_written_is_named(entry):
    entry.file.parent.write_bytes(b"this is no folder")
    with pytest.raises(ModelError, match=r"finder\.onnx .*written"):
        pull(entry)


def test_two_programs_do_not_write_the_same_file(entry):
    with PartFile(entry.file), pytest.raises(ModelError, match="another program"):
        pull(entry)


def test_a_file_that_was_downloaded_before_is_installed(entry, server, tmp_path):
    (tmp_path / "downloaded.onnx").write_bytes(WEIGHTS)
    assert pull(entry, str(tmp_path / "downloaded.onnx"))
    assert entry.file.read_bytes() == WEIGHTS
    assert names(entry) == ["finder.onnx"]
    assert server.requests == []


def test_a_wrong_file_is_not_installed_and_keeps_the_part_of_a_download(entry, tmp_path):
    (tmp_path / "downloaded.onnx").write_bytes(OTHER_WEIGHTS)
    with PartFile(entry.file) as part:
        part.append(WEIGHTS[:1000])
    with pytest.raises(ModelError, match=r"downloaded\.onnx.*\n.*expected SHA-256"):
        pull(entry, str(tmp_path / "downloaded.onnx"))
    assert names(entry) == [".finder.onnx.part"]


def test_a_missing_file_is_named(entry, tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.onnx"):
        pull(entry, str(tmp_path / "nothing.onnx"))


def test_a_model_without_an_address_is_an_error_with_the_way_to_get_it(entry):
    with pytest.raises(ModelError, match=r".*git checkout"):
        pull(dataclasses.replace(entry, url="", built_in=True))
    with pytest.raises(ModelError, match=r".*no download address"):
        pull(dataclasses.replace(entry, url=""))


def test_non_commercial_terms_must_be_accepted(entry):
    restricted = dataclasses.replace(entry, commercial_use=False, licence="InsightFace, research only")
    require_acceptance(entry, accepted=False)
    require_acceptance(restricted, accepted=True)
    with pytest.raises(ModelError, match=r"InsightFace, research only(.|\n)*pull finder --accept-licence"):
        require_acceptance(restricted, accepted=False)
