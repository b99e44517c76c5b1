from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    *sorted(ROOT.glob("*.sh")),
    *sorted(ROOT.glob("*/*.sh")),
    *sorted(ROOT.glob("*/*/*.sh")),
    ROOT / ".ci" / "run",
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_can_be_started_and_is_clean(script: Path) -> None:
    assert os.access(script, os.X_OK), f"chmod +x {script.relative_to(ROOT)}"
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; `make lint` installs it")
    done = subprocess.run([shellcheck, str(script)], stdout=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stdout
