"""`engines build` from the command line, as far as it goes without TensorRT.

What it builds is tested with NVIDIA's own builder in tests/tensorrt_api/test_real_builder.py.
"""

import importlib.util

import pytest


@pytest.fixture
def build(completed):
    return lambda *words: completed("engines", "build", *words)


def test_help_teaches(build):
    code, out, _ = build("--help")
    assert code == 0
    for word in ("--batch", "--size", "--workspace", "--dla", "--calibration", "--force", "examples:"):
        assert word in out


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_a_gpu_it_says_so_before_anything_is_to_be_installed(build):
    code, _, err = build()
    assert code == 2 and "TensorRT needs an NVIDIA GPU: no NVIDIA driver" in err and "install" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "0"), "three that grow"),
        (("--batch", "4,2,8"), "three that grow"),
        (("--batch", "1,2"), "three that grow"),
        (("--batch", "300"), "three that grow"),
        (("--size", "640"), "640x480"),
        (("--size", "640x479"), "multiple of 32"),
        (("--size", "32x32"), "from 64 to 4096"),
        (("--workspace", "0"), "megabytes"),
        (("--workspace", "lots"), "megabytes"),
        (("--dla", "-1"), "accelerator"),
        (("--dla", "8"), "accelerator"),
        (("mobilefacenet", "--size", "640x480"), "none of these models is one"),
        (("mobilefacenett",), "did you mean 'mobilefacenet'?"),
        (("--precision", "int8", "--calibration", "nowhere"), "nowhere"),
        (("--precision", "fp16", "--calibration", "."), "--calibration is for int8 alone"),
        (("--calibration", "."), "--calibration is for int8 alone"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_built(build, words, message):
    code, _, err = build(*words)
    assert code == 2 and message in err and "TensorRT" not in err
