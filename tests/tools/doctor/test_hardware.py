"""Board, memory, clocks and cameras are read from the system's files; here from pretended ones."""

import sys
from types import SimpleNamespace

import gpu_double
import pytest

from app.tools.doctor.checks import Status
from app.tools.doctor.hardware import (
    check_board,
    check_disk,
    check_memory,
    check_power,
    check_tensorrt,
    jetpack_of,
)


@pytest.fixture
def board(tmp_path):
    def put(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    return put


def statuses(findings):
    return [finding.status for finding in findings]


def test_a_machine_that_is_not_a_jetson(tmp_path):
    findings = check_board(tmp_path)
    assert Status.PROBLEM not in statuses(findings)
    assert "nv_tegra_release" in findings[-1].text


def test_orin_with_jetpack_6(tmp_path, board):
    board("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64\n")
    board("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    findings = check_board(tmp_path)
    assert "NVIDIA Jetson Orin Nano Developer Kit" in findings[0].text
    assert "JetPack 6.1 or 6.2" in findings[1].text and "TensorRT 10.3" in findings[1].text
    # Whatever TensorRT is here, if any: it is not that board's.
    assert findings[2].status is Status.WARNING


def test_unknown_release_is_a_warning(tmp_path, board):
    board("etc/nv_tegra_release", "# R28 (release), REVISION: 4.0\n")
    findings = check_board(tmp_path)
    assert findings[-1].status is Status.WARNING and "28.4.0" in findings[-1].text


def test_a_small_board_without_swap_is_a_warning(tmp_path, board):
    board("proc/meminfo", "MemTotal: 7800000 kB\nMemAvailable: 5000000 kB\nSwapTotal: 0 kB\n")
    assert check_memory(True, tmp_path).status is Status.WARNING
    assert check_memory(False, tmp_path).status is Status.OK
    board("proc/meminfo", "MemTotal: 7800000 kB\nMemAvailable: 5000000 kB\nSwapTotal: 8000000 kB\n")
    assert check_memory(True, tmp_path).status is Status.OK


def test_full_memory_is_a_warning_everywhere(tmp_path, board):
    board("proc/meminfo", "MemTotal: 3900000 kB\nMemAvailable: 200000 kB\nSwapTotal: 8000000 kB\n")
    assert check_memory(False, tmp_path).status is Status.WARNING


@pytest.mark.parametrize(
    ("output", "mode", "status"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER", Status.OK),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: 15W\n2\n", "15W", Status.WARNING),
        ("", "nvpmodel", Status.WARNING),
    ],
)
def test_power_mode(tmp_path, output, mode, status):
    finding = check_power(True, tmp_path, output)[0]
    assert mode in finding.text and finding.status is status


def test_fixed_clocks(tmp_path, board):
    board("sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "1510400\n")
    board("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1510400\n")
    board("sys/class/devfreq/17000000.gpu/min_freq", "306000000\n")
    board("sys/class/devfreq/17000000.gpu/max_freq", "624750000\n")
    assert check_power(True, tmp_path)[-1].status is Status.WARNING
    board("sys/class/devfreq/17000000.gpu/min_freq", "624750000\n")
    assert check_power(True, tmp_path)[-1].status is Status.OK


def test_disk_of_a_folder_that_is_not_there_is_the_current_one(tmp_path):
    assert "gone" in check_disk(tmp_path / "gone").text


@pytest.mark.parametrize(
    ("release", "name", "tensorrt"),
    [
        ("32.6.1", "4.6", "8.0"),
        ("32.7.4", "4.6.1 to 4.6.6", "8.2"),
        ("35.4.1", "5.1", "8.5"),
        ("36.3", "6.0", "8.6"),
        ("36.4.3", "6.1 or 6.2", "10.3"),
        ("38.2", "7.0 or 7.1", "10.13"),
        ("39.0", "7.2", "10.16"),
    ],
)
def test_jetpack_of_a_release(release, name, tensorrt):
    jetpack = jetpack_of(release)
    assert (jetpack.name, jetpack.tensorrt) == (name, tensorrt)


@pytest.mark.parametrize("release", ["28.4", "34.1", "36.2", "37"])
def test_jetpack_of_an_unknown_release(release):
    assert jetpack_of(release) is None


def tensorrt_package(version):
    return SimpleNamespace(__version__=version, Builder=object, Runtime=object, ICudaEngine=object)


@pytest.mark.parametrize(
    ("version", "has_cudart", "status"),
    [
        ("10.3.0", True, Status.OK),
        ("10.3.0", False, Status.WARNING),
        ("10.13.0", True, Status.WARNING),
        ("8.5.2.2", True, Status.WARNING),
    ],
)
def test_tensorrt_must_be_the_boards_own_and_have_cuda(monkeypatch, version, has_cudart, status):
    gpu_double.install_memory(monkeypatch, "cudart" if has_cudart else "none", gpu_double.Gpu())
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_package(version))
    (finding,) = check_tensorrt(jetpack_of("36.4.3"))
    assert finding.status is status


@pytest.mark.parametrize("version", [None, "8.0.1"])
def test_on_jetpack_4_a_missing_or_other_tensorrt_is_compiled(monkeypatch, version):
    monkeypatch.setitem(sys.modules, "tensorrt", version and tensorrt_package(version))
    (finding,) = check_tensorrt(jetpack_of("32.7.4"))
    assert finding.status is Status.WARNING and "install/jetpack4/build.py" in finding.advice


def test_missing_tensorrt_is_a_warning_that_names_the_setup_script(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    (finding,) = check_tensorrt(jetpack_of("36.4.3"))
    assert finding.status is Status.WARNING and "jetson_setup.sh" in finding.advice
