"""The container for JetPack 4: what its steps install, and what its entry point compiles. Without Docker."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile.l4t").read_text(encoding="utf-8")).splitlines()


def step(words, release):
    """The shell of the RUN step with these words, on a base image of this release of Ubuntu."""
    (script,) = [line[len("RUN ") :] for line in STEPS if line.startswith("RUN ") and words in line]
    assert ". /etc/os-release" in script
    return script.replace(". /etc/os-release", f"VERSION_ID={release}").replace("/usr/bin/python3", "system-python")


def installed(release):
    printing = 'for name in apt-get rm; do eval "$name() { echo $name \\"\\$*\\"; }"; done\n'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-euc", printing + step("apt-get install", release)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.split()


def test_jetpack_4_gets_another_python_and_a_compiler():
    packages = installed("18.04")
    for package in ("python3.8", "python3.8-venv", "python3.8-dev", "build-essential", "gstreamer1.0-tools"):
        assert package in packages
    assert "python3-opencv" not in packages


@pytest.mark.parametrize("release", ["20.04", "22.04"])
def test_newer_jetpacks_get_the_systems_python_and_opencv(release):
    packages = installed(release)
    assert "python3-opencv" in packages and "python3-venv" in packages and "python3.8" not in packages


class Image:
    """The environment that the image's step makes, with this machine's Python, and what the entry point does in it."""

    def __init__(self, folder, release, board):
        self.venv, self.engines, self.board = folder / "venv", folder / "engines", board
        self.engines.mkdir()
        made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=False)
        assert made.returncode == 0
        script = step("install/environment.py", release).replace("/opt/venv", str(self.venv))
        script = script.replace("/app/engines", str(self.engines))
        printing = 'for name in python3.8 system-python; do eval "$name() { echo $name \\"\\$*\\"; }"; done\n'
        done = subprocess.run(["bash", "-euc", printing + script], check=True, stdout=subprocess.PIPE, text=True)
        self.words = done.stdout.split()
        (packages,) = self.venv.glob("lib/python*/site-packages")
        (packages / "of_this_machine.pth").write_text(
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        )

    def start(self, *words, headers=None):
        """Docker would start this; the board's files are mounted where compiler and loader look for them."""
        environment = {
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CPATH": str(headers or self.board.headers),
            "LIBRARY_PATH": str(self.board.libraries),
            "LD_LIBRARY_PATH": str(self.board.libraries),
        }
        return subprocess.run(
            [str(ROOT / "install" / "start_container.sh"), *words], env=environment, capture_output=True, text=True
        )

    def tensorrt(self):
        program = "import tensorrt; print(tensorrt.__version__, tensorrt.__file__)"
        done = subprocess.run(
            [str(self.venv / "bin" / "python3"), "-c", program],
            env={"LD_LIBRARY_PATH": str(self.board.libraries)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        version, path = done.stdout.split()
        return version, Path(path).parent


@pytest.fixture
def image(tmp_path, board):
    return Image(tmp_path, "18.04", board)


def test_the_environment_of_jetpack_4_has_what_compiling_needs(image):
    assert image.words[:3] == ["python3.8", "install/environment.py", str(image.venv)]
    assert "jetpack4" in image.words[image.words.index("--extras") + 1].split(",")
    assert image.words[-2:] == ["--opencv", "headless"]


@pytest.mark.slow
def test_the_first_start_compiles_the_module_into_the_volume(image):
    first = image.start("--version")
    assert first.returncode == 0, first.stderr
    assert "compiling" in first.stderr and "compiling" not in first.stdout, "standard output is the program's"
    assert image.tensorrt() == ("8.2.1", image.engines / "python" / "tensorrt")
    second = image.start("--version")
    assert second.returncode == 0 and "compiling" not in second.stderr


def test_a_compiled_module_is_kept_and_found(image):
    shutil.copytree(image.board.site / "tensorrt", image.engines / "python" / "tensorrt")
    done = image.start("--version")
    assert done.returncode == 0 and "built already" in done.stderr and "compiling" not in done.stderr
    assert image.tensorrt()[1] == image.engines / "python" / "tensorrt"


def test_without_headers_it_says_so_and_runs_on_the_processor(image, tmp_path):
    """The base image has empty files where the board's would be mounted."""
    empty = tmp_path / "include"
    empty.mkdir()
    for name in ("NvInfer.h", "NvOnnxParser.h"):
        (empty / name).touch()
    done = image.start("--version", headers=empty)
    assert done.returncode == 0 and done.stdout.strip()
    assert "NvInfer.h is empty" in done.stderr and "libnvinfer-dev" in done.stderr and "CPU" in done.stderr
    assert not (image.engines / "python").exists()


def test_arguments_and_exit_code_are_the_programs(image):
    shutil.copytree(image.board.site / "tensorrt", image.engines / "python" / "tensorrt")
    done = image.start("no such command")
    assert done.returncode == 2 and "'no such command'" in done.stderr


def test_newer_jetpacks_compile_nothing(tmp_path, board):
    image = Image(tmp_path, "22.04", board)
    assert image.words[0] == "system-python" and image.words[-2:] == ["--opencv", "system"]
    done = image.start("--version")
    assert done.returncode == 0 and done.stderr == ""
