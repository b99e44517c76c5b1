"""Releases of Jetson Linux are told apart as NVIDIA's documents list them."""

import pytest

from app.tools.doctor.jetpack import jetpack_of, power_mode


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
def test_release(release, name, tensorrt):
    jetpack = jetpack_of(release)
    assert (jetpack.name, jetpack.tensorrt) == (name, tensorrt)


@pytest.mark.parametrize("release", ["28.4", "34.1", "36.2", "37"])
def test_release_that_nobody_knows(release):
    assert jetpack_of(release) is None


def test_power_mode():
    assert power_mode("NV Power Mode: MAXN_SUPER\n2\n") == "MAXN_SUPER"
    assert power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: 15W\n2\n") == "15W"
    assert power_mode("") == ""
