"""A bad network: a proxy in front of an RTSP server that loses and changes parts of the stream (RTP over TCP)."""

import contextlib
import random
import socket
import threading

from tcp_link import stop_listening

_RTP_HEADER_BYTES = 16
"""The header, and the first bytes of the payload, which say how it is packed."""


class BadNetwork:
    """Forwards connections to a port. `damage` is called with each packet of the stream and returns what arrives."""

    def __init__(self, port):
        self.damage = unchanged
        self.damaged = 0
        """Packets that did not arrive as they were."""
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/cam"

    def close(self):
        stop_listening(self._server)
        for connection in self._connections:
            connection.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._connections += [client, server]
            threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, origin, target, is_stream):
        with contextlib.suppress(OSError), origin.makefile("rb") as incoming:
            while True:
                part = self._packet(incoming) if is_stream else incoming.read1(65536)
                if not part:
                    break
                target.sendall(part)
        for connection in (origin, target):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _packet(self, incoming):
        """One packet of the stream, or one line of an answer."""
        while True:
            first = incoming.read(1)
            if first != b"$":
                return first + incoming.readline() if first else b""
            head = incoming.read(3)
            packet = first + head + incoming.read(int.from_bytes(head[1:], "big"))
            if head[0] != 0:  # reports about the stream
                return packet
            arrived = self.damage(packet)
            self.damaged += arrived != packet
            if arrived:
                return arrived


def unchanged(packet):
    return packet


def bit_errors(share, seed=1):
    """Of this share of the packets, some bytes of the picture are wrong."""
    chance = random.Random(seed)

    def damage(packet):
        if chance.random() >= share or len(packet) <= 4 + _RTP_HEADER_BYTES:
            return packet
        wrong = bytearray(packet)
        for _ in range(8):
            wrong[chance.randrange(4 + _RTP_HEADER_BYTES, len(wrong))] = chance.randrange(256)
        return bytes(wrong)

    return damage


def loss(share, seed=1):
    """This share of the packets does not arrive."""
    chance = random.Random(seed)
    return lambda packet: b"" if chance.random() < share else packet


def broken_framing(share, seed=1):
    """This share of the packets is cut off, so that the rest of the stream makes no sense."""
    chance = random.Random(seed)
    return lambda packet: packet[: len(packet) // 2] if chance.random() < share else packet
