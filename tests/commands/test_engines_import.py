"""`python -m app engines import`: its output and exit codes."""

import binascii
import re
import zipfile

import numpy as np
import pytest

from app.tools.importing.architectures import public_mobilefacenet
from app.tools.importing.weights import RandomWeights

pytest.importorskip("onnx")


@pytest.fixture
def run(tmp_path, answered):
    """Runs the command with a catalogue of its own: exit code, standard output, standard error."""
    folder = tmp_path / "engines"
    folder.mkdir()
    (folder / "catalog.yaml").write_text("{}\n", encoding="utf-8")
    config = tmp_path / "test.yaml"
    config.write_text(f"models:\n  catalog: {folder / 'catalog.yaml'}\n", encoding="utf-8")
    return lambda *words: answered("engines", *words, "--config", config)


@pytest.fixture
def wts(tmp_path):
    weights = RandomWeights(0)
    lines = []
    for name, shape in public_mobilefacenet(64).weight_shapes().items():
        digits = binascii.hexlify(np.asarray(weights.take(name, shape), ">f4").tobytes()).decode()
        lines.append(f"{name} {len(digits) // 8} {' '.join(digits[at : at + 8] for at in range(0, len(digits), 8))}")
    path = tmp_path / "my net.wts"
    path.write_text("\n".join([str(len(lines)), *lines]), encoding="ascii")
    return path


def test_an_import_reports_its_findings_and_how_to_use_the_model(run, wts):
    code, out, _ = run("import", wts, "--licence", "MIT")
    assert code == 0
    assert "MobileFaceNet for crops of 112 x 112" in out
    assert "NumPy" in out and "largest difference" in out
    assert "my_net: installed as" in out and "licence: MIT" in out
    assert re.search(r"python -m app .*--embedder my_net$", out, re.MULTILINE)
    listed = run("list")[1]
    assert "my_net" in listed and "installed" in listed


def test_a_second_import_needs_replace(run, wts):
    assert run("import", wts)[0] == 0
    code, _, err = run("import", wts)
    assert code == 2 and "--replace" in err
    assert run("import", wts, "--replace")[0] == 0


def test_a_missing_file_is_one_line_and_exit_code_two(run, tmp_path):
    code, out, err = run("import", tmp_path / "none.pth")
    assert (code, out) == (2, "") and "none.pth" in err and "No such file" in err and "Traceback" not in err


@pytest.mark.parametrize("words", [("--batch", "0"), ("--batch", "many"), ("--size", "640"), ("--size", "0x640")])
def test_an_impossible_option_is_refused(run, wts, words):
    code, _, err = run("import", wts, *words)
    assert code == 2 and words[1] in err


def test_a_size_that_is_too_small_is_an_error_with_the_minimum(run, wts):
    code, _, err = run("import", wts, "--size", "10x10")
    assert code == 2 and "10x10" in err and "16" in err


def pack_of(path, networks):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in networks.items():
            archive.writestr(name, content)
    return path


def test_a_second_import_of_a_pack_changes_nothing(run, wts, tmp_path):
    run("import", wts, "--name", "good")
    network = (tmp_path / "engines" / "good.onnx").read_bytes()
    pack = pack_of(tmp_path / "pack.zip", {"fine.onnx": network, "bad.onnx": b"nothing", "readme.txt": b"text"})
    code, out, _ = run("import", pack)
    assert code == 0 and "fine: installed as" in out and "readme.txt: skipped" in out
    assert out.endswith("1 of 2 networks imported\n")
    code, out, _ = run("import", pack)
    assert code == 0 and "nothing to do" in out and "--name" not in out
    assert "fine.onnx: skipped" in out and "--replace" in out


def test_a_pack_without_supported_networks_fails(run, tmp_path):
    code, out, err = run("import", pack_of(tmp_path / "pack.zip", {"bad.onnx": b"nothing"}))
    assert code == 2 and "no supported network" in err and "bad.onnx: skipped" in out
