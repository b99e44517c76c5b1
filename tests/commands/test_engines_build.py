"""`engines build` from the command line, without TensorRT.

What it builds is tested with NVIDIA's own builder in tests/tensorrt_api/test_real_builder.py.
"""

import importlib.util

import pytest
from shipped import CATALOG


@pytest.fixture
def build(answered, config_file):
    return lambda *words: answered("engines", "build", *words, "--config", config_file)


def test_help_has_examples(build):
    code, out, _ = build("--help")
    assert code == 0
    for word in ("--batch", "--size", "--workspace", "--dla", "--calibration", "--force", "examples:"):
        assert word in out


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_a_missing_gpu_is_reported_before_missing_packages(build):
    code, _, err = build()
    assert code == 2 and "NVIDIA driver" in err and "install" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "0"), "--batch"),
        (("--batch", "4,2,8"), "--batch"),
        (("--batch", "1,2"), "--batch"),
        (("--batch", "300"), "--batch"),
        (("--size", "640"), "640x480"),
        (("--size", "640x479"), "multiple of 32"),
        (("--size", "32x32"), "from 64 to 4096"),
        (("--workspace", "0"), "--workspace: '0'"),
        (("--workspace", "lots"), "--workspace: 'lots'"),
        (("--dla", "-1"), "--dla"),
        (("--dla", "8"), "--dla"),
        (("mobilefacenet", "--size", "640x480"), "--size is for detectors"),
        (("mobilefacenett",), "did you mean 'mobilefacenet'?"),
        (("--precision", "int8", "--calibration", "nowhere"), "nowhere"),
        (("--precision", "fp16", "--calibration", "."), "--calibration is for int8"),
        (("--calibration", "."), "--calibration is for int8"),
        (("--precision", "bf16"), "bf16"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_built(build, words, message):
    code, _, err = build(*words)
    assert code == 2 and message in err and "GPU" not in err


def test_all_errors_are_reported_at_once(answered, tmp_path):
    catalog, config = tmp_path / "catalog.yaml", tmp_path / "test.yaml"
    catalog.write_bytes(CATALOG.read_bytes())
    config.write_text(f"models:\n  catalog: {catalog}\n", encoding="utf-8")
    words = ("mobilefacenet", "retinaface_mnet02", "--precision", "bf16", "--config", config)
    code, _, err = answered("engines", "build", *words)
    assert code == 2 and err.count("error: ") == 3 and "GPU" not in err
    for message in ("bf16", "model 'mobilefacenet' is missing", "did you mean 'retinaface_mnet025'?"):
        assert message in err
