"""The Dockerfiles are read as lists of instructions; no Docker engine is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

import pytest
import yaml

from app.settings import Settings
from app.settings.reader import read_file, resolve

ROOT = Path(__file__).resolve().parents[2]
PC, JETSON = ROOT / "Dockerfile", ROOT / "Dockerfile.l4t"
PAGES = {PC: ROOT / "docs" / "install.md", JETSON: ROOT / "docs" / "jetson.md"}

both = pytest.mark.parametrize("file", [PC, JETSON], ids=lambda path: path.name)


def instructions(file: Path) -> List[Tuple[str, str]]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in split]


def arguments_of(file: Path, name: str) -> List[str]:
    return [rest for instruction, rest in instructions(file) if instruction == name]


@pytest.mark.parametrize(
    ("file", "base"), [(PC, "ubuntu:24.04"), (JETSON, "nvcr.io/nvidia/l4t-jetpack:r36.4.0")], ids=["PC", "Jetson"]
)
def test_base_image_is_an_argument_with_a_pinned_default(file: Path, base: str) -> None:
    assert instructions(file)[0] == ("ARG", f"BASE_IMAGE={base}")
    assert arguments_of(file, "FROM") == ["${BASE_IMAGE}"]


@pytest.mark.parametrize(
    ("file", "start"), [(PC, ["python3", "-m", "app"]), (JETSON, ["/app/install/start_container.sh"])]
)
def test_it_starts_the_program_but_not_as_root(file: Path, start: List[str]) -> None:
    assert [json.loads(words) for words in arguments_of(file, "ENTRYPOINT")] == [start]
    (user,) = arguments_of(file, "USER")
    assert user == "${USER_ID}"
    assert "USER_ID=1000" in arguments_of(file, "ARG")


@both
def test_its_health_check_asks_the_port_that_it_serves(file: Path) -> None:
    (check,) = arguments_of(file, "HEALTHCHECK")
    assert check.endswith('CMD ["python3", "-m", "app", "health"]')
    assert any("monitoring:" in script and "port: 9464" in script for script in arguments_of(file, "RUN"))
    extras = [script for script in arguments_of(file, "RUN") + arguments_of(file, "ARG") if "cpu,video" in script]
    assert extras and all("metrics" in script for script in extras)


def test_on_a_pc_it_is_a_server_for_other_machines() -> None:
    assert arguments_of(PC, "CMD") == ['["serve", "--host", "0.0.0.0"]']
    assert arguments_of(PC, "EXPOSE") == [str(Settings().serve.port)]
    assert any(argument.startswith("EXTRAS=") and "serve" in argument for argument in arguments_of(PC, "ARG"))


def test_what_the_server_of_a_pc_writes_is_in_volumes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (script,) = [script for script in arguments_of(PC, "RUN") if ">> config.yaml" in script]
    subprocess.run(["bash", "-euc", script], cwd=str(tmp_path), check=True)
    settings = resolve([read_file(tmp_path / "config.yaml")]).settings
    volumes = json.loads(arguments_of(PC, "VOLUME")[0])
    assert volumes == ["/app/gallery", "/app/engines", "/data"]
    assert {str(path.parent) for path in (settings.serve.tokens, settings.serve.audit_log)} == {"/data"}
    assert settings.monitoring.port == 9464
    assert any(
        "chown -R face:" in script and all(one in script for one in volumes) for script in arguments_of(PC, "RUN")
    )


def test_the_page_for_pcs_runs_it_with_all_volumes_and_few_rights() -> None:
    page = PAGES[PC].read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(services:.*?)^```", page, re.MULTILINE | re.DOTALL)
    faces = yaml.safe_load(text)["services"]["faces"]
    assert [one.split(":")[1] for one in faces["volumes"]] == json.loads(arguments_of(PC, "VOLUME")[0])
    assert faces["ports"] == ["8080:8080"] and faces["read_only"] is True and faces["cap_drop"] == ["ALL"]
    (command,) = re.findall(r"docker run --detach .*?face-recognition$", page, re.MULTILINE | re.DOTALL)
    assert re.findall(r"-v (\S+)", command) == faces["volumes"]
    assert all(option in command for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL"))


def test_the_user_of_a_base_image_with_the_same_number_gives_way() -> None:
    (script,) = [script for script in arguments_of(PC, "RUN") if "useradd" in script]
    told = """
        getent() { [ "$2" != 1000 ] || echo ubuntu:x:1000:1000::/home:/bin/bash; [ "$2" = 1000 ]; }
        for name in userdel useradd mkdir chown chmod; do eval "$name() { echo $name \\"\\$*\\"; }"; done
    """
    for number, removed in (("1000", True), ("1001", False)):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-euc", told + script],
            env={"USER_ID": number},
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert ("userdel --remove ubuntu" in done.stdout) is removed
        assert f"useradd --uid {number} " in done.stdout


@both
def test_engines_are_kept_in_a_volume_and_not_built_into_the_image(file: Path) -> None:
    assert "/app/engines" in json.loads(arguments_of(file, "VOLUME")[0])
    for script in arguments_of(file, "RUN"):
        assert "trtexec" not in script and "app engines" not in script and "-m app" not in script


def test_on_a_jetson_neither_opencv_nor_tensorrt_comes_from_pip() -> None:
    for script in arguments_of(JETSON, "RUN"):
        for command in re.findall(r"pip install[^;]*", script):
            assert "opencv" not in command and "tensorrt" not in command
    assert any("python3-opencv" in script for script in arguments_of(JETSON, "RUN"))


@both
def test_shell_of_each_step_can_be_parsed(file: Path) -> None:
    for script in arguments_of(file, "RUN"):
        parsed = subprocess.run(["bash", "-n", "-c", script], stderr=subprocess.PIPE, encoding="utf-8")
        assert parsed.returncode == 0, parsed.stderr


@both
def test_copied_files_exist_and_are_not_ignored(file: Path) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for rest in arguments_of(file, "COPY"):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.rstrip("/") in allowed, f"{source} is excluded by .dockerignore"


def test_photos_are_never_copied() -> None:
    assert not any(line in ("!gallery", "!gallery/") for line in (ROOT / ".dockerignore").read_text().splitlines())


@both
def test_page_and_header_have_the_same_build_commands(file: Path) -> None:
    def build_lines(path: Path) -> List[str]:
        return re.findall(r"^(?:#  |   ) (docker build .*)", path.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(build_lines(file)) >= 2
    assert build_lines(file) == build_lines(PAGES[file])


@both
def test_hadolint_finds_nothing(file: Path) -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed; `make lint` installs it")
    done = subprocess.run([hadolint, str(file)], stdout=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def test_both_are_linted() -> None:
    assert f"hadolint {PC.name} {JETSON.name};" in (ROOT / "Makefile").read_text(encoding="utf-8")
