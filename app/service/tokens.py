"""Tokens of clients: made by `python -m app tokens add`, shown once, stored as hashes.

A token is a UUID (122 random bits), because clients of CompreFace accept nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from app.errors import SettingsError
from app.files import locked, write_whole
from app.service.http import Scope
from app.text import iso_time, suggestion

logger = logging.getLogger(__name__)

LOCK_WAIT_S = 10.0
TOKEN_SCOPES = {scope.name.lower(): scope for scope in Scope if scope is not Scope.PUBLIC}


@dataclass(frozen=True)
class Token:
    """What is known of a token: everything but the token."""

    name: str
    scope: str
    sha256: str
    created: str

    @property
    def allows(self) -> Scope:
        return TOKEN_SCOPES[self.scope]


def read_tokens(path: Path) -> Tuple[Token, ...]:
    """Those in the file; none if there is no file. Raises SettingsError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        tokens = tuple(Token(**entry) for entry in entries)
        if any(token.scope not in TOKEN_SCOPES for token in tokens):
            raise ValueError(f"a scope must be one of {', '.join(TOKEN_SCOPES)}")
        return tokens
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read (serve.tokens): {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is no file with tokens (serve.tokens): {error}") from error


def add_token(path: Path, name: str, scope: str) -> str:
    """Makes a token and returns it; it cannot be shown again."""
    with _changing(path):
        tokens = read_tokens(path)
        if any(token.name == name for token in tokens):
            raise SettingsError(f"there is a token called {name!r} already; choose another name, or remove it first")
        secret = str(uuid.uuid4())
        _write(path, [*tokens, Token(name, scope, _hash(secret), iso_time(time.time()))])
    return secret


def remove_token(path: Path, name: str) -> None:
    """A running server refuses it from the next request on."""
    with _changing(path):
        tokens = read_tokens(path)
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            names = [token.name for token in tokens]
            raise SettingsError(f"there is no token called {name!r}{suggestion(name, names)}")
        _write(path, kept)


class TokenFile:
    """The tokens of a running server, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: Optional[Tuple[int, int, int]] = None
        self._tokens: Tuple[Token, ...] = ()
        self._has_existed = False
        self._was_missing = False

    @property
    def exists(self) -> bool:
        """Whether there is, or was, a file: without the last token no one is let in, instead of everyone.

        Raises SettingsError if it is broken.
        """
        return bool(self.tokens) or self._has_existed

    @property
    def tokens(self) -> Tuple[Token, ...]:
        """Raises SettingsError if the file is broken: then no one is let in."""
        try:
            status = self._path.stat()
            changed: Optional[Tuple[int, int, int]] = (status.st_mtime_ns, status.st_size, status.st_ino)
            self._has_existed = True
        except FileNotFoundError:
            changed = None
            self._was_missing = not self._has_existed
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be read (serve.tokens): {error.strerror}") from error
        if changed != self._read_at:
            self._tokens = read_tokens(self._path)
            self._read_at = changed
            if changed is not None and self._was_missing:
                self._was_missing = False
                logger.warning(
                    "%s was made: from now on, every client has to send a token; the page asks for one", self._path
                )
        return self._tokens

    def find(self, secret: str) -> Optional[Token]:
        """The token with this secret. Takes as long for a wrong one as for a right one."""
        hashed, found = _hash(secret), None
        for token in self.tokens:
            if hmac.compare_digest(token.sha256, hashed):
                found = token
        return found


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.strip().lower().encode()).hexdigest()


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Held while the file changes, so that two programs do not lose each other's tokens."""
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(path.with_name(f".{path.name}.lock"), LOCK_WAIT_S))
        except OSError as error:
            raise SettingsError(f"{path} cannot be written (serve.tokens): {error.strerror}") from error
        if lock is None:
            raise SettingsError(f"{path} is being changed by another program (serve.tokens); try again")
        yield


def _write(path: Path, tokens: List[Token]) -> None:
    text = json.dumps([asdict(token) for token in tokens], ensure_ascii=False, indent=2) + "\n"
    try:
        write_whole(path, text.encode(), mode=0o600)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written (serve.tokens): {error.strerror}") from error
