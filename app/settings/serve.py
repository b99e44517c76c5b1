"""Settings of the HTTP server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.files import PROGRAM_FOLDER
from app.settings.declaration import setting


@dataclass(frozen=True)
class ServeSettings:
    """The program over HTTP: docs/service.md."""

    enabled: bool = setting(False, "answer HTTP requests while sources are read", flag="--serve")
    host: str = setting(
        "127.0.0.1",
        "address to listen on; any other than this machine's own needs a token; see `tokens add`",
        flag="--host",
        metavar="ADDRESS",
    )
    port: int = setting(8080, "port to listen on", flag="--port", metavar="N", minimum=1, maximum=65535)
    also_ports: Optional[str] = setting(
        None,
        "more ports, separated by commas, for clients that expect another one: 18081 (InsightFace-REST), 3000 and 8000 "
        "(CompreFace), 5000 and 32168 (DeepStack, CodeProject.AI)",
        flag="--also-ports",
        metavar="N,N",
    )
    workers: int = setting(
        1,
        "processes that answer requests, each with its own networks, on one GPU after the other; only without sources",
        flag="--workers",
        metavar="N",
        minimum=1,
        maximum=64,
    )
    tokens: Path = setting(PROGRAM_FOLDER / "tokens.json", "file with the hashed tokens of clients")
    audit_log: Path = setting(
        PROGRAM_FOLDER / "audit.jsonl", "file in which each change of the gallery over HTTP is noted, with its client"
    )
    audit_log_mb: float = setting(
        10.0, "size at which the file is renamed to NAME.1, which replaces the one before", minimum=0.001, maximum=1000
    )
    insecure: bool = setting(
        False, "answer other machines without a token; everyone in the network can then enrol people", flag="--insecure"
    )
    tls_cert: Optional[Path] = setting(
        None,
        "certificate (PEM, with its chain) for HTTPS; read again when it changes",
        flag="--tls-cert",
        metavar="FILE",
    )
    tls_key: Optional[Path] = setting(None, "key of the certificate (PEM)", flag="--tls-key", metavar="FILE")
    hsts_days: int = setting(
        0,
        "with TLS: days for which browsers shall use nothing but HTTPS with this host name; 0 = it is not said",
        minimum=0,
        maximum=730,
    )
    allowed_hosts: Optional[str] = setting(
        None, "host names, separated by commas, by which clients may call this server, besides its addresses"
    )
    allowed_origins: Optional[str] = setting(
        None, "web pages of other servers that may use this one, separated by commas, such as https://home.example"
    )
    trusted_proxies: Optional[str] = setting(
        None,
        "reverse proxies (addresses or networks), separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed, such as 127.0.0.1",
    )
    cors_origins: Optional[str] = setting(
        None,
        "web pages of other servers whose scripts may read replies, with a token, separated by commas, such as "
        "https://home.example",
    )
    frame_ancestors: Optional[str] = setting(
        None, "web pages that may show the page in a frame, separated by commas, such as http://home.example:8123"
    )
    root_images: Optional[Path] = setting(
        None, "folder whose pictures requests may name by path", flag="--root-images", metavar="DIR"
    )
    fetch_urls: bool = setting(
        False, "fetch pictures that requests name by an address of another server (InsightFace-REST's `urls`)"
    )
    fetch_allow: Optional[str] = setting(
        None,
        "networks, separated by commas, that are not of the internet and may be fetched from, such as that of the "
        "cameras, 192.168.2.0/24; with serve.fetch_urls",
    )
    fetch_ports: Optional[str] = setting(None, "ports to fetch from besides 80 and 443, separated by commas")
    max_body_mb: float = setting(32.0, "maximum size of a request in megabytes", minimum=0.01, maximum=1024)
    max_picture_mp: float = setting(50.0, "maximum size of one picture in megapixels", minimum=0.01, maximum=100)
    max_pictures: int = setting(128, "maximum number of pictures in one request", minimum=1, maximum=10_000)
    max_waiting_mp: float = setting(
        200.0,
        "megapixels of all requests that are worked on or wait; beyond that, requests are answered with 503",
        minimum=0.01,
        maximum=10_000,
    )
    frames_before_job: int = setting(
        3,
        "frames of video that go before a waiting job of a request or a photo, if they wait as well; more = the video "
        "is less late, fewer = requests are answered sooner",
        minimum=1,
        maximum=100,
    )
    max_viewers: int = setting(20, "clients that watch live video or events at the same time", minimum=1, maximum=1000)
    max_connections_per_address: int = setting(
        100,
        "connections of one address at the same time; those of a reverse proxy all have its address",
        minimum=1,
        maximum=500,
    )
    receive_timeout_s: float = setting(
        30.0, "seconds in which a client must have sent its request", minimum=0.1, maximum=3600
    )
    timeout_s: float = setting(
        60.0, "seconds after which a request that still waits is answered with 503", minimum=0.1, maximum=3600
    )
