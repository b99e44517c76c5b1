"""The machine: board, GPU, power, memory and disk."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from app.capture.gstreamer import l4t_release
from app.errors import ModelError
from app.files import CODE_FOLDER
from app.inference.cuda import NoGpuError, load_cudart, probe_gpu
from app.inference.host import board_model, processor_name
from app.inference.tensorrt_api import load_tensorrt
from app.tools.doctor.checks import Finding, Status, note, ok, warning
from app.tools.machine import read_system_file

SMALL_BOARD_MB = 9_000
MIN_SWAP_MB = 4_000
MIN_FREE_MEMORY_MB = 600
MIN_FREE_DISK_MB = 1_000
COMMAND_TIMEOUT_S = 20
SET_UP = "run ./jetson_setup.sh"
BUILD_MODULE = "build it again: .venv/bin/python install/jetpack4/build.py"
MODULE = CODE_FOLDER / "install" / "jetpack4"

_ROOT = Path("/")


@dataclass(frozen=True)
class JetPack:
    """One generation of Jetson's software, according to NVIDIA's documents and public sources."""

    name: str
    first: Tuple[int, int]
    """First release of Jetson Linux (L4T)."""
    last: Tuple[int, int]
    """Last release of Jetson Linux, inclusive."""
    tensorrt: str
    """Prefix of the version of TensorRT."""
    cuda: str


JETPACKS = (
    JetPack("4.6", (32, 6), (32, 6), "8.0", "10.2"),
    JetPack("4.6.1 to 4.6.6", (32, 7), (32, 7), "8.2", "10.2"),
    JetPack("5.1", (35, 2), (35, 6), "8.5", "11.4"),
    JetPack("6.0", (36, 3), (36, 3), "8.6", "12.2"),
    JetPack("6.1 or 6.2", (36, 4), (36, 5), "10.3", "12.6"),
    JetPack("7.0 or 7.1", (38, 2), (38, 4), "10.13", "13.0"),
    JetPack("7.2", (39, 0), (39, 99), "10.16", "13.2"),
)


def jetpack_of(l4t_release: str) -> Optional[JetPack]:
    """The JetPack of a release such as `36.4.3`; None for a release that is not in JETPACKS."""
    numbers = [int(number) for number in re.findall(r"\d+", l4t_release)]
    release = (numbers[0], numbers[1] if len(numbers) > 1 else 0)
    return next((jetpack for jetpack in JETPACKS if jetpack.first <= release <= jetpack.last), None)


def check_board(root: Path = _ROOT) -> List[Finding]:
    """Board and JetPack; the processor on other machines."""
    model = board_model(root / "proc/device-tree/model") or "unknown board"
    cores = f"{processor_name(root / 'proc/cpuinfo')}, {os.cpu_count()} cores"
    release = l4t_release(root / "etc/nv_tegra_release")
    if release is None:
        return [ok(cores), note("not a Jetson: there is no /etc/nv_tegra_release")]
    jetpack = jetpack_of(release)
    if jetpack is None:
        return [ok(f"{model}: {cores}"), warning(f"Jetson Linux {release} is not supported", "see docs/jetson.md")]
    versions = f"with TensorRT {jetpack.tensorrt} and CUDA {jetpack.cuda}"
    return [
        ok(f"{model}: {cores}"),
        ok(f"JetPack {jetpack.name} (Jetson Linux {release}), {versions}"),
        *check_tensorrt(jetpack),
    ]


def check_tensorrt(jetpack: JetPack) -> List[Finding]:
    """Whether TensorRT is the board's own one, and CUDA's runtime library is there."""
    is_compiled_here = jetpack.cuda == "10.2"
    try:
        trt = load_tensorrt()
    except ModelError as error:
        return [warning(str(error), f"{SET_UP}, or {BUILD_MODULE}" if is_compiled_here else SET_UP)]
    version = str(trt.__version__)
    if version != jetpack.tensorrt and not version.startswith(f"{jetpack.tensorrt}."):
        text = f"TensorRT {version} is not the {jetpack.tensorrt} of this JetPack"
        if is_compiled_here:
            return [warning(text, BUILD_MODULE)]
        return [warning(text, "do not install TensorRT with pip here: .venv/bin/pip uninstall tensorrt")]
    try:
        load_cudart()
    except ModelError as error:
        return [warning(str(error), "is JetPack installed completely?  sudo apt install nvidia-jetpack")]
    text = f"TensorRT {version} is the one of this JetPack"
    if not hasattr(trt, "__source__"):
        return [ok(text)]
    text += f", through the module of install/jetpack4 (source {trt.__source__[:8]})"
    if trt.__source__ != module_source():
        return [warning(f"{text}; the source has changed since", BUILD_MODULE)]
    return [Finding(Status.OK, text, f"to {BUILD_MODULE} --force")]


def module_source(folder: Path = MODULE) -> str:
    """What a module that install/jetpack4/build.py builds now has as `__source__`."""
    files = (folder / "tensorrt.cpp", folder / "tensorrt" / "__init__.py")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def check_gpu(is_jetson: bool) -> List[Finding]:
    """Asks the driver and not TensorRT, which can crash the process on a machine without a GPU."""
    try:
        gpu = probe_gpu()
    except NoGpuError as error:
        if is_jetson:
            advice = "is JetPack installed completely, or the container started with --runtime nvidia?"
            return [warning(str(error), advice)]
        return [note(f"no GPU for TensorRT: {error}")]
    return [ok(f"{gpu}, driver for CUDA up to {'.'.join(map(str, gpu.driver_cuda))}"), check_cuda(gpu.driver_cuda)]


def check_cuda(driver_cuda: Tuple[int, int]) -> Finding:
    """CUDA's runtime library, through which TensorRT's buffers are made."""
    try:
        library = load_cudart()
    except ModelError as error:
        return note(str(error))
    number = ctypes.c_int()
    library.cudaRuntimeGetVersion(ctypes.byref(number))
    version = number.value // 1000, number.value % 1000 // 10
    text = f"CUDA runtime library {version[0]}.{version[1]}"
    # Within a major version, older drivers run newer libraries.
    if version[0] > driver_cuda[0]:
        return warning(f"{text} is too new for the driver", "install the CUDA that belongs to the driver or JetPack")
    return ok(text)


def check_power(is_jetson: bool, root: Path = _ROOT, nvpmodel_output: Optional[str] = None) -> List[Finding]:
    """The power mode and the clocks of a Jetson. `nvpmodel_output`: what `nvpmodel -q` prints, if known."""
    if not is_jetson:
        return [note("power modes: Jetson only")]
    findings = []
    found = re.search(r"Power Mode:\s*(\S+)", _nvpmodel_output() if nvpmodel_output is None else nvpmodel_output)
    mode = found.group(1) if found else ""
    if not mode:
        findings.append(warning("nvpmodel does not report the power mode", "sudo nvpmodel -q"))
    elif mode.startswith("MAXN"):
        findings.append(ok(f"power mode {mode}, the fastest"))
    else:
        findings.append(warning(f"power mode {mode} is not the fastest", SET_UP + " (or sudo nvpmodel -m NUMBER)"))
    limits = [
        (read_system_file(folder / lowest), read_system_file(folder / highest))
        for pattern, name, lowest, highest in (
            ("sys/devices/system/cpu/cpu[0-9]*/cpufreq", r"", "scaling_min_freq", "scaling_max_freq"),
            ("sys/class/devfreq/*", r"gpu|gv11b|gp10b|gm20b|ga10b", "min_freq", "max_freq"),
        )
        for folder in root.glob(pattern)
        if re.search(name, folder.name)
    ]
    if limits and all(lowest == highest != "" for lowest, highest in limits):
        findings.append(ok("clocks are fixed at their maximum"))
    else:
        findings.append(warning("clocks follow the load: the first frames are slower", "sudo jetson_clocks"))
    return findings


def _nvpmodel_output() -> str:
    program = shutil.which("nvpmodel")
    if program is None:
        return ""
    try:
        return subprocess.run([program, "-q"], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def check_memory_and_disk(is_jetson: bool, folder: Path) -> List[Finding]:
    return [check_memory(is_jetson), check_disk(folder)]


def check_memory(is_jetson: bool, root: Path = _ROOT) -> Finding:
    meminfo = dict(re.findall(r"^(\w+):\s+(\d+) kB", read_system_file(root / "proc/meminfo"), re.MULTILINE))
    if not meminfo:
        return note("this system does not report its memory")
    total, free, swap = (int(meminfo.get(key, 0)) * 1024 / 1e6 for key in ("MemTotal", "MemAvailable", "SwapTotal"))
    text = f"memory {total:.0f} MB, {free:.0f} MB free, swap {swap:.0f} MB"
    if free < MIN_FREE_MEMORY_MB:
        return warning(text, "close other programs, or boot without a desktop: systemctl set-default multi-user.target")
    if is_jetson and total < SMALL_BOARD_MB and swap < MIN_SWAP_MB:
        return warning(text, f"building engines needs more swap: {SET_UP}")
    return ok(text)


def check_disk(folder: Path) -> Finding:
    free_mb = shutil.disk_usage(folder if folder.is_dir() else Path()).free / 1e6
    text = f"{free_mb:.0f} MB free on the disk of {folder}"
    return ok(text) if free_mb >= MIN_FREE_DISK_MB else warning(text, "engines, videos and logs need space")
