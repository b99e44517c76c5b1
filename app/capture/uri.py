"""Sources: the grammar of their addresses, and their names.

An address is one of

    rtsp://...  rtsps://...       a network camera
    camera:0  /dev/video0         a USB camera
    csi:0                         a camera on a Jetson's CSI connector
    images:DIR_OR_GLOB            a folder of pictures, `*.jpg`, or one picture
    FILE  http://...  https://... a recording, or a stream over HTTP

with an optional name: `NAME=ADDRESS`.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from app.credentials import masked, without_credentials
from app.errors import SettingsError, SourceError
from app.text import printable, shortened

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".heic", ".heif")
"""The suffixes of supported pictures, in lower case."""

_NAMED = re.compile(r"\s*([\w .-]+?)\s*=(.+)", re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NOT_A_PATH = re.compile(r"(?:camera|csi):|[A-Za-z][A-Za-z0-9+.-]*://|\d+$", re.IGNORECASE)
_GLOB_CHARACTERS = frozenset("*?[")


class SourceKind(str, enum.Enum):
    """What an address refers to."""

    RTSP = "rtsp"
    CAMERA = "camera"
    CSI = "csi"
    VIDEO = "video"
    IMAGES = "images"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Source:
    """The source of one channel, and its name."""

    name: str
    kind: SourceKind
    address: str
    """A URL, path or pattern; for a camera its number or device file. May contain a password: see `masked_address`."""

    @property
    def live(self) -> bool:
        """Whether it is certainly live. For an http:// address only its reader knows, once it is open."""
        return self.kind in (SourceKind.RTSP, SourceKind.CAMERA, SourceKind.CSI)

    @property
    def remote(self) -> bool:
        """Whether it is read over a network."""
        return _SCHEME.match(self.address) is not None

    @functools.cached_property
    def masked_address(self) -> str:
        """The address for messages and logs: as it would be typed, without its password."""
        if self.kind in (SourceKind.CAMERA, SourceKind.CSI, SourceKind.IMAGES):
            return f"{self.kind}:{self.address}"
        return masked(self.address)

    @property
    def device(self) -> str:
        """The device file of a USB camera."""
        return f"/dev/video{self.address}" if self.address.isdigit() else self.address

    def __str__(self) -> str:
        return f"{self.name} ({self.masked_address})"

    def __repr__(self) -> str:
        return f"Source(name={self.name!r}, kind={self.kind.value!r}, address={self.masked_address!r})"


def parse_named(text: str) -> Tuple[Optional[str], str]:
    """Splits `NAME=ADDRESS`. An `=` in the query of a URL or in the name of an existing file is no separator."""
    match = _NAMED.fullmatch(text)
    if match is None or _is_existing_path(text):
        return None, text.strip()
    return match.group(1), match.group(2).strip()


def parse_source(address: str, name: Optional[str] = None) -> Source:
    """The source that an address means. Without a name it gets one made from the address."""
    kind, rest = _kind_of(address.strip())
    return Source(name=name or _default_name(kind, rest), kind=kind, address=rest)


def counted_from(folder: Path, address: str) -> str:
    """The address, with a relative path resolved against this folder."""
    prefix = "images:" if address.lower().startswith("images:") else ""
    path = address[len(prefix) :]
    return address if not path.strip() or _NOT_A_PATH.match(path) else f"{prefix}{folder / path}"


def name_sources(named: Sequence[Tuple[Optional[str], str]]) -> Tuple[Source, ...]:
    """All sources of a run. Given names must be unique; generated names are numbered until they are."""
    taken: List[str] = []
    for name, address in named:
        if name is None:
            continue
        if name in taken:
            raise SettingsError(
                f"duplicate source name {name!r} (second: {masked(address)}); give each source its own name"
            )
        taken.append(name)
    sources = []
    for given_name, address in named:
        source = parse_source(address, given_name)
        if given_name is None:
            name, number = source.name, 1
            while name in taken:
                number += 1
                name = f"{source.name}-{number}"
            taken.append(name)
            source = replace(source, name=name)
        sources.append(source)
    return tuple(sources)


