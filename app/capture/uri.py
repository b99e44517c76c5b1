"""Where pictures come from: the grammar of addresses, their names, and their passwords.

An address is one of

    rtsp://...  rtsps://...       a network camera
    camera:0  /dev/video0         a USB camera
    csi:0                         a camera on a Jetson's CSI connector
    images:DIR_OR_GLOB            a folder of pictures, `*.jpg`, or one picture
    FILE  http://...  https://... a recording, or a stream over HTTP

and may be given a name as `NAME=ADDRESS`.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from app.credentials import masked, without_credentials
from app.errors import SettingsError, SourceError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files taken for pictures, in lower case."""

_NAMED = re.compile(r"\s*([\w .-]+?)\s*=(.+)", re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NO_PATH = re.compile(r"(?:camera|csi):|[A-Za-z][A-Za-z0-9+.-]*://|\d+$", re.IGNORECASE)
_GLOB_CHARACTERS = frozenset("*?[")


class SourceKind(str, enum.Enum):
    """What stands behind an address."""

    RTSP = "rtsp"
    CAMERA = "camera"
    CSI = "csi"
    VIDEO = "video"
    IMAGES = "images"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Source:
    """One channel: where its pictures come from and what it is called."""

    name: str
    kind: SourceKind
    address: str
    """A URL, a path or a glob; for a camera its number or device file. May hold a password: see `masked_address`."""

    @property
    def live(self) -> bool:
        """Whether it surely is a live source. What an http:// address is, its reader knows once it is open."""
        return self.kind in (SourceKind.RTSP, SourceKind.CAMERA, SourceKind.CSI)

    @property
    def remote(self) -> bool:
        """Whether it lies behind a network."""
        return _SCHEME.match(self.address) is not None

    @property
    def masked_address(self) -> str:
        """The address for people and logs: as it would be typed, without its password."""
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
    """Split `NAME=ADDRESS`. An `=` within a URL's query or within the name of an existing file separates nothing."""
    match = _NAMED.fullmatch(text)
    if match is None or _is_existing_path(text):
        return None, text.strip()
    return match.group(1), match.group(2).strip()


def parse_source(address: str, name: Optional[str] = None) -> Source:
    """What an address means; without a name the channel gets one made from the address."""
    kind, rest = _kind_of(address.strip())
    return Source(name=name or _default_name(kind, rest), kind=kind, address=rest)


def counted_from(folder: Path, address: str) -> str:
    """The address with its path, where it is a relative one, counted from this folder."""
    prefix = "images:" if address.lower().startswith("images:") else ""
    path = address[len(prefix) :]
    return address if not path.strip() or _NO_PATH.match(path) else f"{prefix}{folder / path}"


def name_sources(named: Sequence[Tuple[Optional[str], str]]) -> Tuple[Source, ...]:
    """All channels of a run. Names that were given must differ; made-up names are numbered until they do."""
    taken: List[str] = []
    for name, address in named:
        if name is None:
            continue
        if name in taken:
            raise SettingsError(
                f"two sources are called {name!r}; the second is {masked(address)}. Give each source its own name."
            )
        taken.append(name)
    return tuple(_with_free_name(parse_source(address, name), name is not None, taken) for name, address in named)


def _with_free_name(source: Source, given: bool, taken: List[str]) -> Source:
    if given:
        return source
    name, number = source.name, 1
    while name in taken:
        number += 1
        name = f"{source.name}-{number}"
    taken.append(name)
    return Source(name=name, kind=source.kind, address=source.address)


def _kind_of(address: str) -> Tuple[SourceKind, str]:
    if not address:
        raise SourceError("a source has an empty address. Give a URL, a file, camera:0, csi:0 or images:FOLDER.")
    scheme = _SCHEME.match(address)
    if scheme is not None and scheme.end() == len(address):
        raise SourceError(f"{address}: the address behind it is missing.")
    if scheme is not None:
        return _kind_of_url(scheme.group(1).lower(), address)
    prefix, colon, rest = address.partition(":")
    if colon and prefix.lower() in ("camera", "csi"):
        return _camera(SourceKind(prefix.lower()), rest, address)
    if colon and prefix.lower() == "images":
        if not rest:
            raise SourceError("images: needs a folder, a pattern such as images:photos/*.jpg, or a picture behind it.")
        return SourceKind.IMAGES, rest
    if address.startswith("/dev/"):
        return _camera(SourceKind.CAMERA, address, address)
    if _means_pictures(address):
        return SourceKind.IMAGES, address
    if address.isdigit() and not Path(address).exists():
        raise SourceError(f"{address!r} is no file. For USB camera {address} write camera:{address}.")
    return SourceKind.VIDEO, address


def _kind_of_url(scheme: str, address: str) -> Tuple[SourceKind, str]:
    if scheme in ("rtsp", "rtsps"):
        return SourceKind.RTSP, address
    if scheme in ("http", "https"):
        return SourceKind.VIDEO, address
    if scheme == "file":
        return SourceKind.VIDEO, address[len("file://") :]
    raise SourceError(
        f"{masked(address)}: {scheme}:// is not read here. Addresses begin with rtsp://, rtsps://, http:// or https://."
    )


def _camera(kind: SourceKind, rest: str, address: str) -> Tuple[SourceKind, str]:
    numbered = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", rest, re.ASCII)
    if numbered is not None:
        return kind, str(int(numbered.group(1)))
    if kind is SourceKind.CAMERA and rest.startswith("/dev/"):
        return kind, rest
    raise SourceError(f"{rest!r} is no camera: name it by its number, as in {kind}:0.")


def _means_pictures(address: str) -> bool:
    path = Path(address)
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return True
    return bool(_GLOB_CHARACTERS.intersection(address)) and not _is_existing_path(address)


def _is_existing_path(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a path may be, or with a null byte in it
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
    except ValueError:  # brackets that are no IPv6 address
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
    """Made-up names use the letters that given names may have, for they end up in file names."""
    return re.sub(r"[^\w .-]+", "-", name).strip("-. ") or otherwise
