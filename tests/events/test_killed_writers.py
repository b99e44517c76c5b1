"""kill -9 while events are written: what was acknowledged stays, and the log stays a log."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 50
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_fifty_kills_lose_no_acknowledged_event_tear_no_line_and_repeat_no_number(tmp_path):
    path, chance = tmp_path / "e.jsonl", random.Random(9)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    acknowledged, torn = [], 0
    for turn in range(ROUNDS):
        command = [sys.executable, str(Path(__file__).with_name("write_events.py")), str(path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as writer:
            for _ in range(chance.randrange(1, 400)):
                acknowledged.append(int(writer.stdout.readline()))
            writer.kill()
            # A line without its end may be the half of a number.
            acknowledged += [int(line) for line in writer.stdout if line.endswith(b"\n")]
        content = path.read_bytes()
        torn += not content.endswith(b"\n")
        if turn % 3 == 0:  # as if the power had failed, which tears lines
            last = content.rstrip(b"\n").rsplit(b"\n", 1)[-1]
            with path.open("ab") as file:
                file.write(last[: chance.randrange(1, len(last) - 1)])
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as writer:
        acknowledged.append(int(writer.stdout.readline()))
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout if line.endswith(b"\n")]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    headers = [line for line in lines if line["event"] == "log"]
    events = [line for line in lines if line["event"] != "log"]
    written = [event["sequence"] for event in events]
    assert written == list(range(1, len(written) + 1)), "no gap, no repetition"
    assert set(acknowledged) <= set(written)
    assert len(acknowledged) > 5 * ROUNDS and len(headers) == ROUNDS + 1
    assert torn <= 1, "the kernel completes a write before the process dies"

    # Every visit that began has ended, but those of the last run.
    open_visits = set()
    for line in lines:
        if line["event"] == "log":
            assert {visit["visit"] for visit in line["open"]} == open_visits
        elif line["event"] == "enter":
            assert line["visit"] not in open_visits
            open_visits.add(line["visit"])
        elif line["event"] == "left":
            open_visits.remove(line["visit"])
    assert sum(event.get("reason") == "restart" for event in events) >= ROUNDS
