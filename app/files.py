"""Writes files completely or not at all, and checks beforehand that they can be written."""

from __future__ import annotations

import contextlib
import filecmp
import logging
import os
import re
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO, Iterator, Optional

from app.errors import OutputError, check_all

try:
    import fcntl

    CAN_LOCK = True
except ImportError:  # Windows
    CAN_LOCK = False

logger = logging.getLogger(__name__)

_LOCK_POLL_S = 0.005
_LEFT_AFTER_S = 3600.0
"""No program writes one file for so long."""
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.part", re.DOTALL)

CODE_FOLDER = Path(__file__).resolve().parent.parent
"""The folder that holds `app/`."""
IS_CHECKOUT = (CODE_FOLDER / "engines").is_dir()
"""Whether the program is in a separate folder. Otherwise pip has put `app/` among other packages."""
SHIPPED_FOLDER = CODE_FOLDER / "app" / "shipped"
"""There, the models and the template of the settings, as setup.py has packed them."""


def _users_folder() -> Path:
    chosen = os.environ.get("FACE_RECOGNITION_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data if data and Path(data).is_absolute() else Path.home() / ".local/share") / "face-recognition"


PROGRAM_FOLDER = CODE_FOLDER if IS_CHECKOUT else _users_folder()
"""The folder that holds `engines/`, `gallery/` and `config.yaml`, wherever the program is started."""


def lay_out_program_folder() -> None:
    """Copies what the package has for it into the program's folder, unless it is there already. Raises OutputError."""
    if IS_CHECKOUT:
        return
    for shipped in sorted(path for path in SHIPPED_FOLDER.rglob("*") if path.is_file()):
        target = PROGRAM_FOLDER / shipped.relative_to(SHIPPED_FOLDER)
        if target.is_file() and filecmp.cmp(str(shipped), str(target)):
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, shipped.read_bytes())
            # With equal times, the next start need not compare their content.
            status = shipped.stat()
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError as error:
            raise OutputError(
                f"{target} cannot be written: {error.strerror}; name a folder for this program's files in the "
                "environment variable FACE_RECOGNITION_HOME"
            ) from error


def write_whole(path: Path, content: bytes, mode: int = 0o644, modified_ns: Optional[int] = None) -> None:
    """Replaces the file once the new content is complete on the disk. Raises OSError.

    When it returns, a power failure cannot bring back the old content. `modified_ns`: the file seems to be from then.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(mode)
        if modified_ns is not None:
            os.utime(part, ns=(modified_ns, modified_ns))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def written_as(name: str) -> str:
    """The name that the temporary file of `write_whole` with this name will get; another name as it is."""
    temporary = _TEMPORARY.fullmatch(name)
    return temporary[1] if temporary else name


def remove_leftovers(folder: Path) -> None:
    """Deletes what programs that were killed while they wrote have left in a folder, and in those inside."""
    for at, _, names in os.walk(str(folder)):
        for path in (Path(at, name) for name in names if written_as(name) != name):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _LEFT_AFTER_S:
                    path.unlink()


def sync_folder(folder: Path) -> None:
    """Brings the names of its files to the disk, where the file system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(*paths: Optional[Path]) -> None:
    """For long-running commands: raises at the start if a result could not be written at the end."""
    check_all(*(partial(_check_writable, path) for path in paths if path is not None))


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {path} cannot be created: {error.strerror}") from error


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces the file once the new text is complete on the disk. Raises OutputError."""
    try:
        write_whole(path, text.encode(), mode)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; expected a file")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} cannot be written: it exists and is not a regular file")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission to write to {path.parent}")


def dated(path: Path, moment: float) -> Path:
    """The path with `{date}` and `{time}` in its name replaced, so that a run that starts every day has a new name."""
    start = time.localtime(moment)
    name = path.name.replace("{date}", time.strftime("%Y-%m-%d", start))
    return path.with_name(name.replace("{time}", time.strftime("%H-%M-%S", start)))


def try_lock(descriptor: int) -> bool:
    """Locks an open file for this program until it is closed. False if another program has it.

    True also where files cannot be locked, as on Windows and on some network drives.
    """
    if not CAN_LOCK:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.debug("files cannot be locked here: %s", error)
    return True


@contextlib.contextmanager
def locked(path: Path, wait_s: float) -> Iterator[Optional[BinaryIO]]:
    """The file, open and locked for this program. None: another program has kept it locked. Raises OSError."""
    with path.open("a+b") as file:
        give_up_at = time.monotonic() + wait_s
        while not try_lock(file.fileno()):
            if time.monotonic() >= give_up_at:
                yield None
                return
            time.sleep(_LOCK_POLL_S)
        yield file


def open_claimed(path: Path) -> BinaryIO:
    """Opens a file so that no other run writes it, until it is closed. Its content is not changed."""
    file = path.open("ab")
    if try_lock(file.fileno()):
        return file
    file.close()
    raise OutputError(f"{path} is written by another run; stop that one, or choose another name")


def claim_file(path: Path, overwrite: bool) -> None:
    """Checks that the file can be written, and creates its folder if it is missing. The file itself is not changed."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected a file")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} already exists; choose another name, in which {{date}} and {{time}} are replaced, or pass "
            "--overwrite to replace it"
        )
    is_new = not path.exists()
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            logger.info("created folder %s", path.parent)
        open_claimed(path).close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another folder") from error
