"""The database that devices share."""

from __future__ import annotations

from typing import List

from app.database.connection import connected, masked_address, require_usable
from app.database.devices import devices
from app.database.schema import require_schema
from app.errors import AppError, DatabaseError
from app.fleet.exchange import missing_advice
from app.fleet.folder import missing_photos
from app.fleet.state import FleetFolder
from app.settings import Settings
from app.text import ago, program
from app.tools.doctor.checks import Finding, ok, problem, warning


def check_fleet(settings: Settings) -> List[Finding]:
    """Whether the database answers, within `fleet.timeout_s`, and when this device exchanged its gallery with it."""
    try:
        require_usable(settings.fleet)
    except AppError as error:
        return [problem(str(error))]
    try:
        with connected(settings.fleet) as connection:
            require_schema(connection)
            own = FleetFolder(settings.gallery.folder).read().device
            seen = [row.seen_s_ago for row in devices(connection) if row.id == own]
    except DatabaseError as error:
        return [warning(f"{error}; until it works, this device goes on with what it has")]
    except AppError as error:
        return [warning(str(error))]
    if not seen:
        advice = f"{program()} fleet sync"
        return [warning(f"{masked_address(settings.fleet)}: this device has not exchanged its gallery yet", advice)]
    gone = missing_photos(settings.gallery.folder)
    missing = [warning(f"{gone} photos of the shared gallery are missing here; {missing_advice()}")] if gone else []
    return [
        *missing,
        ok(f"{masked_address(settings.fleet)}: the tables are up to date; the gallery was exchanged {ago(seen[0])}"),
    ]
