"""The program starts on a machine without GPU, screen and extras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Refuse())
"""

GPU = ("tensorrt", "pycuda")
EXTRAS = (*GPU, "av", "PIL", "skimage", "matplotlib", "torch", "onnx")


def run_without(refused: tuple[str, ...], program: str) -> subprocess.CompletedProcess[str]:
    surroundings = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", REFUSE.format(refused=refused) + program],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        encoding="utf-8",
    )


def test_help_needs_none_of_the_extras() -> None:
    done = run_without(EXTRAS, "import app.cli; sys.argv = ['app', '--help']; sys.exit(app.cli.main())")
    assert done.returncode == 0, done.stderr
    assert "--rtsp" in done.stdout


def test_every_module_can_be_imported_without_a_gpu() -> None:
    program = """
import app, importlib, pkgutil
names = [module.name for module in pkgutil.walk_packages(app.__path__, "app.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = run_without(GPU, program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
