"""What can go wrong, by whose affair it is. Every message says what happened, where, and what to do about it."""

from __future__ import annotations

from typing import Callable, List


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
