"""Events for NATS JetStream: a message each, which the server stores once however often it arrives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Coroutine, Dict, Optional, Sequence

from app.credentials import masked, read_secret
from app.errors import OutputError, SettingsError
from app.events.delivery import Destination, Message, RefusedError
from app.events.history import History
from app.events.webhook import tls_context
from app.settings import NatsSettings
from app.text import install_hint

ANSWER_EVERY_S = 20.0
"""The server disconnects a client that answers none of its pings, and they are answered only while we run."""
DUPLICATES_S = 600.0
"""For how long a stream of ours recognises a message that comes again."""


class Nats(Destination):
    """Each connection is a new client: what an old one had not sent comes again from the log."""

    name = "nats"
    batch = 100

    def __init__(self, settings: NatsSettings, device: str) -> None:
        """Raises SettingsError."""
        try:
            import nats
        except ImportError as error:
            raise SettingsError(f"nats.url (--nats) needs {install_hint('nats-py')}") from error
        self._nats: Any = nats
        if not (settings.url or "").startswith(("nats://", "tls://")):
            raise SettingsError("nats.url (--nats): expected an address such as nats://host or tls://host:4222")
        if not settings.subject or any(letter in settings.subject for letter in "*> \t"):
            raise SettingsError(f"nats.subject = {settings.subject!r}: expected a subject without * and >")
        self._server = masked(settings.url or "")
        self._settings, self._subject = settings, f"{settings.subject}.{device}.event"
        password = None if settings.password is None else read_secret(settings.password, "nats.password")
        self._options: Dict[str, Any] = {"user": settings.user, "password": password, "name": f"faces-{device}"}
        if (settings.url or "").startswith("tls://") or settings.ca_file is not None:
            self._options["tls"] = tls_context(settings.ca_file, "nats.ca_file")
        self._loop = asyncio.new_event_loop()
        self._client: Any = None
        self._task: Optional[asyncio.Task[None]] = None

    def send(self, messages: Sequence[Message]) -> None:
        self._run(self._publish(messages))

    def rest(self, history: History) -> Optional[float]:
        self._run(self._answer())
        return ANSWER_EVERY_S

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._drop())
            self._loop.close()

    def abort(self) -> None:
        task = self._task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(task.cancel)

    async def _publish(self, messages: Sequence[Message]) -> None:
        stream = (await self._connected()).jetstream(timeout=self._settings.timeout_s)
        for is_last in (False, True):
            sent = (
                stream.publish(f"{self._subject}.{one.record['event']}", one.body(), headers={"Nats-Msg-Id": one.key})
                for one in messages
            )
            failed = [one for one in await asyncio.gather(*sent, return_exceptions=True) if isinstance(one, Exception)]
            if not failed:
                return
            if is_last or not isinstance(failed[0], self._nats.js.errors.NoStreamResponseError):
                raise failed[0]
            subjects, keep_s = [f"{self._settings.subject}.>"], 86400 * self._settings.keep_days
            await stream.add_stream(
                name=self._settings.stream,
                subjects=subjects,
                max_age=keep_s,
                duplicate_window=min(DUPLICATES_S, keep_s),
            )

    async def _answer(self) -> None:
        await (await self._connected()).flush()

    async def _connected(self) -> Any:
        if self._client is None or not self._client.is_connected:
            await self._drop()
            self._client = await self._nats.connect(
                self._settings.url,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # to connect at all; the default tries for minutes
                reconnect_time_wait=0.1,
                connect_timeout=self._settings.timeout_s,
                error_cb=_ignored,  # the call that fails says why
                closed_cb=self._lost,
                **self._options,
            )
        return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(self._nats.errors.Error, OSError, asyncio.TimeoutError):
                await client.close()

    async def _lost(self) -> None:
        """What waits for an answer would wait until its time-out."""
        if self._client is not None and self._task is not None:
            self._task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises OutputError or RefusedError."""
        self._task = self._loop.create_task(work)
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._task, 2 * self._settings.timeout_s))
        except self._nats.errors.MaxPayloadError as error:
            raise RefusedError(f"{self._server}: the event is larger than its max_payload") from error
        except (self._nats.errors.Error, OSError, asyncio.TimeoutError, asyncio.CancelledError) as error:
            self._loop.run_until_complete(self._drop())
            reason = getattr(error, "strerror", None) or str(error) or "the connection was lost"
            if isinstance(error, asyncio.TimeoutError):  # that of nats-py as well
                reason = f"no answer within {self._settings.timeout_s:g} s"
            raise OutputError(f"{self._server}: {reason}") from error
        finally:
            self._task = None


async def _ignored(error: Exception) -> None:
    pass