def _kind_of(address: str) -> Tuple[SourceKind, str]:
    if not address:
        raise SourceError("a source has an empty address; expected a URL, a file, camera:0, csi:0 or images:FOLDER")
    scheme = _SCHEME.match(address)
    if (scheme is None or scheme.group().lower() == "file://") and not _can_be_path(address):
        raise SourceError(f"{shortened(printable(address))}: a path cannot be that long, or contain a null byte")
    if address.startswith("${"):
        raise SourceError(
            f"{address}: a reference stands for a part of an address, as in rtsp://user:${{NAME}}@192.168.1.20/stream1"
        )
    if scheme is not None and scheme.end() == len(address):
        raise SourceError(f"{address}: the rest of the address is missing")
    if scheme is not None:
        protocol = scheme.group(1).lower()
        if protocol in ("rtsp", "rtsps"):
            return SourceKind.RTSP, address
        if protocol in ("http", "https"):
            return SourceKind.VIDEO, address
        if protocol == "file":
            return SourceKind.VIDEO, address[len("file://") :]
        raise SourceError(
            f"{masked(address)}: {protocol}:// is not supported; use rtsp://, rtsps://, http:// or https://"
        )
    prefix, colon, rest = address.partition(":")
    if colon and prefix.lower() in ("camera", "csi"):
        return _camera(SourceKind(prefix.lower()), rest, address)
    if colon and prefix.lower() == "images":
        if not rest:
            raise SourceError(
                "images: must be followed by a folder, a picture or a pattern such as images:photos/*.jpg"
            )
        return SourceKind.IMAGES, rest
    if address.startswith("/dev/"):
        return _camera(SourceKind.CAMERA, address, address)
    is_pattern = bool(_GLOB_CHARACTERS.intersection(address)) and not _is_existing_path(address)
    if is_pattern or Path(address).is_dir() or Path(address).suffix.lower() in PICTURE_SUFFIXES:
        return SourceKind.IMAGES, address
    if address.isdigit() and not Path(address).exists():
        raise SourceError(f"{address!r}: no such file. For USB camera {address} write camera:{address}.")
    return SourceKind.VIDEO, address


def _camera(kind: SourceKind, rest: str, address: str) -> Tuple[SourceKind, str]:
    numbered = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", rest, re.ASCII)
    if numbered is not None:
        return kind, str(int(numbered.group(1)))
    if kind is SourceKind.CAMERA and rest.startswith("/dev/"):
        return kind, rest
    raise SourceError(f"{rest!r} is not a camera; write its number, as in {kind}:0")


def _can_be_path(text: str) -> bool:
    try:
        Path(text).exists()
    except (OSError, ValueError):
        return False
    return "\0" not in text


def _is_existing_path(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a null byte
        return False


def _default_name(kind: SourceKind, address: str) -> str:
    if kind in (SourceKind.CAMERA, SourceKind.CSI):
        return f"{kind}{address}" if address.isdigit() else _tidy(PurePosixPath(address).name, str(kind))
    if kind is SourceKind.IMAGES:
        return _tidy(_name_of_pictures(address), "images")
    if _SCHEME.match(address) is None:
        return _tidy(Path(address).stem, "video")
    try:
        parts = urlsplit(without_credentials(address))
        host = parts.hostname or ""
    except ValueError:  # brackets without a valid IPv6 address
        return str(kind)
    stem = PurePosixPath(parts.path).stem if kind is SourceKind.VIDEO else ""
    return _tidy(stem or host, str(kind))


def _name_of_pictures(address: str) -> str:
    path = Path(address)
    if not _GLOB_CHARACTERS.intersection(address):
        return path.resolve().name if path.is_dir() else path.stem
    plain = [part for part in path.parts if not _GLOB_CHARACTERS.intersection(part)]
    return Path(*plain).resolve().name if plain else "images"


def _tidy(name: str, otherwise: str) -> str:
    """Generated names use the same characters as given ones, because they become part of file names."""
    return re.sub(r"[^\w .-]+", "-", name).strip("-. ") or otherwise
