"""The layers of the program: imports point from the command line down to the data, never up, and never in circles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "app").rglob("*.py"))

# A package may import those of lower levels, and itself.
LEVELS = [
    {"__main__", "__init__"},
    {"client"},
    {"cli"},
    {"commands"},
    {"service", "tools", "archive", "frigate"},
    {"assembly"},
    {"pipeline", "watches", "fleet"},
    {"gallery", "monitoring"},
    {"recognizer", "network_thread", "supervision"},
    {"models"},
    {"capture", "vision", "identity", "events", "output"},
    {"inference", "degrade", "database", "gstreamer"},
    {"settings"},
    {"http_request"},
    {"credentials", "files"},
    {"errors", "text", "types"},
    {"channel_state", "intervals", "look", "reasons"},
]
LEVEL_OF = {room: depth for depth, rooms in enumerate(LEVELS) for room in rooms}

GUARDED = {
    "cv2": {"capture", "vision", "output", "gallery", "models", "service", "tools", "archive"},
    "onnxruntime": {"inference"},
    "openvino": {"inference"},
    "tensorrt": {"inference"},
    "pycuda": {"inference"},
    "onnx": {"inference", "tools"},
    "torch": {"tools"},
    "faiss": {"identity"},
    "av": {"output", "tools", "archive"},
    "pyarrow": {"archive"},
    "ray": {"archive"},
    "lance": {"archive"},
    "prometheus_client": {"monitoring"},
    "psycopg": {"database"},
    "confluent_kafka": {"events"},
    "nats": {"events"},
    "grpc": {"inference"},
}
"""Packages that take long to import, or that not every machine has, and who may import them."""


def room(path):
    relative = path.relative_to(ROOT / "app")
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "app" and len(parts) > 1 and parts[1] != own:
            assert LEVEL_OF[parts[1]] > LEVEL_OF[own], f"{own} must not import {name}"
        if parts[0] == "training":
            pytest.fail("training is never imported by app")


def test_only_vision_models_and_tools_use_inference():
    for path in MODULES:
        if room(path) not in ("vision", "models", "inference", "tools"):
            assert not any(name.startswith("app.inference") for name in imports(path)), path


def test_every_listed_package_exists():
    existing = {room(path) for path in MODULES}
    assert existing == set(LEVEL_OF)
    assert set().union(*GUARDED.values()) <= existing


@pytest.mark.parametrize("package", sorted(GUARDED))
def test_heavy_packages_stay_in_their_rooms(package):
    users = {room(path) for path in MODULES if any(name.split(".")[0] == package for name in imports(path))}
    assert users <= GUARDED[package]


def test_files_stay_short_enough_to_read_in_one_sitting():
    long = {
        str(path.relative_to(ROOT)): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_errors_are_swallowed_nowhere():
    """What catches everything either raises it again or stands at the root of a thread, and says so."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            catches_all = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            raises_again = isinstance(node.body[-1], ast.Raise)
            line = text.splitlines()[node.lineno - 1]
            assert not catches_all or raises_again or ("root" in line and "thread" in line), f"{path}:{node.lineno}"
