"""Packages that only importing needs, asked for together before any work begins."""

from __future__ import annotations

import importlib

from app.errors import ModelError
from app.text import install_hint

_NOTES = {"torch": "PyTorch is large, gigabytes with its CUDA parts; .onnx and .wts files and packs do not need it"}


def require_packages(*names: str) -> None:
    """Raises with one line that installs all of these that are missing, into the Python that runs this."""
    missing = [name for name in names if not _is_there(name)]
    if missing:
        notes = "".join(f"\n  ({_NOTES[name]})" for name in missing if name in _NOTES)
        raise ModelError(
            f"missing for this import: {' and '.join(missing)}; install with:\n  {install_hint(*missing)}{notes}"
        )


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
