"""A real HTTP server that keeps what it was sent, and fails on demand; and certificates for servers."""

import contextlib
import http.server
import json
import socket
import subprocess
import threading


class WebServer:
    """`answers` are used up first, one per request: a status, or a status and headers, "hang", "drip" or "close"."""

    def __init__(self, port=0, tls=None):
        self.requests = []
        """(headers, body) of each that was answered with 2xx."""
        self.attempts = 0
        self.answers = []
        self.hanging = threading.Event()
        self.released = threading.Event()
        self._connections = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def process_request(self, request, client_address):
                # Now, and not with its first message: one that `close` missed would be served for ever.
                outer._connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *arguments):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self.port}/hook?door=1"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

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
        request.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            request.send_header(name, value)
        request.end_headers()

    @property
    def events(self):
        return [json.loads(body) for _, body in self.requests]

    @property
    def numbers(self):
        return [event["sequence"] for event in self.events]

    def close(self):
        """As if the server had died: also open connections are gone."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


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
