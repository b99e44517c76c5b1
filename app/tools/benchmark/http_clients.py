"""Clients of an HTTP server, in a process of their own, so that their work is not counted as the server's.

    python -m app.tools.benchmark.http_clients < plan.json

The plan is read from standard input, and the answers are written to standard output as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional
from urllib.parse import urlsplit

REPLY_WITHIN_S = 120


@dataclass(frozen=True)
class Reply:
    status: int
    began_s: float
    """Since the clients started."""
    took_s: float


class Connection:
    """One client that keeps its connection open."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None

    async def send(self, request: bytes) -> int:
        """The status of the reply; 0: the connection broke. The next request opens it again."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            assert self._reader is not None
            self._writer.write(request)
            head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), REPLY_WITHIN_S)).lower()
            await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
            if b"connection: close" in head:
                self.close()
            return int(head.split(b" ", 2)[1])
        except (OSError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def http_request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    place = urlsplit(url)
    lines = [f"POST {place.path or '/'} HTTP/1.1", f"Host: {place.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def send_all(plan: Mapping[str, Any]) -> List[Reply]:
    """Each client sends its next request when its last one is answered, or all together at a fixed rate.

    They stop after a number of requests or of seconds.
    """
    place = urlsplit(plan["url"])
    requests = [http_request(plan["url"], base64.b64decode(body), plan["headers"]) for body in plan["bodies"]]
    rate: Optional[float] = plan.get("per_second")
    limit: float = plan.get("requests") or float("inf")
    replies: List[Reply] = []
    began = time.monotonic()
    ends = began + plan["seconds"]
    sent = 0

    async def client() -> None:
        nonlocal sent
        connection = Connection(place.hostname or "127.0.0.1", place.port or 80)
        while sent < limit and time.monotonic() < ends:
            number, sent = sent, sent + 1
            start = time.monotonic()
            if rate:
                # The time counts from when it was due, also where all clients were busy then.
                start = began + number / rate
                await asyncio.sleep(max(0.0, start - time.monotonic()))
            status = await connection.send(requests[number % len(requests)])
            replies.append(Reply(status, start - began, time.monotonic() - start))
        connection.close()

    await asyncio.gather(*(client() for _ in range(plan["clients"])))
    return replies


def main() -> None:
    plan: Dict[str, Any] = json.load(sys.stdin)
    replies = asyncio.run(send_all(plan))
    json.dump([[reply.status, reply.began_s, reply.took_s] for reply in replies], sys.stdout)


if __name__ == "__main__":
    main()
