"""A real HTTP server that keeps what it was sent, and fails on demand; and certificates for servers."""

import contextlib
import json
import subprocess
import threading

from ports import free_port
from quiet_http import Handler, QuietServer


class WebServer:
    """`answers` are used up first, one per request: a status, or a status and headers, "hang", "drip" or "close"."""

    def __init__(self, port=None, tls=None):
        # Not one that the system chooses: while the server is away, another program could get it.
        self.requests = []
        """(headers, body) of each that was answered with 2xx."""
        self.attempts = 0
        self.answers = []
        self.hanging = threading.Event()
        self.released = threading.Event()
        outer = self

        class Hook(Handler):
            def do_POST(self):
                outer.answer(self)

        self.port = port or free_port()
        self._server = QuietServer(Hook, port=self.port, tls=tls)
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self.port}/hook?door=1"

    def answer(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.attempts += 1
        wanted = self.answers.pop(0) if self.answers else 204
        if wanted == "hang":
            self.hanging.set()
            self.released.wait(50)
        if wanted == "drip":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                while not self.released.wait(0.02):
                    self.hanging.set()
                    request.wfile.write(b"X-More: yes\r\n")
        if wanted in ("hang", "drip", "close"):
            request.close_connection = True
            return
        status, headers = wanted if isinstance(wanted, tuple) else (wanted, {})
        if 200 <= status < 300:
            self.requests.append((dict(request.headers), body))
        request.reply(status, **headers)

    @property
    def events(self):
        return [json.loads(body) for _, body in self.requests]

    @property
    def numbers(self):
        return [event["sequence"] for event in self.events]

    def close(self):
        """As if the server had died: also open connections are gone."""
        self.released.set()
        self._server.close()


def certificate(folder, name="localhost"):
    """Signed by itself: the files of certificate and key."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {pem} "
        f"-subj /CN={name} -addext subjectAltName=DNS:{name}".split(),
        check=True,
        capture_output=True,
    )
    return pem, key
