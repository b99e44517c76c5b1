from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment() -> Any:
    spec = importlib.util.spec_from_file_location("environment", str(ROOT / "install" / "environment.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["environment"] = module
    spec.loader.exec_module(module)
    return module


def test_a_system_opencv_with_gstreamer_is_preferred(environment: Any) -> None:
    own = environment.SystemOpenCV(version="4.5.4", has_gstreamer=True, numpy_version="1.21.5")
    assert environment.choose_opencv("auto", own) == "system"
    assert environment.choose_opencv("headless", own) == "headless"


def test_an_opencv_built_for_numpy_1_gets_numpy_1(environment: Any) -> None:
    old = environment.SystemOpenCV(version="4.5.4", has_gstreamer=True, numpy_version="1.21.5")
    new = environment.SystemOpenCV(version="4.10.0", has_gstreamer=True, numpy_version="2.2.4")
    assert environment.pinned_versions("system", old) == environment.PINNED_NUMPY_1
    assert environment.pinned_versions("system", new) == environment.PINNED
    assert environment.pinned_versions("window", old) == environment.PINNED
    assert "numpy==2" not in (ROOT / environment.PINNED_NUMPY_1).read_text(encoding="utf-8")


def test_requesting_a_system_opencv_that_is_not_installed(environment: Any) -> None:
    with pytest.raises(SystemExit, match="apt install python3-opencv"):
        environment.choose_opencv("system", None)


def test_a_folder_that_is_not_an_environment_is_not_touched(environment: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not delete")
    with pytest.raises(SystemExit, match="not a virtual environment"):
        environment.prepare(tmp_path, environment.Recipe(python="python3", opencv="window"))
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
def test_an_environment_made_in_another_way_is_made_again_and_then_kept(environment: Any, tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "from the old one").touch()
    environment.remember(tmp_path, environment.Recipe(python=environment.this_python(), opencv="headless"))
    recipe = environment.Recipe(python=environment.this_python(), opencv="system")

    python = environment.prepare(tmp_path, recipe)
    assert not (tmp_path / "from the old one").exists()
    assert "include-system-site-packages = true" in (tmp_path / "pyvenv.cfg").read_text()

    (tmp_path / "from the new one").touch()
    assert environment.prepare(tmp_path, recipe) == python
    assert (tmp_path / "from the new one").exists()


def test_ctrl_c_ends_with_one_line(environment: Any, tmp_path: Path) -> None:
    """A fake pip presses Ctrl-C."""
    recipe = environment.Recipe(python=environment.this_python(), opencv="headless")
    environment.remember(tmp_path, recipe)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || kill -INT $PPID\n')
    python.chmod(0o755)
    script = ROOT / "install" / "environment.py"
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "--opencv", "headless"], stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode == 130
    assert len(ended.stderr.splitlines()) == 1 and "interrupted" in ended.stderr
