"""Whether an engine may be loaded here is decided by its card alone; and a card is never about another engine."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.inference.engine_card import (
    CannotKeepError,
    EngineCard,
    EngineDemand,
    card_of,
    engine_path,
    keep_engine,
    stale_reason,
)
from app.inference.place import Place

HERE = Place("10.3.0", "Orin", "8.7")
DETECTOR = EngineCard(
    tensorrt="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    precision="fp16",
    least=(1, 3, 32, 32),
    best=(1, 3, 640, 640),
    largest=(1, 3, 640, 640),
    onnx_sha256="a" * 64,
    file_bytes=4,
    build_seconds=120.5,
    program="0.1.0",
    built_at="2026-01-31T12:00:00+00:00",
)
DEMAND = EngineDemand("a" * 64, ("fp16",), (1, 3, 640, 640))


def changed(**facts):
    return dataclasses.replace(DETECTOR, **facts)


def demanding(**facts):
    return dataclasses.replace(DEMAND, **facts)


@pytest.mark.parametrize(
    ("card", "demand"),
    [
        (DETECTOR, DEMAND),
        (DETECTOR, demanding(largest_input=(1, 3, 320, 320))),
        (DETECTOR, demanding(precisions=("fp16", "fp32"))),
        (changed(precision="fp32"), demanding(precisions=("fp16", "fp32"))),
        (changed(precision="fp32", instead_of={"fp16": "the parser"}), DEMAND),
        (changed(least=(1, 3, 480, 640), largest=(1, 3, 480, 640)), DEMAND),
        (changed(least=(4, 3, 32, 32), largest=(4, 3, 640, 640)), DEMAND),
        (changed(largest=(1, 3, 960, 960)), DEMAND),
        (changed(least=(1, 3, 32, 32), largest=(8, 3, 640, 640)), demanding(largest_input=(16, 3, 640, 640))),
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
def test_engines_that_fit(card, demand):
    assert stale_reason(card, demand, HERE) is None


@pytest.mark.parametrize(
    ("card", "demand", "reason"),
    [
        (None, DEMAND, "no card"),
        (changed(onnx_sha256="b" * 64), DEMAND, "another file"),
        (changed(tensorrt="10.3.0.1"), DEMAND, "TensorRT 10.3.0.1, and here is 10.3.0"),
        (changed(gpu="Xavier"), DEMAND, "built for Xavier (8.7)"),
        (changed(compute_capability="7.2"), DEMAND, "built for Orin (7.2)"),
        (changed(precision="int8"), demanding(precisions=("fp16", "fp32")), "computes in int8, and fp16 or fp32"),
        (changed(precision="fp32", instead_of={"int8": "no pictures"}), DEMAND, "computes in fp32"),
        (changed(), demanding(largest_input=(1, 3, 960, 960)), "1 x 3 x 960 x 960 is asked for"),
        (changed(least=(1, 3, 320, 320)), DEMAND, "1 x 3 x 320 x 320 to"),
        (changed(least=(2, 3, 32, 32), largest=(8, 3, 640, 640)), DEMAND, "no fewer than 2"),
        (changed(least=(1, 3), best=(1, 3), largest=(1, 3)), DEMAND, "it takes 1 x 3"),
    ],
)
def test_stale_and_foreign_engines(card, demand, reason):
    assert reason in stale_reason(card, demand, HERE)


def test_names_tell_engines_of_one_model_apart():
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


def test_what_is_kept_is_read_back(tmp_path):
    engine = tmp_path / "net.fp16.engine"
    card = changed(dla=0, instead_of={"int8": "no pictures"})
    keep_engine(engine, b"plan", card)
    assert engine.read_bytes() == b"plan"
    assert card_of(engine) == card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.fp16.engine", "net.fp16.json"]


@pytest.mark.parametrize("text", ["{}", "[]", "", "{broken", '{"tensorrt": "10.3.0"}', json.dumps({"least": 7})])
def test_a_card_that_is_none_counts_as_missing(tmp_path, text):
    engine = tmp_path / "net.engine"
    engine.write_bytes(b"plan")
    engine.with_suffix(".json").write_text(text)
    assert card_of(engine) is None


def test_an_engine_that_was_exchanged_or_cut_off_has_no_card(tmp_path):
    engine = tmp_path / "net.engine"
    keep_engine(engine, b"plan", DETECTOR)
    engine.write_bytes(b"pla")
    assert card_of(engine) is None
    engine.unlink()
    assert card_of(engine) is None


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(CannotKeepError, match="nowhere"):
        keep_engine(tmp_path / "nowhere" / "net.engine", b"plan", DETECTOR)


WRITER = """
import dataclasses, sys
from pathlib import Path
from app.inference.engine_card import keep_engine
from tests_card import DETECTOR

engine = Path(sys.argv[1])
for turn in range(100000):
    size = 200_000 + 1000 * (turn % 7)
    keep_engine(engine, bytes([turn % 7]) * size, dataclasses.replace(DETECTOR, file_bytes=size))
    print(turn, flush=True)
"""


@pytest.mark.parametrize("turns", [1, 2, 5, 9])
def test_a_writer_that_is_killed_leaves_no_half_engine(tmp_path, turns):
    root = Path(__file__).parent.parent.parent
    program = WRITER.replace(
        "from tests_card import DETECTOR",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_engine_card import DETECTOR",
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
    card = card_of(engine)
    assert card is None or card.file_bytes == len(content)
