"""An engine's metadata decides whether it can be used, and never belongs to another engine."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.inference.engine_files import (
    CannotStoreError,
    EngineFile,
    engine_path,
    engines_of,
    read_engine_file,
    store_engine,
)
from app.inference.tensorrt_api import TensorRTTarget

TARGET = TensorRTTarget("10.3.0", "Orin", "8.7")
DETECTOR = EngineFile(
    path=Path("net.engine"),
    target=TARGET,
    precision="fp16",
    shapes=((1, 3, 32, 32), (1, 3, 640, 640), (1, 3, 640, 640)),
    onnx_sha256="a" * 64,
    file_bytes=4,
    build_seconds=120.5,
    program="0.1.0",
    built_at="2026-01-31T12:00:00+00:00",
)
NEEDED = {"sha256": "a" * 64, "precisions": ("fp16",), "largest_input": (1, 3, 640, 640)}


def changed(smallest=None, largest=None, **fields):
    low, best, high = DETECTOR.shapes
    return dataclasses.replace(DETECTOR, shapes=(smallest or low, best, largest or high), **fields)


def on(**fields):
    return dataclasses.replace(TARGET, **fields)


def needing(**fields):
    return {**NEEDED, **fields}


@pytest.mark.parametrize(
    ("engine", "needed"),
    [
        (DETECTOR, NEEDED),
        (DETECTOR, needing(largest_input=(1, 3, 320, 320))),
        (DETECTOR, needing(precisions=("fp16", "fp32"))),
        (changed(precision="fp32"), needing(precisions=("fp16", "fp32"))),
        (changed(precision="fp32", failures={"fp16": "the parser"}), NEEDED),
        (changed(smallest=(1, 3, 480, 640), largest=(1, 3, 480, 640)), NEEDED),
        (changed(smallest=(4, 3, 32, 32), largest=(4, 3, 640, 640)), NEEDED),
        (changed(largest=(1, 3, 960, 960)), NEEDED),
        (changed(smallest=(1, 3, 32, 32), largest=(8, 3, 640, 640)), needing(largest_input=(16, 3, 640, 640))),
    ],
    ids=[
        "as built",
        "smaller pictures",
        "one of two precisions",
        "the lower of two precisions",
        "what was wanted could not be built",
        "fixed to a size",
        "fixed to a batch",
        "larger than needed",
        "several goes for a larger batch",
    ],
)
def test_usable_engines(engine, needed):
    assert engine.unusable_reason(target=TARGET, **needed) == ""


@pytest.mark.parametrize(
    ("engine", "needed", "reason"),
    [
        (changed(onnx_sha256="b" * 64), NEEDED, "another ONNX file"),
        (changed(target=on(tensorrt="10.3.0.1")), NEEDED, "TensorRT 10.3.0.1, but 10.3.0 is"),
        (changed(target=on(gpu="Xavier")), NEEDED, "built for Xavier (8.7)"),
        (changed(target=on(compute_capability="7.2")), NEEDED, "built for Orin (7.2)"),
        (changed(precision="int8"), needing(precisions=("fp16", "fp32")), "precision is int8, but fp16 or fp32"),
        (changed(precision="fp32", failures={"int8": "no pictures"}), NEEDED, "precision is fp32"),
        (changed(), needing(largest_input=(1, 3, 960, 960)), "1 x 3 x 960 x 960 is requested"),
        (changed(smallest=(1, 3, 320, 320)), NEEDED, "1 x 3 x 320 x 320 to"),
        (changed(smallest=(2, 3, 32, 32), largest=(8, 3, 640, 640)), NEEDED, "smallest batch has 2"),
        (changed(smallest=(1, 3), largest=(1, 3)), NEEDED, "its input is 1 x 3"),
    ],
)
def test_stale_and_foreign_engines(engine, needed, reason):
    assert reason in engine.unusable_reason(target=TARGET, **needed)


def test_engines_of_one_model_have_different_names():
    onnx = Path("engines/net.onnx")
    any_size = ((1, 3, 32, 32), (1, 3, 640, 640), (1, 3, 640, 640))
    fixed = ((1, 3, 480, 640),) * 3
    faces = ((1, 3, 112, 112), (4, 3, 112, 112), (16, 3, 112, 112))
    tuned = ((1, 3, 112, 112), (8, 3, 112, 112), (16, 3, 112, 112))
    names = [
        engine_path(onnx, "fp16", any_size, None),
        engine_path(onnx, "fp32", any_size, None),
        engine_path(onnx, "fp16", fixed, None),
        engine_path(onnx, "fp16", fixed, 0),
        engine_path(onnx, "fp16", faces, None),
        engine_path(onnx, "fp16", tuned, None),
    ]
    assert [name.name for name in names] == [
        "net.fp16.b1.upto640x640.engine",
        "net.fp32.b1.upto640x640.engine",
        "net.fp16.b1.640x480.engine",
        "net.fp16.b1.640x480.dla0.engine",
        "net.fp16.b16.112x112.engine",
        "net.fp16.b1-8-16.112x112.engine",
    ]
    assert {name.parent for name in names} == {onnx.parent}


def test_a_stored_engine_is_read_back(tmp_path):
    engine = changed(path=tmp_path / "net.fp16.engine", dla=0, failures={"int8": "no pictures"})
    store_engine(engine, b"plan")
    assert engine.path.read_bytes() == b"plan"
    assert read_engine_file(engine.path) == dataclasses.replace(engine, sha256=hashlib.sha256(b"plan").hexdigest())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.fp16.engine", "net.fp16.json"]


@pytest.mark.parametrize("text", ["{}", "[]", "", "{broken", '{"tensorrt": "10.3.0"}', json.dumps({"min_shape": 7})])
def test_invalid_metadata_counts_as_missing(tmp_path, text):
    engine = tmp_path / "net.engine"
    engine.write_bytes(b"plan")
    engine.with_suffix(".json").write_text(text)
    assert read_engine_file(engine) is None


def test_a_replaced_or_truncated_engine_has_no_metadata(tmp_path):
    engine = tmp_path / "net.engine"
    store_engine(changed(path=engine), b"plan")
    engine.write_bytes(b"pla")
    assert read_engine_file(engine) is None
    engine.unlink()
    assert read_engine_file(engine) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CannotStoreError, match="nowhere"):
        store_engine(changed(path=tmp_path / "nowhere" / "net.engine"), b"plan")


def test_engines_of_a_model_with_a_longer_name_belong_to_that_model(tmp_path):
    for name in ("net.fp16.engine", "net.v2.fp16.engine", "net_two.fp16.engine"):
        (tmp_path / name).touch()
    models = [tmp_path / name for name in ("net.onnx", "net.v2.onnx", "net_two.onnx")]
    assert [[path.name for path in engines_of(model, models)] for model in models] == [
        ["net.fp16.engine"],
        ["net.v2.fp16.engine"],
        ["net_two.fp16.engine"],
    ]


WRITER = """
import dataclasses, sys
from pathlib import Path
from app.inference.engine_files import store_engine
from tests_card import DETECTOR

engine = Path(sys.argv[1])
for turn in range(100000):
    size = 200_000 + 1000 * (turn % 7)
    store_engine(dataclasses.replace(DETECTOR, path=engine, file_bytes=size), bytes([turn % 7]) * size)
    print(turn, flush=True)
"""


@pytest.mark.parametrize("turns", [1, 2, 5, 9])
def test_a_writer_that_is_killed_leaves_no_half_engine(tmp_path, turns):
    root = Path(__file__).parent.parent.parent
    program = WRITER.replace(
        "from tests_card import DETECTOR",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_engine_files import DETECTOR",
    )
    engine = tmp_path / "net.engine"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(engine)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(turns):
            assert writer.stdout.readline()
        writer.kill()
    content = engine.read_bytes()
    assert len(content) == 200_000 + 1000 * content[0] and set(content) == {content[0]}
    stored = read_engine_file(engine)
    assert stored is None or stored.file_bytes == len(content)
