"""`bench memory` under real limits, with the built-in networks."""

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits memory on Linux only")


def test_what_fits_and_what_does_not(answered, scenes, config_file, tmp_path):
    words = (scenes / "pair.png", "--limits", "2m", "4g", "--json", tmp_path / "out.json", "--config", config_file)
    # Too little for any library: with some 40 MB, OpenBLAS 0.3.21, which NumPy 1.24 has for Python 3.8, asks for
    # memory again and again without end.
    code, out, err = answered("bench", "memory", *words)
    assert code == 1, err
    assert out.splitlines()[0].startswith("FAIL") and out.splitlines()[1].startswith("OK")
    small, large = json.loads((tmp_path / "out.json").read_text())
    assert small["faces"] is None and small["why"]
    assert (large["faces"], large["size"], large["limit"]) == (2, "960x640", 4 << 30)
    assert large["peak"] > 50 << 20


@pytest.mark.slow
def test_a_portrait_of_36_megapixels_fits_into_two_gigabytes(answered, config_file, tmp_path):
    words = ("--limits", "2g", "--json", tmp_path / "out.json", "--config", config_file)
    code, _, err = answered("bench", "memory", *words)
    assert code == 0, err
    cases = json.loads((tmp_path / "out.json").read_text())
    assert [case["faces"] for case in cases] == [1, 1, 1]
    width, height = map(int, cases[-1]["size"].split("x"))
    assert 35_900_000 < width * height <= 36_000_000


@pytest.mark.parametrize("text", ["0m", "1", "-1g", "1.5g", "g"])
def test_sizes_that_are_none_are_refused(answered, text):
    code, _, err = answered("bench", "memory", f"--limits={text}")
    assert code == 2 and repr(text) in err
