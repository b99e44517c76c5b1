"""A web server in a thread of this process, for handlers that answer as a test wants."""

import contextlib
import http.server
import socket
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", **headers):
        """`Content_Type` stands for `Content-Type`."""
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in {"Content_Length": len(body), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class QuietServer:
    def __init__(self, handler, host="127.0.0.1", port=0, tls=None):
        """`tls` is the context of a server with TLS."""
        connections = self._connections = []

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def process_request(self, request, client_address):
                # Now, and not with its first message: one that `close` missed would be served for ever.
                connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *arguments):
                pass

        self._server = Server((host, port), handler)
        self.port = self._server.server_port
        self.address = f"{'http' if tls is None else 'https'}://{host}:{self.port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self):
        """As if the server had died: also open connections are gone."""
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()
        self._thread.join()

    def hang_up(self):
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
