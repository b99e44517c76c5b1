"""What can go wrong, by cause. Every message says what failed, where, and what to do about it."""

from __future__ import annotations

import enum
from typing import Callable, List, Sequence

DeathCallback = Callable[[str, str], None]
"""Called with the name of a thread or process that has died and is started again, and why it died."""


def ignore_death(worker: str, reason: str) -> None:
    """For those who want to go on however often a worker dies."""


class ExitCode(enum.IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    INCOMPLETE = 1
    """Something failed, was refused or is missing, and the rest was done."""
    USER_ERROR = 2
    """A wrong option, setting or file, or a source that cannot be opened."""
    FAILED = 3
    """A part that the program cannot do without failed, and could not be restored. Starting again may help."""
    INTERRUPTED = 130
    """What shells report for a program that Ctrl-C ended."""


class AppError(Exception):
    """Anything that the user can fix; shown as a message without a traceback, exit code 2."""


class CombinedError(AppError):
    """Mistakes that were found by independent checks and are reported together."""

    def __init__(self, errors: Sequence[AppError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join([f"{len(self.errors)} errors", *(f"- {error}" for error in self.errors)]))


def check_all(*checks: Callable[[], object]) -> None:
    """Runs every check, then raises all their errors together."""
    errors: List[AppError] = []
    for check in checks:
        try:
            check()
        except AppError as error:
            errors.append(error)
    raise_all(errors)


def raise_all(errors: Sequence[AppError]) -> None:
    """Raises the error, or all of them as one. Does nothing when there is none."""
    flat = [part for error in errors for part in (error.errors if isinstance(error, CombinedError) else (error,))]
    if len(flat) > 1:
        raise CombinedError(flat)
    if flat:
        raise flat[0]


class SettingsError(AppError):
    """A setting that does not exist, has the wrong type or is out of bounds."""


class SourceError(AppError):
    """A camera, stream, recording or picture that cannot be opened or read."""


class AccessDeniedError(SourceError):
    """A source that rejects the user or the password, or requires one."""


class ModelError(AppError):
    """A network that is missing, altered, or not of the family that the catalogue says."""


class BackendError(ModelError):
    """A backend fails while it runs a network, through no fault of the input: the device is lost, memory is short."""


class NotNowError(ModelError):
    """A network on another machine does not answer at the moment, and what it was to say can wait."""


class FatalError(AppError):
    """A part that the program cannot do without failed, and could not be restored; exit code 3."""


class GalleryError(AppError):
    """A photo or person that cannot be added, removed or read."""


class OutputError(AppError):
    """A window, file or other output that cannot be opened or written."""


class DatabaseError(AppError):
    """A database that cannot be reached, does not let this program in, or is not prepared for it."""


class RejectedRowError(DatabaseError):
    """A row that the database will never take."""
