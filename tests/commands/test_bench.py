"""`bench` measures the whole program on a recording of its own making."""

import json


def test_stages_and_loops_are_measured(completed, tmp_path):
    code, out, err = completed("bench", "--faces", "1", "--frames", "5", "--json", tmp_path / "speed.json")
    assert code == 0, err
    facts = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert {"decode", "detect", "embed", "encode"} <= set(facts["stages_ms"])
    assert len(facts["loops"]) == 2
    assert facts["machine"] in out


def test_figures_that_cannot_be_written_are_told(completed, tmp_path):
    code, _, err = completed("bench", "--faces", "0", "--frames", "1", "--json", tmp_path / "gone" / "speed.json")
    assert code == 2 and "cannot be written" in err
