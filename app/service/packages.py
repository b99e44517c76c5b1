"""The packages that the HTTP server needs, in addition to those of a run."""

from __future__ import annotations

import importlib.util

from app.errors import SettingsError
from app.text import install_hint

PACKAGES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "websockets": "websockets",
    "msgspec": "msgspec",
    "orjson": "orjson",
    "msgpack": "msgpack",
    "python_multipart": "python-multipart",
}
"""Their names for pip, by the names of their modules."""


def require_packages() -> None:
    """Raises SettingsError with the command that installs what is missing."""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingsError(f"serve (--serve) needs packages that are not installed: {install_hint(*missing)}")
