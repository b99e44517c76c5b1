"""Bringing models onto this machine, from the net or from a file: checked against the catalogue, and never half of one.

Bytes arrive in a file of another name (`app/models/part_file.py`). Only when all of them are there and have the right
hash does it get the name under which the program looks for it.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Callable, Optional

from app.errors import ModelError
from app.models.entry import FileState, ModelEntry, sha256_of
from app.models.http_get import check_address, get
from app.models.part_file import PartFile
from app.text import megabytes

logger = logging.getLogger(__name__)

MOST_BYTES = 2 << 30
"""Where the catalogue does not say how large a model is: more than any face network, less than a full disk."""

_BLOCK = 1 << 16
"""What is lost at most when a connection falls silent or the program is stopped."""

CountProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Patience:
    """How much of a bad connection is put up with."""

    timeout_s: float = 30.0
    """Silence after which a connection counts as lost."""
    attempts: int = 5
    """Connections for one file, each going on where the last one broke off."""
    first_wait_s: float = 1.0
    """Before the second attempt; doubled for each one after it."""


class CutOffError(Exception):
    """The connection broke after the file had begun to come: worth another try from there."""


def require_acceptance(entry: ModelEntry, accepted: bool) -> None:
    """Raises for a model that is not free for every use, unless its terms were accepted."""
    if entry.commercial_use or accepted:
        return
    raise ModelError(
        f"{entry.name} is for non-commercial use only ({entry.licence}; {entry.source}):\n"
        "  its terms do not allow it in a product, in a service or in a company's work. Nothing was downloaded.\n"
        f"  if your use is allowed: {entry.pull_command}"
    )


def install(
    entry: ModelEntry,
    origin: str = "",
    *,
    patience: Optional[Patience] = None,
    progress: CountProgress = lambda done, total: None,
) -> bool:
    """Puts the model's file into its place; False if the right one is there already.

    `origin` is an address or a file; without one it is the catalogue's address. `progress` is called with the bytes
    that have arrived and the size of the whole, once that is known.
    """
    if entry.file_state() is FileState.VALID:
        return False
    origin = origin or entry.url
    if not origin:
        raise ModelError(f"model {entry.name!r} cannot be pulled: {entry.how_to_get}")
    is_address = "://" in origin
    if is_address:
        check_address(origin)
    else:
        _require_hash(sha256_of_readable(Path(origin)), entry, origin)
    with PartFile(entry.file) as part:
        if is_address:
            _download_verified(Download(entry, origin, part, patience or Patience(), progress))
        else:
            _copy(Path(origin), part)
            _require_hash(sha256_of(part.path), entry, origin)
        part.become_target()
    return True


def sha256_of_readable(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


class Download:
    """One file from one address, over as many connections as it takes and patience allows."""

    def __init__(
        self, entry: ModelEntry, address: str, part: PartFile, patience: Patience, progress: CountProgress
    ) -> None:
        self.entry, self.part = entry, part
        self.address = address
        self.is_patchwork = False
        """Whether it was put together from several answers, which may have been of different files."""
        self._patience, self._progress = patience, progress
        self._has_begun = False

    def run(self) -> None:
        """Returns when all bytes are there, whatever they are."""
        wait_s = self._patience.first_wait_s
        for attempt in range(1, self._patience.attempts + 1):
            try:
                self._fetch()
                return
            except CutOffError as error:
                have = megabytes(self.part.size)
                if attempt == self._patience.attempts:
                    raise ModelError(
                        f"{self.entry.name}: the download from {self.address} broke off {attempt} times: {error}\n"
                        f"  {have} are kept; the same command goes on from there\n{by_hand(self.entry)}"
                    ) from error
                logger.warning(
                    "%s: the download broke off at %s: %s; attempt %d of %d in %.0f s",
                    *(self.entry.name, have, error, attempt + 1, self._patience.attempts, wait_s),
                )
                time.sleep(wait_s)
                wait_s *= 2

    def _fetch(self) -> None:
        with self._ask() as response:
            total = self._begin(response)
            while True:
                block = self._read(response)
                if not block:
                    break
                self.part.append(block)
                self._check_size(self.part.size, is_whole=False)
                if total is not None:
                    self._progress(self.part.size, total)
        if total is not None and self.part.size < total:
            raise CutOffError(f"the connection ended after {megabytes(self.part.size)} of {megabytes(total)}")

    def _ask(self) -> HTTPResponse:
        have = self.part.size
        try:
            response = get(self.address, self._patience.timeout_s, have, self.part.version(self.address))
        except (OSError, HTTPException) as error:
            # A server that vanishes between two pieces is as broken a connection as one that vanishes within one.
            if self._has_begun:
                raise CutOffError(str(error)) from error
            kept = f"\n  {megabytes(have)} are kept; the same command goes on from there" if have else ""
            raise ModelError(
                f"{self.entry.name} cannot be downloaded from {self.address}: {error}{kept}\n{by_hand(self.entry)}"
            ) from error
        self._has_begun = True
        return response

    def _begin(self, response: HTTPResponse) -> Optional[int]:
        """Makes ready for what this answer brings; the size of the whole file, if it says so."""
        if response.status == 206:
            if _first_byte(response) != self.part.size:
                self.part.clear()
                raise CutOffError("the server sent another piece than was asked for")
            self.is_patchwork = True
        else:
            self.part.start(self.address, _version(response))
            self.is_patchwork = False
        length = response.headers.get("Content-Length")
        if length is None or not length.isdigit():
            return None
        total = self.part.size + int(length)
        self._check_size(total, is_whole=True)
        free = shutil.disk_usage(self.part.path.parent).free
        if free < int(length):
            raise ModelError(
                f"{self.entry.name} does not fit on the disk: {megabytes(int(length))} are to come, "
                f"{self.part.path.parent.resolve()} has {megabytes(free)} free"
            )
        return total

    def _read(self, response: HTTPResponse) -> bytes:
        try:
            return response.read(_BLOCK)
        except (OSError, HTTPException) as error:
            raise CutOffError(str(error) or type(error).__name__) from error

    def _check_size(self, size: int, is_whole: bool) -> None:
        expected = self.entry.size_bytes
        least, most = (expected // 2, expected * 2) if expected else (1, MOST_BYTES)
        if size > most or (is_whole and size < least):
            self.part.clear()
            raise ModelError(
                f"{self.entry.name}: what {self.address} sends is not the model: it has {size} bytes"
                f"{f', expected were {expected}' if expected else ''}\n{by_hand(self.entry)}"
            )


def _download_verified(download: Download) -> None:
    entry, part = download.entry, download.part
    # The program may have been stopped between the last byte and the check.
    if part.size and sha256_of(part.path) == entry.sha256:
        return
    download.run()
    if download.is_patchwork and sha256_of(part.path) != entry.sha256:
        logger.warning("%s: its pieces do not fit together; it is downloaded again as a whole", entry.name)
        part.clear()
        download.run()
    found = sha256_of(part.path)
    if found != entry.sha256:
        remark = _remark_on(part.path)
        part.clear()
        _require_hash(found, entry, download.address, remark)


def _copy(source: Path, part: PartFile) -> None:
    part.start(str(source), "")
    with source.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            part.append(block)


def _require_hash(found: str, entry: ModelEntry, origin: str, remark: str = "") -> None:
    if found != entry.sha256:
        raise ModelError(
            f"what came from {origin} is not the file that the catalogue describes as {entry.name!r}; "
            f"it was not installed\n  expected SHA-256 {entry.sha256}\n  found    SHA-256 {found}{remark}"
        )


def by_hand(entry: ModelEntry) -> str:
    """What to do where this program does not get through."""
    return (
        "  by hand: get the file in another way, on another machine if need be, and install it with\n"
        f"    {entry.pull_command} --from FILE      (it goes to {entry.file})"
    )


def _first_byte(response: HTTPResponse) -> int:
    """Where the piece begins, from `Content-Range: bytes 1000-1999/2000`; -1 if that is not to be read."""
    unit, _, place = response.headers.get("Content-Range", "").partition(" ")
    first = place.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _version(response: HTTPResponse) -> str:
    """What tells this file from a later one at the same address, in a form that `If-Range` takes."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag.startswith('"') else ""


def _remark_on(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(100).lstrip()
    if beginning.startswith(b"<"):
        return "\n  what came is a web page: does this network want you to log in first?"
    if beginning.startswith(b"version https://git-lfs"):
        return "\n  what came is a Git LFS pointer: take the address of the file itself"
    return ""
