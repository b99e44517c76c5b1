"""The machine: board, GPU, power, memory, disk, cameras."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from app.capture.gstreamer import l4t_release
from app.errors import ModelError
from app.inference.cuda import NoGpuError, probe_gpu
from app.inference.processor import board_model, processor_name
from app.inference.tensorrt_api import load_tensorrt
from app.text import install_hint
from app.tools.doctor.findings import Finding, note, ok, warning
from app.tools.doctor.jetpack import JetPack, jetpack_of, power_mode

SMALL_BOARD_MB = 9_000
ENOUGH_SWAP_MB = 4_000
LEAST_FREE_MEMORY_MB = 600
LEAST_FREE_DISK_MB = 1_000
COMMAND_TIMEOUT_S = 20
SET_UP = "./jetson_setup.sh sets it up"

_ROOT = Path("/")


def check_board(root: Path = _ROOT) -> List[Finding]:
    """Board and JetPack; on other machines the processor."""
    model = board_model(root / "proc/device-tree/model") or "a machine without a name"
    cores = f"{processor_name(root / 'proc/cpuinfo')}, {os.cpu_count()} cores"
    release = l4t_release(root / "etc/nv_tegra_release")
    if release is None:
        return [ok(cores), note("this is no Jetson: there is no /etc/nv_tegra_release")]
    jetpack = jetpack_of(release)
    if jetpack is None:
        return [
            ok(f"{model}: {cores}"),
            warning(f"Jetson Linux {release} is not a release that this program knows", "see docs/jetson.md"),
        ]
    return [
        ok(f"{model}: {cores}"),
        ok(
            f"JetPack {jetpack.name} (Jetson Linux {release}), with TensorRT {jetpack.tensorrt} and CUDA {jetpack.cuda}"
        ),
        *check_tensorrt(jetpack),
    ]


def check_tensorrt(jetpack: JetPack, find_module: Callable[[str], object] = importlib.util.find_spec) -> List[Finding]:
    """Whether TensorRT is the board's own one, and a package that gives access to the GPU's memory is installed."""
    if not jetpack.memory_package:
        return [note(f"TensorRT of JetPack {jetpack.name} is for Python 3.6 alone: networks run on the processor")]
    try:
        version = str(load_tensorrt().__version__)
    except ModelError as error:
        return [warning(str(error), SET_UP)]
    if version != jetpack.tensorrt and not version.startswith(f"{jetpack.tensorrt}."):
        text = f"TensorRT {version} is not this JetPack's own, {jetpack.tensorrt}"
        return [warning(text, "TensorRT never comes from pip here: .venv/bin/pip uninstall tensorrt")]
    if not any(find_module(name) for name in ("cuda", "pycuda")):
        cure = install_hint(jetpack.memory_package)
        return [warning(f"TensorRT {version} is there, but nothing that gives it the GPU's memory", cure)]
    return [ok(f"TensorRT {version} is this JetPack's own")]


def check_gpu(jetson: bool) -> List[Finding]:
    """Asks the driver, never TensorRT, which can take the process down where there is no GPU."""
    try:
        gpu = probe_gpu()
    except NoGpuError as error:
        if jetson:
            cure = "a Jetson always has one: is JetPack complete, or the container started with --runtime nvidia?"
            return [warning(str(error), cure)]
        return [note(f"no GPU that TensorRT could use: {error}")]
    return [ok(f"{gpu}, driver for CUDA up to {'.'.join(map(str, gpu.driver_cuda))}")]


def check_power(jetson: bool, root: Path = _ROOT) -> List[Finding]:
    """A Jetson's power mode and clocks; elsewhere there is nothing to choose."""
    if not jetson:
        return [note("power modes are a Jetson's")]
    findings = []
    mode = power_mode(_output("nvpmodel", "-q"))
    if not mode:
        findings.append(warning("nvpmodel does not tell the power mode", "sudo nvpmodel -q"))
    elif mode.startswith("MAXN"):
        findings.append(ok(f"power mode {mode}, the fastest"))
    else:
        findings.append(warning(f"power mode {mode} is not the fastest", SET_UP + " (or sudo nvpmodel -m NUMBER)"))
    pinned = [_is_pinned(folder) for folder in _clock_folders(root)]
    if pinned and all(pinned):
        findings.append(ok("clocks are held at their highest"))
    else:
        findings.append(warning("clocks follow the load: the first frames are slower", "sudo jetson_clocks"))
    return findings


def check_memory_and_disk(jetson: bool, folder: Path) -> List[Finding]:
    return [*check_memory(jetson), check_disk(folder)]


def check_memory(jetson: bool, root: Path = _ROOT) -> List[Finding]:
    facts = _meminfo(root / "proc/meminfo")
    if not facts:
        return [note("this system does not tell its memory")]
    total, free, swap = (facts.get(key, 0.0) for key in ("MemTotal", "MemAvailable", "SwapTotal"))
    text = f"memory {total:.0f} MB, {free:.0f} MB free, swap {swap:.0f} MB"
    if free < LEAST_FREE_MEMORY_MB:
        return [
            warning(
                text, "close other programs, or work without a desktop: sudo systemctl set-default multi-user.target"
            )
        ]
    if jetson and total < SMALL_BOARD_MB and swap < ENOUGH_SWAP_MB:
        return [warning(text, "building engines needs more: " + SET_UP)]
    return [ok(text)]


def check_disk(folder: Path) -> Finding:
    free_mb = shutil.disk_usage(folder if folder.is_dir() else Path()).free / 1e6
    text = f"{free_mb:.0f} MB free on the disk of {folder}"
    return ok(text) if free_mb >= LEAST_FREE_DISK_MB else warning(text, "engines, films and logs need room")


def check_cameras(root: Path = _ROOT) -> List[Finding]:
    """Cameras on USB and CSI as Linux lists them. Network cameras are tried by running."""
    devices = sorted((root / "dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    findings = []
    for device in devices:
        name = _text(root / "sys/class/video4linux" / device.name / "name")
        text = f"/dev/{device.name}" + (f": {name}" if name else "")
        if os.access(device, os.R_OK | os.W_OK):
            findings.append(ok(text))
        else:
            findings.append(
                warning(f"{text} may not be used by this user", "sudo usermod -aG video $USER, and log in again")
            )
    return findings or [note("no camera on USB or CSI; network cameras and recordings need none")]


def _clock_folders(root: Path) -> List[Tuple[Path, str, str]]:
    """Of each processor core and of the GPU: where lowest and highest allowed clock stand."""
    cores = [
        (folder, "scaling_min_freq", "scaling_max_freq")
        for folder in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"))
    ]
    gpus = [
        (folder, "min_freq", "max_freq")
        for folder in sorted(root.glob("sys/class/devfreq/*"))
        if re.search(r"gpu|gv11b|gp10b|gm20b|ga10b", folder.name)
    ]
    return cores + gpus


def _is_pinned(place: Tuple[Path, str, str]) -> bool:
    folder, lowest, highest = place
    text = _text(folder / highest)
    return bool(text) and _text(folder / lowest) == text


def _meminfo(file: Path) -> Dict[str, float]:
    """Megabytes by name."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", _text(file), re.MULTILINE)
    return {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in found}


def _output(*command: str) -> str:
    """What a command prints; empty where it does not exist or fails."""
    program: Optional[str] = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
