"""Digest authentication of HTTP, for devices that know nothing else: the password itself is not sent."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Dict, Iterable, Optional
from urllib.parse import urlsplit

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_FIELD = re.compile(r'(\w+)=(?:"([^"\\]*)"|([^\s,"]+))')


def authorization(challenges: Iterable[str], address: str, user: str, password: str) -> Optional[str]:
    """The answer to the first challenge that can be answered, for a POST; None if there is none. Basic authentication
    is not answered, since it sends the password."""
    for challenge in challenges:
        kind, _, rest = challenge.partition(" ")
        fields = {found[1].lower(): found[2] or found[3] or "" for found in _FIELD.finditer(rest)}
        if kind.lower() == "digest" and "nonce" in fields:
            answer = _answer(fields, address, user, password)
            if answer is not None:
                return answer
    return None


def _answer(fields: Dict[str, str], address: str, user: str, password: str) -> Optional[str]:
    algorithm = fields.get("algorithm", "MD5").upper()
    qualities = fields.get("qop", "").replace(",", " ").split()
    if algorithm not in _HASHES or (qualities and "auth" not in qualities) or '"' in user:
        return None

    def hashed(*parts: str) -> str:
        return _HASHES[algorithm](":".join(parts).encode()).hexdigest()

    parts = urlsplit(address)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    realm, nonce = fields.get("realm", ""), fields["nonce"]
    secret, wanted = hashed(user, realm, password), hashed("POST", target)
    given = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    if "opaque" in fields:
        given["opaque"] = fields["opaque"]
    plain = {"algorithm": algorithm} if "algorithm" in fields else {}
    if qualities:
        given["cnonce"] = secrets.token_hex(8)
        plain.update(qop="auth", nc="00000001")
        given["response"] = hashed(secret, nonce, plain["nc"], given["cnonce"], plain["qop"], wanted)
    else:
        given["response"] = hashed(secret, nonce, wanted)
    quoted = [f'{name}="{value}"' for name, value in given.items()]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in plain.items())])
