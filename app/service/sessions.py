"""What a client may show instead of a token: a session's cookie, a login code, a ticket."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from app.service.shared_state import BusyStateError, Known, Session, SharedState
from app.service.tokens import Token

SESSION_IDLE_S = 12 * 3600
NOTE_USE_EVERY_S = 60
CODE_VALID_S = 600
MAKE_WAIT_S = 60.0
"""For other processes, at the start of the server."""
TICKET_VALID_S = 600
MAX_SESSIONS = 1000
MAX_FAILED_LOGINS = 5
"""In a minute, from one address."""
MAX_ALL_FAILED_LOGINS = 60
"""In a minute."""
CONSOLE = Token("console", "admin", "", "")
"""Whoever has read the login code in the output of the server, and may do what the owner of its files may."""

Clock = Callable[[], float]


class Sessions:
    """Of browsers. They end after 12 hours without a request, and with the token of their log-in."""

    def __init__(self, state: SharedState, clock: Clock = time.time) -> None:
        self._state = state
        self._clock = clock

    def open(self, token: Token) -> str:
        """The value of a new cookie."""
        cookie = secrets.token_urlsafe(32)

        def opened(known: Known) -> None:
            sessions = known.sessions
            sessions[_hash(cookie)] = Session(token, self._clock())
            for key in [key for key, one in sessions.items() if self._is_over(one)]:
                del sessions[key]
            while len(sessions) > MAX_SESSIONS:
                del sessions[min(sessions, key=lambda key: sessions[key].used_at)]

        self._state.change(opened)
        return cookie

    def find(self, cookie: str) -> Optional[Token]:
        key = _hash(cookie)
        session = self._state.read().sessions.get(key)
        if session is None or self._is_over(session):
            return None
        if abs(self._clock() - session.used_at) > NOTE_USE_EVERY_S:

            def used(known: Known) -> None:
                if key in known.sessions:
                    known.sessions[key].used_at = self._clock()

            with contextlib.suppress(BusyStateError):  # the next request notes it
                self._state.change(used, wait_s=0.0)
        return session.token

    def close(self, cookie: str) -> None:
        if _hash(cookie) in self._state.read().sessions:
            self._state.change(lambda known: known.sessions.pop(_hash(cookie), None))

    def _is_over(self, session: Session) -> bool:
        # A time of the future is from before the clock was set.
        return abs(self._clock() - session.used_at) > SESSION_IDLE_S


class TokenUses:
    """When each token was used last, to the minute."""

    def __init__(self, state: SharedState, clock: Clock = time.time) -> None:
        self._state = state
        self._clock = clock

    def note(self, token: Token, tokens: Iterable[Token]) -> None:
        """`tokens` are all that there are; nothing is kept of others."""
        if abs(self._clock() - self._state.read().used.get(token.sha256, 0.0)) <= NOTE_USE_EVERY_S:
            return
        kept = {one.sha256 for one in tokens}

        def used(known: Known) -> None:
            known.used = {key: moment for key, moment in known.used.items() if key in kept}
            known.used[token.sha256] = self._clock()

        with contextlib.suppress(BusyStateError):  # the next request notes it
            self._state.change(used, wait_s=0.0)


class LoginCode:
    """Codes that open one session each, within 10 minutes from when they were made.

    By a clock that all processes share and no one sets: machines without a clock of their own get the time only after
    the server has started. That clock begins again with each start of the machine, with which codes end.
    """

    def __init__(self, state: SharedState, clock: Clock = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._machine_start = _machine_start()

    def make(self) -> str:
        code = secrets.token_urlsafe(16)

        def made(known: Known) -> None:
            now = self._clock()
            known.codes = {one: expires for one, expires in known.codes.items() if _is_valid(expires, now)}
            known.codes[self._key(code)] = now + CODE_VALID_S

        self._state.change(made, MAKE_WAIT_S)
        return code

    def use(self, code: str) -> bool:
        """Whether this is one. It is used up then, also for other processes."""
        key = self._key(code)
        if key not in self._state.read().codes:
            return False
        expires: Optional[float] = self._state.change(lambda known: known.codes.pop(key, None))
        return expires is not None and _is_valid(expires, self._clock())

    def _key(self, code: str) -> str:
        return _hash(code + self._machine_start)


def _is_valid(expires: float, now: float) -> bool:
    return 0 <= expires - now <= CODE_VALID_S


def _machine_start() -> str:
    """An id of the time since the machine was started; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return ""


class Tickets:
    """Addresses of single pictures and streams for programs that can send neither a header nor a cookie.

    A ticket is valid for one path and for GET only, for 10 minutes, and as long as the token it was made with. What
    was opened with it in time goes on.
    """

    def __init__(self, state: SharedState, clock: Clock = time.time) -> None:
        self._state = state
        self._clock = clock

    def make(self, path: str, token: Token) -> str:
        return self._signed(path, token, int(self._clock()) + TICKET_VALID_S)

    def is_good(self, ticket: str, path: str, token: Token) -> bool:
        expires = ticket.partition(".")[0]
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16 and int(expires) >= self._clock()):
            return False
        return hmac.compare_digest(ticket.encode(), self._signed(path, token, int(expires)).encode())

    def _signed(self, path: str, token: Token, expires: int) -> str:
        text = f"{expires}\n{token.sha256}\n{path}".encode()
        return f"{expires}.{hmac.new(self._state.key(), text, hashlib.sha256).hexdigest()}"


class Failures:
    """Counts failed logins, to slow down guessing. A valid token is taken from every address at any time."""

    def __init__(self, state: SharedState, clock: Clock = time.time) -> None:
        self._state = state
        self._clock = clock

    def count(self, address: str) -> bool:
        """Notes one. Whether there were too many in the last minute, from this address or from all together."""
        # Only those that count are written: guessing does not wear out the disk.
        return self._are_too_many(self._state.read(), address) or self._state.change(partial(self._note, address))

    def _note(self, address: str, known: Known) -> bool:
        recent = self._recent(known)
        known.failures = recent
        if self._are_too_many(known, address):
            return True
        recent.setdefault(address, []).append(self._clock())
        return False

    def _recent(self, known: Known) -> Dict[str, List[float]]:
        now = self._clock()
        # Times of the future are from before the clock was set.
        kept = {
            address: [moment for moment in moments if 0 <= now - moment <= 60]
            for address, moments in known.failures.items()
        }
        return {address: moments for address, moments in kept.items() if moments}

    def _are_too_many(self, known: Known, address: str) -> bool:
        recent = self._recent(known)
        in_all = sum(map(len, recent.values()))
        return len(recent.get(address, ())) >= MAX_FAILED_LOGINS or in_all >= MAX_ALL_FAILED_LOGINS


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def cookie_name(port: int, is_encrypted: bool) -> str:
    """Cookies do not tell ports apart, so two servers of one machine need different names."""
    return f"__Host-faces-{port}" if is_encrypted else f"faces-{port}"


def cookie_header(name: str, value: str, is_encrypted: bool) -> Dict[str, str]:
    """Without a value, the browser forgets it."""
    end = "" if value else "; Max-Age=0"
    secure = "; Secure" if is_encrypted else ""
    return {"Set-Cookie": f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{end}"}
