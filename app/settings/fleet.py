"""Settings of what many devices share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class FleetSettings:
    """One gallery for many devices, in PostgreSQL: docs/fleet.md."""

    database: Optional[str] = setting(
        None,
        "PostgreSQL database in which devices share their gallery, strangers and events, unless switches turn one "
        "of them off: postgresql://USER@HOST/NAME?sslmode=verify-full (docs/fleet.md)",
        metavar="URL",
    )
    password: Optional[str] = setting(None, "where its password is: env:NAME or file:PATH", secret=True)
    timeout_s: float = setting(
        10.0, "seconds after which a connection or a statement has failed", minimum=0.1, maximum=600
    )
    events: bool = setting(True, "send events there as well; false shares only the gallery")
    share_gallery: bool = setting(
        True, "exchange the gallery with the other devices of the database; false turns off share_strangers as well"
    )
    share_strangers: bool = setting(True, "exchange unknown people with the other devices of the database")
    strangers_minutes: float = setting(
        60.0,
        "minutes for which an unknown person whom another device saw is known here, without coming here",
        minimum=0.1,
        maximum=100_000,
    )
    sync_every_s: float = setting(
        30.0,
        "seconds between two exchanges with the database; changes of other devices are announced and fetched at once",
        minimum=0.1,
        maximum=3600,
    )
