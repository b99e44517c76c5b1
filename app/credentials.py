"""User and password in an address: parsed, masked for messages and logs, and encoded for readers.

People type passwords literally, with `@ : / # ?` in them, where a URL requires `%40`. Both forms are accepted:

- The user ends at the first colon and the password at the *last* `@`. An `@` in the path of an address with a password
  must therefore be written `%40`.
- `${NAME}` stands for an environment variable, and `${file:PATH}` for the content of a file. They are read when the
  camera is opened, so what they stand for is in no message and no list of processes.
- Text that is valid in a URL (letters, digits, `-._~!$&'()*+,;=` and `%` with two hex digits) counts as encoded; a
  password that really contains `%41` is written with `%2541`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path
from typing import Match, Optional, Tuple
from urllib.parse import quote, unquote

from app.errors import SettingsError
from app.text import from_here

HIDDEN = "***"

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_URL = re.compile(rf"({_SCHEME})(.*)", re.DOTALL)
_SECRET_IN_URL = re.compile(rf"({_SCHEME}[^:]*):(.*)@", re.DOTALL)
_URL_IN_TEXT = re.compile(rf"{_SCHEME}\S+")
_TOKEN_IN_URL = re.compile(rf"((?<![A-Za-z0-9+.-])(?!postgres(?:ql)?:){_SCHEME})([^/?#@:\s]{{12,}})@", re.IGNORECASE)
"""A user without a password; a long one is probably a token, but not for a database."""
_SECRET_FIELD = re.compile(
    r"((?:pass(?:word|wd|code)?|pwd|psw|pw|secret|token|api_?key|(?<=[?&;])(?:auth|key|session|sig|p))=)[^&\s#;]+",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
"""Stands for a secret: `${NAME}` or `${file:PATH}`."""
_FIRST_MARK = 0xE000
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_HOST_AND_PORT = re.compile(r"(?:[\w-]+(?:\.[\w-]+)+|localhost|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


def refuse_telemetry() -> None:
    """To be called before ONNX Runtime is imported: from 1.31 on, it reports to its makers on what it runs."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it: `rtsp://user:***@host`, `?password=***`.

    When in doubt it hides too much: everything up to the last `@` counts as the password. A text that is itself an
    address is masked as a whole; inside other text an address ends at the next space.
    """
    if _URL.match(text):
        return _masked_url(text)
    return _SECRET_FIELD.sub(rf"\1{HIDDEN}", _URL_IN_TEXT.sub(lambda found: _masked_url(found.group()), text))


def credentials(address: str) -> Optional[Tuple[str, str]]:
    """User and password of an address, decoded; None if it has neither."""
    userinfo = _split(address)[1]
    if userinfo is None:
        return None
    user, _, password = userinfo.partition(":")
    if _ENCODED.fullmatch(user) and _ENCODED.fullmatch(password):
        return unquote(user), unquote(password)
    return user, password


def without_credentials(address: str) -> str:
    """The address alone, for readers that take user and password separately."""
    scheme, _, rest = _split(address)
    return scheme + rest


def for_opening(address: str) -> str:
    """The address with user and password encoded for a URL, however they were typed."""
    known = credentials(address)
    if known is None:
        return address
    scheme, userinfo, rest = _split(address)
    user, password = (quote(part, safe="") for part in known)
    colon = ":" if userinfo and ":" in userinfo else ""
    return f"{scheme}{user}{colon}{password}@{rest}"


def with_secrets(address: str, place: str) -> str:
    """The address with what its references stand for, encoded for a URL. `place` is for messages.

    Raises SettingsError for a variable that is not set, or a file that cannot be read.
    """
    secrets = [_referred(found[1], place) for found in _REFERENCE.finditer(address)]
    # Characters for private use, which split no address.
    marks = iter(range(len(secrets)))
    scheme, userinfo, rest = _split(_REFERENCE.sub(lambda _: chr(_FIRST_MARK + next(marks)), address))
    marked = {_FIRST_MARK + number: secret for number, secret in enumerate(secrets)}
    encoded = {mark: quote(secret, safe="") for mark, secret in marked.items()}
    if userinfo is None:
        return scheme + rest.translate(encoded)
    user, colon, password = userinfo.partition(":")
    is_encoded = all(_ENCODED.fullmatch(part.translate(dict.fromkeys(marked))) for part in (user, password))
    user, password = (
        part.translate(encoded) if is_encoded else quote(part.translate(marked), safe="") for part in (user, password)
    )
    return f"{scheme}{user}{colon}{password}@{rest.translate(encoded)}"


def without_secrets(text: str, address: str, place: str) -> str:
    """The text without what the references of an address stand for, such as an answer that repeats the address."""
    for found in _REFERENCE.finditer(address):
        secret = _referred(found[1], place)
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, HIDDEN)
    return text


def references_from(folder: Path, address: str) -> str:
    """The address, with relative paths of its references resolved against this folder."""

    def resolved(found: Match[str]) -> str:
        kind, _, path = found[1].partition(":")
        return f"${{file:{from_here(folder / path)}}}" if kind == "file" else found[0]

    return _REFERENCE.sub(resolved, address)


def has_secret(address: str) -> bool:
    """Whether a password or a token itself is in the address, and not only a reference to it."""
    plain = _REFERENCE.sub("", address)
    userinfo = _split(plain)[1] or ""
    return bool(userinfo.partition(":")[2]) or bool(_SECRET_FIELD.search(plain)) or bool(_TOKEN_IN_URL.search(plain))


def _referred(name: str, place: str) -> str:
    return read_secret(name if name.startswith("file:") else f"env:{name}", place)


def read_secret(reference: str, key: str) -> str:
    """The secret that a setting refers to: `env:NAME`, or `file:PATH`, whose surrounding white space is ignored.

    A secret itself is refused, so that it is in no settings file and no list of processes. Raises SettingsError.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        secret = os.environ.get(name, "")
        if not secret:
            raise SettingsError(f"{key}: the environment variable {name} is not set")
        return secret
    if kind == "file" and name:
        try:
            secret = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"{key}: {name} cannot be read: {reason}") from error
        if not secret:
            raise SettingsError(f"{key}: {name} is empty")
        return secret
    raise SettingsError(
        f"{key}: expected where the secret is, not the secret itself: env:NAME for an environment variable, or "
        "file:PATH"
    )


