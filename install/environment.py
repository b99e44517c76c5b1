"""Makes a virtual environment with what the program needs, and the OpenCV that suits this machine.

    python3 install/environment.py .venv --extras demo

Used by the Makefile and by jetson_setup.sh. Needs nothing but Python's own library. Running it again repairs and
updates. OpenCV comes in three ways, and two of them in one environment break each other, so one is chosen here:

- system: the machine's own, with GStreamer (a Jetson, or a PC with `python3-opencv`). The environment sees the
  system's packages, and pip installs no OpenCV over it.
- window: pip's opencv-python, when the libraries that it draws windows with are there.
- headless: pip's opencv-python-headless, for servers.
"""

from __future__ import annotations

import argparse
import ctypes
import json
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
"""What a shell makes of a program that Ctrl-C has ended."""

ASK_SYSTEM_OPENCV = """
import cv2, numpy
gstreamer = [line for line in cv2.getBuildInformation().splitlines() if "GStreamer:" in line]
print(cv2.__version__, "YES" if gstreamer and "YES" in gstreamer[0] else "NO", numpy.__version__)
"""


@dataclass(frozen=True)
class SystemOpenCV:
    """The OpenCV that this Python has without any virtual environment."""

    version: str
    has_gstreamer: bool
    numpy_version: str


@dataclass(frozen=True)
class Recipe:
    """What an environment was made with; when it changes, the environment is made anew."""

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
    parser = argparse.ArgumentParser(description="Make a virtual environment with what the program needs.")
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
        sys.exit(f"{sys.executable} finds no OpenCV of the system's. On Debian, Ubuntu: apt install python3-opencv")
    if wish != "auto":
        say(f"OpenCV: {wish}, as asked")
        return wish
    if system is not None and (system.has_gstreamer or on_a_jetson()):
        say(f"OpenCV: the system's own, {system.version}")
        return "system"
    if on_a_jetson():
        say("OpenCV: this Jetson has none with GStreamer for this Python; ./jetson_setup.sh installs it where it can")
        return "headless"
    if can_draw_windows():
        say("OpenCV: opencv-python, which can show a window")
        return "window"
    say("OpenCV: opencv-python-headless, because libGL.so.1 is missing here (no window; see docs/install.md)")
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
    """A system's OpenCV that was built against NumPy 1 crashes under NumPy 2; the other way round is fine."""
    if opencv == "system" and system is not None and system.numpy_version.startswith("1."):
        return PINNED_NUMPY_1
    return PINNED


def this_python() -> str:
    return f"{Path(sys.executable).resolve()} {sys.version.split()[0]}"


def prepare(venv: Path, recipe: Recipe) -> Path:
    """Make the environment, or keep the one that was made in the same way. Returns its Python."""
    python = venv / "bin" / "python"
    if python.exists() and remembered(venv) == asdict(recipe) and runs(python):
        say(f"{venv} exists already")
        return python
    if venv.exists():
        if not (venv / "pyvenv.cfg").exists():
            sys.exit(f"{venv} exists and is no virtual environment: move it away first")
        say(f"{venv} was made with another Python or OpenCV: making it anew")
        shutil.rmtree(venv)
    say(f"making {venv} with Python {sys.version.split()[0]}")
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
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"pip {' '.join(arguments)} failed: see its message above. Is the network there?")


def imports_cv2(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import cv2"], stderr=subprocess.DEVNULL).returncode == 0


def say(what: str) -> None:
    sys.stdout.write(f"==> {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command again goes on where it stopped\n")
        sys.exit(INTERRUPTED)
