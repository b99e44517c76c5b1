"""What can go wrong, by whose affair it is. Every message says what happened, where, and what to do about it."""

from __future__ import annotations

import enum
from typing import Callable, List


class ExitCode(enum.IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    INCOMPLETE = 1
    """Something failed, was refused or is missing, and the rest was done."""
    USER_ERROR = 2
    """A wrong option, setting or file, or a source that cannot be opened."""
    INTERRUPTED = 130
    """What shells report for a program that Ctrl-C ended."""


class AppError(Exception):
    """Anything that the user can mend; shown as one message without a traceback, exit code 2."""


def check_all(*checks: Callable[[], object]) -> None:
    """Makes every check and raises what they complain of as one: who has made three mistakes hears of three."""
    errors: List[AppError] = []
    for check in checks:
        try:
            check()
        except AppError as error:
            errors.append(error)
    if len(errors) > 1:
        raise AppError("\n".join([f"{len(errors)} things are wrong", *(f"- {error}" for error in errors)]))
    if errors:
        raise errors[0]


class SettingsError(AppError):
    """A setting that does not exist, has the wrong type or lies out of bounds."""


class SourceError(AppError):
    """A camera, stream, recording or picture that cannot be opened or read."""


class ModelError(AppError):
    """A network that is missing, altered, or not of the family that the catalogue says."""


class GalleryError(AppError):
    """An enrolment that cannot be carried out."""


class OutputError(AppError):
    """A window, file or other output that cannot be opened or written."""
