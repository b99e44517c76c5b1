"""A real server, and a small HTTP client that sends exactly what it is told."""

import contextlib
import dataclasses
import http.client
import json
import sys
import uuid
from dataclasses import dataclass

from ports import free_port as free_port
from waiting import PATIENT_S


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """`headers` are sent with every request."""

    def __init__(self, port, **headers):
        self.port = port
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENT_S)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            reply = connection.getresponse()
            has_end = reply.getheader("Content-Type") != "text/event-stream; charset=utf-8"
            headers = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, headers, reply.read() if has_end else b"")
        finally:
            connection.close()

    @contextlib.contextmanager
    def opened(self, path, **headers):
        """A reply without an end, to read from."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENT_S)
        try:
            connection.request("GET", path, headers={**self.headers, **headers})
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, content, **headers):
        """Sends JSON."""
        return self.request("POST", path, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})

    def upload(self, path, fields=(), files=(), method="POST", **headers):
        """Sends a multipart form. `files` are (field, file name, bytes)."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in dict(fields).items()
        ]
        parts += [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            + data
            + b"\r\n"
            for name, filename, data in files
        ]
        body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        return self.request(
            method, path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}", **headers}
        )


@contextlib.contextmanager
def serving(settings, networks=None, **serve):
    """A real server in this process, with the networks on a thread of their own; gives a client of it."""
    from app.output.progress import Progress
    from app.service.serving import serving as open_server

    port = free_port()
    limits = dataclasses.replace(settings.serve, port=port, **serve)
    with open_server(dataclasses.replace(settings, serve=limits), Progress(sys.stderr), networks=networks):
        yield Client(port)
