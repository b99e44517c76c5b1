"""The search for a Python among fake ones on a separate PATH."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = f'exec "{sys.executable}" "$@"'
BROKEN = 'echo "pyenv: command not found" >&2; exit 127'
WITHOUT_VENV = f'case "$2" in *ensurepip*) exit 1 ;; *) {REAL} ;; esac'
TOO_OLD = 'case "$2" in *version_info*|*ensurepip*) exit 1 ;; *) echo "Python 3.6.9" ;; esac'

pytestmark = pytest.mark.skipif(
    Path("/etc/nv_tegra_release").exists(), reason="a Jetson always takes the system's own Python"
)


def find(folder: Path, *arguments: str, **fakes: str) -> subprocess.CompletedProcess[str]:
    for name, script in fakes.items():
        fake = folder / name.replace("_", ".")
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(ROOT / "install" / "find_python.sh"), *arguments],
        env={"PATH": str(folder), "HOME": str(folder)},
        capture_output=True,
        encoding="utf-8",
    )


def test_one_that_exists_but_does_not_run_is_skipped(tmp_path: Path) -> None:
    found = find(tmp_path, python3_12=BROKEN, python3_9=REAL, python3=REAL)
    assert found.stdout.strip() == str(tmp_path / "python3.9")


def test_one_that_can_create_environments_is_preferred(tmp_path: Path) -> None:
    found = find(tmp_path, python3_12=WITHOUT_VENV, python3=REAL)
    assert found.stdout.strip() == str(tmp_path / "python3")


def test_a_missing_venv_module_is_named_with_its_package(tmp_path: Path) -> None:
    found = find(tmp_path, python3=WITHOUT_VENV)
    assert (found.returncode, found.stdout) == (1, "")
    assert "apt install python3-venv" in found.stderr


def test_too_old(tmp_path: Path) -> None:
    found = find(tmp_path, python3=TOO_OLD)
    assert found.returncode == 1
    assert "3.6.9" in found.stderr and "too old" in found.stderr


def test_none_at_all(tmp_path: Path) -> None:
    found = find(tmp_path)
    assert found.returncode == 1
    assert "PYTHON=" in found.stderr


def test_a_certain_version_also_from_pyenv(tmp_path: Path) -> None:
    version = "{}.{}".format(*sys.version_info[:2])
    assert find(tmp_path, "3.7").returncode == 1
    folder = tmp_path / ".pyenv" / "versions" / f"{version}.1" / "bin"
    folder.mkdir(parents=True)
    assert find(tmp_path, version).returncode == 1
    (folder / "python").write_text(f"#!/bin/sh\n{REAL}\n")
    (folder / "python").chmod(0o755)
    assert find(tmp_path, version).stdout.strip() == str(folder / "python")