def mask_process_list() -> None:
    """Masks the secrets in this process's own arguments, which every user of the machine can list. Linux only.

    They are visible for the moment until this is called; a settings file keeps them to itself.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # Where the kernel reads the arguments from: see proc_pid_stat(5).
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        for word in ctypes.string_at(start, end - start).split(b"\0"):
            hidden = os.fsencode(masked(os.fsdecode(word)))
            ctypes.memmove(start, hidden[: len(word)].ljust(len(word)), len(word))
            start += len(word) + 1


def _masked_url(url: str) -> str:
    url = _SECRET_IN_URL.sub(rf"\1:{HIDDEN}@", url, count=1)
    return _SECRET_FIELD.sub(rf"\1{HIDDEN}", _TOKEN_IN_URL.sub(rf"\1{HIDDEN}@", url))


def _split(address: str) -> Tuple[str, Optional[str], str]:
    """Scheme with `://`, user and password as typed or None, and the rest after the `@`."""
    match = _URL.fullmatch(address)
    if match is None:
        return "", None, address
    scheme, rest = match.groups()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, after = rest.rpartition("@")
    if "@" not in authority and (":" not in before or _HOST_AND_PORT.fullmatch(authority)):
        return scheme, None, rest  # no user; an @, if any, belongs to the path
    if not at:
        return scheme, None, rest
    if ":" not in before:
        before, _, after = authority.rpartition("@")
        after += rest[len(authority) :]
    return scheme, before, after
