"""A network cable that can be pulled: a proxy in front of a port of this machine."""

import contextlib
import socket
import threading


class Link:
    def __init__(self, port):
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._is_cut = False
        self._connections = []
        self.sent_bytes = 0
        """By clients, in all connections."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Ends all connections; new ones are refused until `mend`."""
        with self._lock:
            self._is_cut = True
            ended, self._connections = self._connections, []
        for connection in ended:
            _end(connection)

    def mend(self):
        with self._lock:
            self._is_cut = False

    def close(self):
        self.cut()
        stop_listening(self._server)

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    _end(client)
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    _end(client)
                    continue
                self._connections += [client, server]
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, origin, target, is_sent):
        with contextlib.suppress(OSError):
            while part := origin.recv(65536):
                with self._lock:
                    self.sent_bytes += len(part) if is_sent else 0
                target.sendall(part)
        for connection in (origin, target):
            _end(connection)


def stop_listening(server):
    """Ends the thread, too, that accepts connections: closing alone leaves it where it is."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()


def _end(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
