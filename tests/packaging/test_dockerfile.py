"""The Dockerfile is read as a list of instructions; no Docker engine is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile.l4t"


def instructions() -> List[Tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in split]


def arguments_of(name: str) -> List[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_base_image_is_an_argument_with_a_default_for_jetpack_6() -> None:
    assert instructions()[0] == ("ARG", "BASE_IMAGE=nvcr.io/nvidia/l4t-jetpack:r36.4.0")
    assert arguments_of("FROM") == ["${BASE_IMAGE}"]


def test_it_starts_the_program_but_not_as_root() -> None:
    assert arguments_of("ENTRYPOINT") == ['["python3", "-m", "app"]']
    (user,) = arguments_of("USER")
    assert user == "${USER_ID}"
    assert "USER_ID=1000" in arguments_of("ARG")


def test_its_health_check_asks_the_port_that_it_serves() -> None:
    (check,) = arguments_of("HEALTHCHECK")
    assert check.endswith('CMD ["python3", "-m", "app", "health"]')
    assert any("monitoring:" in script and "port: 9464" in script for script in arguments_of("RUN"))
    assert all("metrics" in script for script in arguments_of("RUN") if "environment.py" in script)


def test_engines_are_kept_in_a_volume_and_not_built_into_the_image() -> None:
    assert arguments_of("VOLUME") == ['["/app/engines"]']
    for script in arguments_of("RUN"):
        assert "trtexec" not in script and "app engines" not in script and "-m app" not in script


def test_neither_opencv_nor_tensorrt_comes_from_pip() -> None:
    for script in arguments_of("RUN"):
        for command in re.findall(r"pip install[^;]*", script):
            assert "opencv" not in command and "tensorrt" not in command
    assert any("python3-opencv" in script for script in arguments_of("RUN"))


def test_shell_of_each_step_can_be_parsed() -> None:
    for script in arguments_of("RUN"):
        parsed = subprocess.run(["bash", "-n", "-c", script], stderr=subprocess.PIPE, encoding="utf-8")
        assert parsed.returncode == 0, parsed.stderr


def test_copied_files_exist_and_are_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for rest in arguments_of("COPY"):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.rstrip("/") in allowed, f"{source} is excluded by .dockerignore"


def test_photos_are_never_copied() -> None:
    assert not any(line in ("!gallery", "!gallery/") for line in (ROOT / ".dockerignore").read_text().splitlines())


def test_page_and_header_have_the_same_build_commands() -> None:
    def build_lines(path: Path) -> List[str]:
        return re.findall(r"docker build -f .*", path.read_text(encoding="utf-8"))

    assert len(build_lines(DOCKERFILE)) == 3
    assert build_lines(DOCKERFILE) == build_lines(ROOT / "docs" / "jetson.md")


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed; `make lint` installs it")
    done = subprocess.run([hadolint, str(DOCKERFILE)], stdout=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stdout
