"""Downloads one file over HTTP into a part file, and resumes where an earlier connection or run broke off."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Optional, Type
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from app import __version__
from app.errors import ModelError
from app.text import megabytes
from app.types import ProgressCallback

try:
    import fcntl

    CAN_LOCK = True
except ImportError:  # Windows: two downloads of one model at the same time are not kept apart there
    CAN_LOCK = False

logger = logging.getLogger(__name__)

MAX_BYTES = 2 << 30
"""For models of unknown size: larger than any face network, smaller than a disk."""

BLOCK_BYTES = 1 << 16
"""How much is read at once, and lost when the connection stalls or the program is stopped."""

STATUS_MEANINGS = {
    401: "login required",
    403: "access denied: a firewall, a download limit, or a file that is no longer public",
    404: "no such file (any more)",
    407: "the proxy requires a login; set it in the environment variable https_proxy",
    410: "the file was removed",
    416: "the file does not have this range",
    429: "too many downloads; try again later",
}


@dataclass(frozen=True)
class RetryPolicy:
    """How a bad connection is retried."""

    timeout_s: float = 30.0
    """A connection without data for this long counts as lost."""
    min_bytes_per_s: float = 1000.0
    """On average over `timeout_s`; a slower connection counts as lost."""
    attempts: int = 5
    """Connections for one file; each resumes where the last one broke off."""
    first_wait_s: float = 1.0
    """Before the second attempt; doubled for each further one."""


class RequestError(OSError):
    """The request failed; the message says why."""


class CutOffError(Exception):
    """The connection broke while the file was arriving; resuming may help."""


class PartFile:
    """The bytes of a file that have arrived so far: `.NAME.part` next to its target, open and locked.

    It outlives the program, and `.NAME.part.origin` holds the address and version that it is a part of.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self._target = target
        self._origin = target.with_name(f".{target.name}.part.origin")
        self._file: Optional[BinaryIO] = None

    def __enter__(self) -> PartFile:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        except OSError as error:
            raise self._cannot_write(error) from error
        if CAN_LOCK and not self._lock():
            self._file.close()
            raise ModelError(f"{self._target} is being installed by another program; wait until it has finished")
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._open_file.closed:
            return
        is_empty = not self.size
        self._close_unless_locked()
        if is_empty:
            for path in (self.path, self._origin):
                if path.exists():
                    path.unlink()
        self._open_file.close()

    @property
    def size(self) -> int:
        return os.fstat(self._open_file.fileno()).st_size

    def version(self, address: str) -> str:
        """The server's version (ETag) of the file at this address that this is a part of; empty if unknown."""
        try:
            noted_address, _, version = self._origin.read_text(encoding="utf-8").partition("\n")
        except (FileNotFoundError, UnicodeDecodeError):
            return ""
        return version if noted_address == address else ""

    def start(self, address: str, version: str) -> None:
        """Empties it and notes the version and address of the bytes that will be appended."""
        self.clear()
        try:
            self._origin.write_text(f"{address}\n{version}", encoding="utf-8")
        except OSError as error:
            raise self._cannot_write(error) from error

    def append(self, block: bytes) -> None:
        try:
            self._open_file.write(block)
            self._open_file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error

    def clear(self) -> None:
        self._open_file.truncate(0)
        if self._origin.exists():
            self._origin.unlink()

    def become_target(self) -> None:
        """Gives the complete file its final name, atomically and safe against a power failure."""
        try:
            os.fsync(self._open_file.fileno())
            self._close_unless_locked()
            self.path.replace(self._target)
            self._open_file.close()
            if self._origin.exists():
                self._origin.unlink()
        except OSError as error:
            raise self._cannot_write(error) from error

    @property
    def _open_file(self) -> BinaryIO:
        assert self._file is not None, "use PartFile in a with statement"
        return self._file

    def _lock(self) -> bool:
        """False if another program is writing it."""
        try:
            fcntl.flock(self._open_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        # The other program may just have finished: then this is the target under its old name.
        return self.path.exists() and os.path.samestat(os.fstat(self._open_file.fileno()), self.path.stat())

    def _close_unless_locked(self) -> None:
        """Windows cannot rename or delete an open file; elsewhere the lock is held until that is done."""
        if not CAN_LOCK:
            self._open_file.close()

    def _cannot_write(self, error: OSError) -> ModelError:
        return ModelError(f"{self._target} cannot be written: {error.strerror}")


class Download:
    """One file from one address, over as many connections as the retry policy allows."""

    def __init__(
        self,
        name: str,
        address: str,
        part: PartFile,
        expected_bytes: Optional[int],
        help_text: str,
        retries: RetryPolicy,
        progress: ProgressCallback,
    ) -> None:
        """`name` is the model's, for messages; `help_text` ends the messages about failures."""
        self._name, self._address, self._part = name, address, part
        self._expected_bytes = expected_bytes
        self._help_text = help_text
        self._retries, self._progress = retries, progress
        self._has_begun = False
        self.is_resumed = False
        """The bytes come from several responses, which may be of different versions of the file."""

    def run(self) -> None:
        """Returns when all bytes have arrived. Their hash is for the caller to check."""
        wait_s = self._retries.first_wait_s
        for attempt in range(1, self._retries.attempts + 1):
            try:
                self._fetch()
                return
            except CutOffError as error:
                arrived = megabytes(self._part.size)
                if attempt == self._retries.attempts:
                    raise ModelError(
                        f"{self._name}: the download from {self._address} broke off {attempt} times: {error}\n"
                        f"  {arrived} are kept; run the same command again to resume\n{self._help_text}"
                    ) from error
                logger.warning(
                    "%s: the download broke off at %s: %s; attempt %d of %d in %.0f s",
                    *(self._name, arrived, error, attempt + 1, self._retries.attempts, wait_s),
                )
                time.sleep(wait_s)
                wait_s *= 2

    def _fetch(self) -> None:
        """One connection."""
        with self._request() as response:
            total = self._prepare_part(response)
            measured_from, arrived = time.monotonic(), 0
            while True:
                try:
                    block = response.read1(BLOCK_BYTES)
                except (OSError, HTTPException) as error:
                    raise CutOffError(str(error) or type(error).__name__) from error
                if not block:
                    break
                self._part.append(block)
                arrived += len(block)
                if time.monotonic() - measured_from > self._retries.timeout_s:
                    if arrived < self._retries.min_bytes_per_s * self._retries.timeout_s:
                        raise CutOffError(f"only {arrived} bytes in {self._retries.timeout_s:g} s")
                    measured_from, arrived = time.monotonic(), 0
                self._check_size(self._part.size, is_whole=False)
                if total is not None:
                    self._progress(self._part.size, total)
        if total is not None and self._part.size < total:
            raise CutOffError(f"the connection ended after {megabytes(self._part.size)} of {megabytes(total)}")

    def _request(self) -> HTTPResponse:
        arrived = self._part.size
        try:
            response = get(self._address, self._retries.timeout_s, arrived, self._part.version(self._address))
        except (OSError, HTTPException) as error:
            # A server that disappears between two responses is retried like one that disappears within one.
            if self._has_begun:
                raise CutOffError(str(error)) from error
            kept = f"\n  {megabytes(arrived)} are kept; run the same command again to resume" if arrived else ""
            raise ModelError(
                f"{self._name} cannot be downloaded from {self._address}: {error}{kept}\n{self._help_text}"
            ) from error
        self._has_begun = True
        return response

    def _prepare_part(self, response: HTTPResponse) -> Optional[int]:
        """Makes the part file ready for this response; returns the size of the whole file if the server gives it."""
        self.is_resumed = response.status == 206
        if self.is_resumed:
            # Content-Range: bytes 1000-1999/2000
            unit, _, place = response.headers.get("Content-Range", "").partition(" ")
            if (unit, place.partition("-")[0]) != ("bytes", str(self._part.size)):
                self._part.clear()
                raise CutOffError("the server sent another range than requested")
        else:
            etag = str(response.headers.get("ETag", ""))
            # If-Range takes strong ETags only.
            self._part.start(self._address, etag if etag.startswith('"') else "")
        length = response.headers.get("Content-Length")
        if length is None or not length.isdigit():
            return None
        total = self._part.size + int(length)
        self._check_size(total, is_whole=True)
        folder = self._part.path.parent.resolve()
        free = shutil.disk_usage(folder).free
        if free < int(length):
            raise ModelError(
                f"{self._name} does not fit on the disk: {megabytes(int(length))} to download, {megabytes(free)} free "
                f"in {folder}"
            )
        return total

    def _check_size(self, size: int, is_whole: bool) -> None:
        expected = self._expected_bytes
        smallest, largest = (expected // 2, expected * 2) if expected else (1, MAX_BYTES)
        if size > largest or (is_whole and size < smallest):
            self._part.clear()
            raise ModelError(
                f"{self._name}: {self._address} does not send the model: it has {size} bytes"
                f"{f', expected {expected}' if expected else ''}\n{self._help_text}"
            )


def get(address: str, timeout_s: float, first_byte: int = 0, version: str = "") -> HTTPResponse:
    """The response to a GET request: status 206 with the bytes from `first_byte` on, or 200 with the whole file.

    The server sends a range only if the file still has this `version` (ETag). Without one, the caller must check that
    the parts belong together. Raises RequestError.
    """
    headers = {"User-Agent": f"face-recognition-l4t/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
        if version:
            headers["If-Range"] = version
    opener = urllib.request.build_opener(_CheckedRedirects)
    try:
        response: HTTPResponse = opener.open(urllib.request.Request(address, headers=headers), timeout=timeout_s)
    except HTTPError as error:
        error.close()
        if error.code == 416 and first_byte:
            # The part is longer than the server's file: the file has changed.
            return get(address, timeout_s)
        meaning = STATUS_MEANINGS.get(error.code) or ("server error; try again later" if error.code >= 500 else "")
        text = f"the server answered {error.code} {error.reason}"
        raise RequestError(f"{text}: {meaning}" if meaning else text) from error
    except URLError as error:
        raise RequestError(_reason_text(error.reason, timeout_s)) from error
    except (OSError, HTTPException) as error:
        raise RequestError(_reason_text(error, timeout_s)) from error
    return response


def check_address(address: str) -> None:
    """Raises ModelError for an address that others could read or change on the way."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError as error:
        raise ModelError(f"invalid address: {error}") from error
    if "@" in parts.netloc:
        raise ModelError(
            f"{parts.scheme}://***@{host}: addresses with a password are not supported; "
            "download the file in another way and install it with --from FILE"
        )
    try:
        is_this_machine = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_this_machine = host == "localhost"
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_this_machine)):
        raise ModelError(f"{address}: models are downloaded from https:// addresses only (http:// on this machine)")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to addresses that `check_address` accepts."""

    def redirect_request(
        self, request: urllib.request.Request, answer: IO[bytes], code: int, message: str, headers: Any, address: str
    ) -> Optional[urllib.request.Request]:
        check_address(address)
        # Python before 3.11 does not know 308; for GET it means the same as 307.
        return super().redirect_request(request, answer, 307 if code == 308 else code, message, headers, address)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def _reason_text(reason: Any, timeout_s: float) -> str:
    if isinstance(reason, socket.timeout):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, socket.gaierror):
        return "unknown host; is this machine connected to the internet?"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused: no server is running there, or a firewall blocks it"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); is this machine's clock right?"
    return str(reason) or type(reason).__name__
