"""Installs model files, from their download address or from a file; only a verified file gets its final name.

Bytes first go into a part file (`app/models/download.py`), which is renamed when it is complete and its SHA-256 is the
one in the catalogue.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional

from app.errors import ModelError
from app.models.download import BLOCK_BYTES, Download, PartFile, RetryPolicy, check_address
from app.models.entry import FileState, ModelEntry, sha256_of
from app.types import ProgressCallback

logger = logging.getLogger(__name__)


def require_acceptance(entry: ModelEntry, accepted: bool) -> None:
    """Raises ModelError for a model for non-commercial use only, unless its terms were accepted."""
    if entry.commercial_use or accepted:
        return
    raise ModelError(
        f"{entry.name} is for non-commercial use only ({entry.licence}; {entry.source}):\n"
        "  its terms do not allow use in a product, in a service or at work. Nothing was downloaded.\n"
        f"  if your use is allowed: {entry.pull_command}"
    )


def install(
    entry: ModelEntry,
    origin: str = "",
    *,
    retries: Optional[RetryPolicy] = None,
    progress: ProgressCallback = lambda done, total: None,
) -> bool:
    """Installs the model's file; False if the right one is already there.

    `origin` is an address or a file (default: the address in the catalogue).
    """
    if entry.file_state() is FileState.VALID:
        return False
    origin = origin or entry.url
    if not origin:
        raise ModelError(f"model {entry.name!r} cannot be downloaded: {entry.how_to_get}")
    is_address = "://" in origin
    if is_address:
        check_address(origin)
    else:
        try:
            found = sha256_of(Path(origin))
        except OSError as error:
            raise ModelError(f"{origin} cannot be read: {error.strerror}") from error
        _require_hash(found, entry, origin)
    with PartFile(entry.file) as part:
        if is_address:
            _download(entry, origin, part, retries or RetryPolicy(), progress)
        else:
            part.start(origin, "")
            with Path(origin).open("rb") as file:
                for block in iter(lambda: file.read(BLOCK_BYTES), b""):
                    part.append(block)
            _require_hash(sha256_of(part.path), entry, origin)
        part.become_target()
    return True


def _download(
    entry: ModelEntry, address: str, part: PartFile, retries: RetryPolicy, progress: ProgressCallback
) -> None:
    # The program may have been stopped between the last byte and the check.
    if part.size and sha256_of(part.path) == entry.sha256:
        return
    by_hand = (
        "  or download the file in another way, on another machine if necessary, and install it with\n"
        f"    {entry.pull_command} --from FILE      (it goes to {entry.file})"
    )
    download = Download(entry.name, address, part, entry.size_bytes, by_hand, retries, progress)
    download.run()
    if download.is_resumed and sha256_of(part.path) != entry.sha256:
        logger.warning("%s: its parts do not fit together; downloading it again", entry.name)
        part.clear()
        download.run()
    found = sha256_of(part.path)
    if found == entry.sha256:
        return
    with part.path.open("rb") as file:
        beginning = file.read(100).lstrip()
    remark = ""
    if beginning.startswith(b"<"):
        remark = "\n  it is a web page: does this network require a login in the browser first?"
    elif beginning.startswith(b"version https://git-lfs"):
        remark = "\n  it is a Git LFS pointer: use the address of the file itself"
    part.clear()
    _require_hash(found, entry, address, remark)


def _require_hash(found: str, entry: ModelEntry, origin: str, remark: str = "") -> None:
    if found != entry.sha256:
        raise ModelError(
            f"{origin} is not the file that the catalogue describes as {entry.name!r}; it was not installed\n"
            f"  expected SHA-256 {entry.sha256}\n  found    SHA-256 {found}{remark}"
        )
