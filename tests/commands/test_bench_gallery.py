"""`bench gallery` on a small gallery."""

import json
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_each_index_is_compared_with_flat(answered, tmp_path):
    words = ("--photos", "400", "--dimension", "16", "--index", "fp16", "--json", tmp_path / "out.json")
    code, out, err = answered("bench", "gallery", *words)
    assert code == 0, err
    flat, fp16 = json.loads((tmp_path / "out.json").read_text())
    assert (flat["kind"], fp16["kind"], fp16["photos"]) == ("flat", "fp16", 400)
    assert fp16["other_candidates"] == fp16["other_decisions"] == fp16["other_names"] == 0
    assert "fp16" in out
