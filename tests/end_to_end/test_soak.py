"""A short soak: the whole program, while its cameras, readers and outputs fail."""

import json
import signal

import pytest
from waiting import until

pytest.importorskip("skimage", reason="the people come with scikit-image")


@pytest.mark.slow
def test_every_promise_is_kept_for_a_minute_and_a_half(completed, tmp_path):
    code, out, err = completed("soak", "--minutes", "1.5", "--seed", "21", "--json", "soak.json")
    report = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    broken = [verdict for verdict in report["verdicts"] if verdict["passed"] is False]
    # How old pictures become depends on what else this machine does.
    assert [verdict for verdict in broken if verdict["name"] != "latency"] == [], err
    assert code == (1 if broken else 0), out
    assert len({fault["kind"] for fault in report["faults"]}) >= 5
    assert report["recoveries"]
    known = {verdict["name"] for verdict in report["verdicts"] if verdict["passed"]}
    assert {"memory", "threads", "handles", "processes", "event log", "visits", "outages", "video"} <= known


@pytest.mark.slow
def test_ctrl_c_ends_it_with_what_is_known(program, tmp_path):
    process = program("soak", "--minutes", "30", "--seed", "21", "--json", "soak.json")
    shown = []
    until(lambda: "fault 1 of" in (shown or [""])[-1], lambda: shown.append(process.stderr.readline()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    report = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert report["ran_s"] < 1800
    assert len(report["faults"]) >= 1
    # So early, too little has happened for some verdicts, but none of them is missing.
    assert all(verdict["name"] in out for verdict in report["verdicts"])
    assert process.returncode == (1 if any(verdict["passed"] is False for verdict in report["verdicts"]) else 130), err
