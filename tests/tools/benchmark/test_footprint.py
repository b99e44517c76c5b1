"""The memory of a real run on cameras that the benchmark plays."""

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.slow
def test_two_cameras_fit_on_a_small_board(answered, config_file, tmp_path):
    """1.2 GB, of the 4 GB that a Jetson Nano shares with its GPU."""
    pytest.importorskip("av")
    words = ("--channels", "2", "--limits", "1144m", "--seconds", "8", "--json", tmp_path / "out.json")
    code, out, err = answered("bench", "memory", *words, "--config", config_file)
    assert code == 0, out + err
    facts = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert facts["fits"] and 100 < facts["resident_mb"] < 1200
    assert [one["name"] for one in facts["processes"]] == ["the program", "a reader", "a reader"]
    assert 0 < facts["imported_mb"] < facts["opened_mb"] < facts["resident_mb"]
    assert facts["frames"] >= 2


@pytest.mark.slow
def test_one_that_does_not_fit_fails(answered, config_file):
    pytest.importorskip("av")
    words = ("--channels", "1", "--limits", "50m", "--seconds", "1")
    code, out, err = answered("bench", "memory", *words, "--config", config_file)
    assert code == 1, err
    assert out.splitlines()[-1].startswith("FAIL")


def test_pictures_and_cameras_are_two_measurements(answered, config_file):
    code, _, err = answered("bench", "memory", "a.jpg", "--channels", "1", "--config", config_file)
    assert code == 2 and "--channels" in err
