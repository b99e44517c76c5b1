"""Versions of people and strangers, so that an edit of something that has changed meanwhile is refused."""

from __future__ import annotations

import hashlib
from typing import Iterable, Optional

from app.gallery.people import PhotoRecord
from app.identity.strangers import StrangerBook, stranger_name
from app.service.http import HttpError


def person_version(photos: Iterable[PhotoRecord]) -> str:
    return _digest(f"{photo.path}\0{photo.content_hash}" for photo in photos)


def stranger_version(book: StrangerBook, number: int) -> str:
    visits = [visit.id for visit in book.visits_of(number)]
    return _digest([stranger_name(number), str(number in book.ignored), *visits])


def visit_version(visit: int, who: Optional[str]) -> str:
    return _digest([f"visit {visit}", who or ""])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def require_version(who: str, current: str, sent: Optional[str]) -> None:
    """Raises HttpError (409) if another version was sent."""
    if sent is not None and sent != current:
        raise HttpError(409, f"{who} has changed meanwhile (version {current}): look again, then repeat this")
