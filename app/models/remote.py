"""A model on another machine, once it is certain that it is the same one as here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional, Tuple

import cv2
import numpy as np

from app.credentials import read_secret
from app.errors import ModelError
from app.inference.backends import unavailable_reason
from app.inference.engine import Engine, TensorSpec
from app.inference.onnx import OnnxEngine
from app.inference.remote.network import RemoteNetwork, RemotePolicy
from app.inference.remote.protocol import RemoteAddress, open_client, parse_address
from app.inference.remote.right_model import Known
from app.models.entry import ModelEntry
from app.settings import RemoteSettings, all_settings
from app.vision.face_network import FaceNetwork

KNOWN_PICTURES = 4


def remote_network(
    settings: RemoteSettings,
    entry: ModelEntry,
    make: Callable[[Engine], FaceNetwork],
    open_local: Callable[[], FaceNetwork],
) -> RemoteNetwork:
    """An engine that takes pictures of faces. Raises ModelError if the server has another model, and SettingsError."""
    address = remote_address(settings, entry)
    client = open_client(address)
    known, output = _known(entry, make, open_local)
    may_defer = entry.task == "embedding" and settings.fallback == "later"
    policy = RemotePolicy(settings.timeout_ms / 1000, may_defer)
    return RemoteNetwork(entry.name, address, client, known, output, open_local, policy)


def remote_address(settings: RemoteSettings, entry: ModelEntry) -> RemoteAddress:
    """Raises SettingsError."""
    assert settings.url is not None
    token = None if settings.token is None else read_secret(settings.token, "remote.token")
    ca_file: Optional[Path] = settings.ca_file
    if ca_file is not None and not ca_file.is_file():
        raise ModelError(f"remote.ca_file: there is no file {ca_file}")
    renamed = settings.model if entry.task == "embedding" else None
    address = parse_address(settings.url, renamed or entry.name, token, str(ca_file) if ca_file else None)
    if entry.task == "embedding":
        return address
    flag = next(info.flag for info in all_settings() if info.key == f"attributes.{entry.family}")
    return replace(
        address,
        if_missing=f"the server has to run this model too: start it with `serve {flag} {entry.name}`, or set "
        "remote.attributes: false",
    )


def known_pictures(size: Tuple[int, int]) -> np.ndarray:
    """Drawn faces (N x H x W x 3, uint8, BGR) of this width and height."""
    pictures = np.empty((KNOWN_PICTURES, size[1], size[0], 3), np.uint8)
    for number in range(KNOWN_PICTURES):
        shade = np.linspace(30 + 40 * number, 200 - 30 * number, 112, dtype=np.float32)[:, None, None]
        background = (shade + np.array([40, 0, 15 * number], np.float32)).clip(0, 255).astype(np.uint8)
        picture = np.ascontiguousarray(np.broadcast_to(background, (112, 112, 3)))
        skin = (120 + 15 * number, 150 + 20 * number, 190 + 15 * number)
        hair = (20 + 20 * number, 30 + 25 * number, 50 + 40 * number)
        cv2.ellipse(picture, (56, 52), (46, 58), 0, 0, 360, hair, -1)
        cv2.ellipse(picture, (56, 64), (36 + number, 46), 0, 0, 360, skin, -1)
        for x in (38, 74):
            cv2.ellipse(picture, (x, 52), (7, 4), 0, 0, 360, (235, 235, 235), -1)
            cv2.circle(picture, (x, 52), 3, (60 + 50 * number, 60, 40), -1)
            cv2.line(picture, (x - 8, 43 - number), (x + 8, 42), hair, 3)
        cv2.line(picture, (56, 54), (52 + number, 72), (90, 110, 150), 2)
        cv2.ellipse(picture, (56, 92), (15, 4 + number), 0, 0, 180, (80, 70, 170), -1)
        pictures[number] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return pictures


def _known(
    entry: ModelEntry, make: Callable[[Engine], FaceNetwork], open_local: Callable[[], FaceNetwork]
) -> Tuple[Known, TensorSpec]:
    """With ONNX Runtime if it is there, since what other backends round differently would add to the difference."""
    network = open_local() if unavailable_reason("onnx") else make(OnnxEngine(entry.file, threads=1))
    try:
        pictures = known_pictures(entry.crop)
        return Known(pictures, network.answers(pictures), entry.task == "embedding"), network.output
    finally:
        network.close()
