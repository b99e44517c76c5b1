"""Whether a settings file keeps its passwords to its owner."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import List

from app.credentials import has_secret
from app.settings.reader import EffectiveSettings
from app.settings.schema import all_settings


def readable_by_all(effective: EffectiveSettings) -> List[Path]:
    """The settings files with a password or a token in an address that is in use, which all users may read."""
    settings = effective.settings
    values = [(effective.origins["sources"], address) for _, address in settings.sources]
    for info in all_settings():
        values.append((effective.origins[info.key], getattr(getattr(settings, info.section), info.name)))
    for key, origin in effective.origins.items():
        if key.startswith("channels."):
            channel, section, name = key[len("channels.") :].rsplit(".", 2)
            values.append((origin, getattr(getattr(settings.for_channel(channel), section), name)))
    addresses = [(origin, value) for origin, value in values if isinstance(value, str) and "://" in value]
    files = {Path(origin.rpartition(":")[0]) for origin, address in addresses if ":" in origin and has_secret(address)}
    return sorted(path for path in files if _is_readable_by_all(path))


def _is_readable_by_all(path: Path) -> bool:
    return os.name != "nt" and path.is_file() and bool(path.stat().st_mode & stat.S_IROTH)
