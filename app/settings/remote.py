"""Settings of networks that another machine runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class RemoteSettings:
    """Networks on a server: docs/remote.md."""

    url: Optional[str] = setting(
        None,
        "server of the Open Inference Protocol v2 that embeds faces: http://HOST:PORT, https://, grpc:// or grpcs:// "
        "(docs/remote.md)",
        metavar="URL",
    )
    model: Optional[str] = setting(None, "the model's name there; by default that of models.embedder", metavar="NAME")
    attributes: bool = setting(False, "let it run the attribute models as well, under their own names")
    timeout_ms: float = setting(
        300.0, "milliseconds after which a request has failed; the next frame waits for it", minimum=1, maximum=60_000
    )
    fallback: str = setting(
        "local",
        "while the server does not answer: local = compare faces on this machine, later = faces in videos get their "
        "names when it answers again",
        choices=("local", "later"),
    )
    token: Optional[str] = setting(
        None, "send the token in env:NAME or file:PATH as Authorization: Bearer", secret=True
    )
    ca_file: Optional[Path] = setting(
        None, "certificates (PEM) to trust for https:// and grpcs://, instead of the system's", metavar="FILE"
    )
