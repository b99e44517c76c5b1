"""Our `tensorrt` for JetPack 4, compiled as on a board, with doubles of TensorRT, CUDA and the driver behind it."""

import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from jetpack4_board import BUILD, DOUBLE, HERE, ROOT, Board


def made_board(minor):
    """Compiled once for all sessions, until something that it is made of changes."""
    if "JETPACK4_BOARDS" in os.environ:  # cross-compiled: tests/aarch64
        return Board(Path(os.environ["JETPACK4_BOARDS"]) / f"8.{minor}", minor)
    pytest.importorskip("pybind11", reason="needs pybind11 (extra jetpack4)")
    if shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs g++ and the headers of this Python")
    sources = [HERE / "jetpack4_board.py", ROOT / "tests" / "inference" / "cuda_in_c.py"]
    sources += sorted(path for folder in (BUILD.parent, DOUBLE) for path in folder.rglob("*.*") if path.is_file())
    content = b"".join(path.read_bytes() for path in sources if path.suffix != ".pyc")
    key = hashlib.sha256(content + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / "build" / "jetpack4" / f"8.{minor}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"8.{minor}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        board = Board(folder, minor)
        if not (folder / "complete").exists():
            for old in folder.parent.glob(f"8.{minor}-*"):
                shutil.rmtree(old)
            board.make()
            (folder / "complete").touch()
    return board


@pytest.fixture(scope="session")
def board():
    """JetPack 4.6.1 and newer: TensorRT 8.2."""
    return made_board(2)


@pytest.fixture(scope="session")
def older_board():
    """JetPack 4.6.0: TensorRT 8.0."""
    return made_board(0)
