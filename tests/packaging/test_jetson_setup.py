"""The real script makes dry runs on the files of simulated boards."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]

MODES = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< POWER_MODEL ID=1 NAME=MAXN >\n"


def simulated(root: Path, release: str, model: str, memory_gb: int = 8, swap_gb: int = 0, modes: str = MODES) -> Path:
    files = {
        "etc/nv_tegra_release": f"{release}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n",
        "etc/nvpmodel.conf": modes,
        "proc/device-tree/model": model + "\0",
        "proc/meminfo": f"MemTotal:       {memory_gb * 970000} kB\nMemFree: 1 kB\n",
        "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 9000000 0 5\n"
        + (f"/mnt/8GB.swap file {swap_gb * 1048576} 0 -2\n" if swap_gb else ""),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def set_up(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "jetson_setup.sh"), *arguments],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "JETSON_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )


def commands(output: str) -> List[str]:
    lines = (line.strip() for line in output.splitlines())
    return [line[1:].strip().replace("sudo ", "") for line in lines if line.startswith("+")]


NANO = ("# R32 (release), REVISION: 7.4", "NVIDIA Jetson Nano Developer Kit")
XAVIER = ("# R35 (release), REVISION: 4.1", "NVIDIA Jetson Xavier NX Developer Kit")
ORIN_NANO = ("# R36 (release), REVISION: 4.3", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super")
ORIN_7 = ("# R39 (release), REVISION: 2.0", "NVIDIA Jetson AGX Orin Developer Kit")
THOR = ("# R38 (release), REVISION: 2.0", "NVIDIA Jetson AGX Thor Developer Kit")


@pytest.mark.parametrize(("board", "jetpack"), [(XAVIER, 5), (ORIN_NANO, 6), (ORIN_7, 7), (THOR, 7)])
def test_boards_with_tensorrt(tmp_path: Path, board: tuple[str, str], jetpack: int) -> None:
    done = set_up(simulated(tmp_path, *board), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"= JetPack {jetpack}\n" in done.stdout
    steps = commands(done.stdout)
    assert any("install/environment.py .venv" in step and "--opencv system" in step for step in steps)
    assert any("apt-get install" in step and "python3-libnvinfer" in step for step in steps)
    for step in steps:
        if "pip install" in step:
            assert "tensorrt" not in step and "opencv" not in step


@pytest.mark.parametrize(
    "board",
    [NANO, ("# R32 (release), REVISION: 6.1", "quill TX2"), ("# R32 (release), REVISION: 7.1", "Jetson-AGX Xavier")],
)
def test_jetpack_4_compiles_tensorrts_module(tmp_path: Path, board: tuple[str, str]) -> None:
    """With swap, as a Nano is short of memory, and in the environment that it is compiled for."""
    done = set_up(simulated(tmp_path, *board, memory_gb=4), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "JetPack 4" in done.stdout
    steps = commands(done.stdout)
    in_order = ("apt-get install", "swapon", "install/environment.py", "install/jetpack4/build.py", "engines build")
    positions = [next(at for at, step in enumerate(steps) if words in step) for words in in_order]
    assert positions == sorted(positions)
    packages, environment = steps[positions[0]], steps[positions[2]]
    for package in (
        "python3.8-dev",
        "build-essential",
        "libnvinfer-dev",
        "libnvonnxparsers-dev",
        "cuda-cudart-dev-10-2",
        "cuda-nvcc-10-2",  # crt/host_defines.h, which the header before includes
    ):
        assert package in packages.split()
    assert environment.startswith("python3.8 ") and "jetpack4" in environment and "headless" in environment
    assert not any("pycuda" in step for step in steps)


@pytest.mark.parametrize(
    ("release", "model", "expected"),
    [
        ("# R36 (release), REVISION: 4.3", "Raspberry Pi 5 Model B Rev 1.0", "Raspberry Pi 5"),
        ("# R99 (release), REVISION: 1.0", "NVIDIA Jetson AGX Orin Developer Kit", "L4T 99.1.0"),
        ("# R32 (release), REVISION: 4.4", "NVIDIA Jetson Nano Developer Kit", "L4T 32.4.4"),
        ("# R38 (release), REVISION: 2.0", "NVIDIA Jetson AGX Orin Developer Kit", "Thor"),
        ("# R36 (release), REVISION: 4.3", "NVIDIA Jetson Xavier NX Developer Kit", "JetPack 6"),
        ("something else", "NVIDIA Jetson AGX Orin Developer Kit", "something else"),
    ],
)
def test_unknown_boards_and_releases_are_rejected(tmp_path: Path, release: str, model: str, expected: str) -> None:
    done = set_up(simulated(tmp_path, release, model), "--dry-run")
    assert done.returncode == 3
    assert expected in done.stderr
    assert commands(done.stdout) == []


def test_a_computer_that_is_not_a_jetson(tmp_path: Path) -> None:
    done = set_up(tmp_path, "--yes")
    assert done.returncode == 3
    assert "/etc/nv_tegra_release" in done.stderr and "make demo" in done.stderr


def test_the_module_on_an_unknown_carrier_board_can_be_given(tmp_path: Path) -> None:
    root = simulated(tmp_path, ORIN_NANO[0], "Some Maker's Board")
    assert set_up(root, "--dry-run").returncode == 3
    assert set_up(root, "--dry-run", "--board", "orin").returncode == 0


@pytest.mark.parametrize(
    ("memory_gb", "swap_gb", "makes_swap"), [(4, 0, True), (8, 0, True), (8, 8, False), (16, 0, False), (64, 0, False)]
)
def test_swap_for_small_boards_only(tmp_path: Path, memory_gb: int, swap_gb: int, makes_swap: bool) -> None:
    root = simulated(tmp_path, *ORIN_NANO, memory_gb=memory_gb, swap_gb=swap_gb)
    steps = commands(set_up(root, "--dry-run").stdout)
    assert any("fallocate" in step for step in steps) == makes_swap
    assert any("nvzramconfig" in step for step in steps) == makes_swap


@pytest.mark.parametrize(
    ("modes", "command"),
    [
        (MODES, "nvpmodel -m 2"),
        ("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n", "nvpmodel -m 0"),
        ("< POWER_MODEL ID=0 NAME=15W >\n", None),
    ],
)
def test_the_power_mode_comes_from_the_boards_list(tmp_path: Path, modes: str, command: str) -> None:
    done = set_up(simulated(tmp_path, *ORIN_NANO, modes=modes), "--dry-run")
    chosen = [step for step in commands(done.stdout) if step.startswith("nvpmodel -m")]
    assert chosen == ([command] if command else [])
    assert command or "15W" in done.stdout


def test_a_board_without_a_list_of_power_modes_is_not_asked_to_choose(tmp_path: Path) -> None:
    done = set_up(simulated(tmp_path, *ORIN_NANO, modes=""), "--dry-run")
    assert "names no modes" in done.stdout and "nvpmodel -m" not in done.stdout


def test_steps_can_be_skipped(tmp_path: Path) -> None:
    root = simulated(tmp_path, *ORIN_NANO)
    skips = ["--skip", "packages", "--skip", "swap", "--skip", "power", "--skip", "python"]
    skips += ["--skip", "engines"]
    done = set_up(root, "--dry-run", *skips)
    assert done.returncode == 0
    assert commands(done.stdout) == []


@pytest.mark.parametrize(("board", "builds"), [(NANO, True), (XAVIER, True), (ORIN_NANO, True), (THOR, True)])
def test_engines_are_built_last_where_there_is_tensorrt(tmp_path: Path, board: tuple[str, str], builds: bool) -> None:
    steps = commands(set_up(simulated(tmp_path, *board), "--dry-run").stdout)
    assert (steps[-1] == ".venv/bin/python -m app engines build") == builds


@pytest.mark.parametrize(("board", "no_int8"), [(NANO, True), (XAVIER, False), (ORIN_NANO, False)])
def test_boards_without_fast_int8_are_told_so(tmp_path: Path, board: tuple[str, str], no_int8: bool) -> None:
    assert ("no fast int8" in set_up(simulated(tmp_path, *board), "--dry-run").stdout) == no_int8


@pytest.mark.parametrize("compiles", [True, False])
def test_without_tensorrts_module_the_setup_goes_on(tmp_path: Path, compiles: bool) -> None:
    """Commands of a board are replaced by scripts that write down how they were called."""
    root, project = simulated(tmp_path / "board", *NANO), tmp_path / "project"
    called = tmp_path / "called"
    (project / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (project / "jetson_setup.sh").write_bytes((ROOT / "jetson_setup.sh").read_bytes())
    for path in (tmp_path / "bin" / "python3.8", project / ".venv" / "bin" / "python"):
        fails = "" if compiles else 'case "$*" in *jetpack4/build.py*) exit 1 ;; esac'
        path.write_text(f'#!/bin/sh\necho "$*" >> {called}\n{fails}\n', encoding="utf-8")
        path.chmod(0o755)
    words = ["--yes", "--skip", "packages", "--skip", "swap", "--skip", "power"]
    done = subprocess.run(
        ["bash", str(project / "jetson_setup.sh"), *words],
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "JETSON_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert ("models run on the CPU" in done.stdout) is not compiles
    steps = called.read_text(encoding="utf-8").splitlines()
    assert [step.split()[0] for step in steps] == ["install/environment.py", "install/jetpack4/build.py", "-m"]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    root = simulated(tmp_path / "board", *ORIN_NANO)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    set_up(root, "--dry-run")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_it_asks_before_it_starts(tmp_path: Path) -> None:
    done = set_up(simulated(tmp_path, *ORIN_NANO))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert commands(done.stdout) == []


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--skip"], ["--skip", "lunch"], ["--board", "toaster"]])
def test_wrong_usage(tmp_path: Path, arguments: List[str]) -> None:
    done = set_up(tmp_path, *arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_help() -> None:
    done = set_up(Path("/nowhere"), "--help")
    assert done.returncode == 0
    for option in ("--dry-run", "--yes", "--skip", "--board"):
        assert option in done.stdout
