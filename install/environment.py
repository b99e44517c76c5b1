"""Creates a virtual environment with the dependencies, and the OpenCV that suits this machine.

    python3 install/environment.py .venv --extras demo

Used by the Makefile and by jetson_setup.sh. Needs only the standard library. Running it again repairs and
updates the environment. There are three ways to install OpenCV, two of which break each other in one environment, so
one is chosen here:

- system: the machine's own, with GStreamer (a Jetson, or a PC with `python3-opencv`). The environment uses the
  system's packages, and pip installs no OpenCV over it.
- window: pip's opencv-python, if the libraries that it needs for windows are installed.
- headless: pip's opencv-python-headless, for servers.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Optional

ROOT = Path(__file__).resolve().parent.parent
PINNED = Path("install/constraints.txt")
PINNED_NUMPY_1 = Path("install/constraints-numpy1.txt")

INTERRUPTED = 130
"""The exit code of a program that was interrupted with Ctrl-C."""

ASK_SYSTEM_OPENCV = """
import cv2, numpy
gstreamer = [line for line in cv2.getBuildInformation().splitlines() if "GStreamer:" in line]
print(cv2.__version__, "YES" if gstreamer and "YES" in gstreamer[0] else "NO", numpy.__version__)
"""


@dataclass(frozen=True)
class SystemOpenCV:
    """The OpenCV that this Python can import outside of virtual environments."""

    version: str
    has_gstreamer: bool
    numpy_version: str


@dataclass(frozen=True)
class Recipe:
    """What an environment was created with; if that changes, it is created again."""

    python: str
    opencv: str


def main() -> None:
    choices = parse_arguments()
    system = system_opencv()
    opencv = choose_opencv(choices.opencv, system)
    pinned = pinned_versions(opencv, system)
    python = prepare(choices.venv, Recipe(python=this_python(), opencv=opencv))
    install(python, choices.extras, opencv, pinned)
    if opencv == "window" and not imports_cv2(python):
        say("opencv-python does not load here; taking opencv-python-headless instead (no window)")
        opencv = "headless"
        python = prepare(choices.venv, Recipe(python=this_python(), opencv=opencv))
        install(python, choices.extras, opencv, pinned)
    if not imports_cv2(python):
        sys.exit(f"OpenCV ({opencv}) is installed, but `import cv2` fails; see docs/install.md")
    say(f"{choices.venv} is ready")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Create a virtual environment with the dependencies.")
    parser.add_argument("venv", type=Path, help="folder of the environment, e.g. .venv")
    parser.add_argument("--extras", default="demo", help="extras of pyproject.toml, with commas (default: demo)")
    parser.add_argument(
        "--opencv",
        default="auto",
        choices=("auto", "system", "window", "headless"),
        help="which OpenCV (default: auto; see docs/install.md)",
    )
    return parser.parse_args()


def system_opencv() -> Optional[SystemOpenCV]:
    asked = subprocess.run(
        [sys.executable, "-c", ASK_SYSTEM_OPENCV], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", text=True
    )
    answer = asked.stdout.split()
    if asked.returncode != 0 or len(answer) != 3:
        return None
    return SystemOpenCV(version=answer[0], has_gstreamer=answer[1] == "YES", numpy_version=answer[2])


def choose_opencv(wish: str, system: Optional[SystemOpenCV]) -> str:
    if wish == "system" and system is None:
        sys.exit(f"{sys.executable} cannot import the system's OpenCV. On Debian, Ubuntu: apt install python3-opencv")
    if wish != "auto":
        say(f"OpenCV: {wish}, as requested")
        return wish
    if system is not None and (system.has_gstreamer or on_a_jetson()):
        say(f"OpenCV: the system's own, {system.version}")
        return "system"
    if on_a_jetson():
        say("OpenCV: headless; no OpenCV with GStreamer for this Python (./jetson_setup.sh installs it if possible)")
        return "headless"
    if can_draw_windows():
        say("OpenCV: opencv-python, which can show a window")
        return "window"
    say("OpenCV: opencv-python-headless, because libGL.so.1 is missing (no window; see docs/install.md)")
    return "headless"


def on_a_jetson() -> bool:
    return Path("/etc/nv_tegra_release").exists()


def can_draw_windows() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL("libGL.so.1")
    except OSError:
        return False
    return True


def pinned_versions(opencv: str, system: Optional[SystemOpenCV]) -> Path:
    """A system OpenCV that was built for NumPy 1 crashes with NumPy 2; the reverse works."""
    if opencv == "system" and system is not None and system.numpy_version.startswith("1."):
        return PINNED_NUMPY_1
    return PINNED


def this_python() -> str:
    return f"{Path(sys.executable).resolve()} {sys.version.split()[0]}"


def prepare(venv: Path, recipe: Recipe) -> Path:
    """Create the environment, or keep one that was created in the same way. Returns its Python."""
    python = venv / "bin" / "python"
    if python.exists() and remembered(venv) == asdict(recipe) and runs(python):
        say(f"{venv} exists already")
        return python
    if venv.exists():
        if not (venv / "pyvenv.cfg").exists():
            sys.exit(f"{venv} exists but is not a virtual environment: move it away first")
        say(f"{venv} was created with another Python or OpenCV: creating it again")
        shutil.rmtree(venv)
    say(f"creating {venv} with Python {sys.version.split()[0]}")
    see_system = ["--system-site-packages"] if recipe.opencv == "system" else []
    made = subprocess.run([sys.executable, "-m", "venv", *see_system, str(venv)])
    if made.returncode != 0:
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        sys.exit(f"`python3 -m venv` failed. On Debian, Ubuntu, Jetson: sudo apt install python3-venv (or {package})")
    remember(venv, recipe)
    return python


def remembered(venv: Path) -> object:
    note = venv / "recipe.json"
    return json.loads(note.read_text(encoding="utf-8")) if note.exists() else None


def remember(venv: Path, recipe: Recipe) -> None:
    (venv / "recipe.json").write_text(json.dumps(asdict(recipe)) + "\n", encoding="utf-8")


def runs(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import pip"], stderr=subprocess.DEVNULL).returncode == 0


def install(python: Path, extras: str, opencv: str, pinned: Path) -> None:
    wanted = extras if opencv == "system" else f"{extras},{opencv}"
    pip(python, "install", "--upgrade", "pip")
    say(f"installing the program with [{wanted}], versions from {pinned} (a minute or two the first time)")
    pip(python, "install", "--constraint", str(pinned), "--editable", f".[{wanted}]")


def pip(python: Path, *arguments: str) -> None:
    command: List[str] = [str(python.absolute()), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    # setuptools warns of every editable install, in eight lines.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore:Editable installation"}
    done = subprocess.run(command, cwd=ROOT, env=environment)
    if done.returncode != 0:
        sys.exit(f"pip {' '.join(arguments)} failed: see its message above. Is there a network connection?")


def imports_cv2(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import cv2"], stderr=subprocess.DEVNULL).returncode == 0


def say(what: str) -> None:
    sys.stdout.write(f"==> {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: run the same command again to continue\n")
        sys.exit(INTERRUPTED)
