"""A build that failed, remembered beside the ONNX file, so that not every start loses minutes on it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Dict

from app.files import write_whole
from app.inference.engine import NetworkSpec
from app.inference.place import Place

logger = logging.getLogger(__name__)


def failed_before(network: NetworkSpec, here: Place) -> str:
    """Why building this network failed here before; empty where it did not, or not with what is here now."""
    try:
        known = json.loads(_file(network).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(known, dict) or {name: known.get(name) for name in _circumstances(network, here)} != (
        _circumstances(network, here)
    ):
        return ""
    return str(known.get("reasons", ""))


def remember_failure(network: NetworkSpec, here: Place, reasons: str) -> None:
    content = json.dumps({**_circumstances(network, here), "reasons": reasons}, indent=1) + "\n"
    try:
        write_whole(_file(network), content.encode())
    except OSError as error:
        logger.warning("%s cannot be written, so that the next start tries again: %s", _file(network), error.strerror)


def forget_failure(network: NetworkSpec) -> None:
    """After a build that went well."""
    if _file(network).exists():
        _file(network).unlink()


def _file(network: NetworkSpec) -> Path:
    return network.path.with_name(f"{network.path.stem}.build-failed.json")


def _circumstances(network: NetworkSpec, here: Place) -> Dict[str, str]:
    """What would have to change before another attempt is worth its time."""
    precision = f"{network.precision} alone" if network.exact_precision else network.precision
    return {"onnx_sha256": network.sha256, "precision": precision, **asdict(here)}
