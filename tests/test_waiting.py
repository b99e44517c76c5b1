"""A wait that fails says what it saw last."""

import types

import pytest
import waiting
from waiting import until


def test_a_wait_ends_when_it_has_happened():
    steps = []
    until(lambda: len(steps) == 3, lambda: steps.append("step"))
    assert len(steps) == 3


def test_a_wait_that_fails_names_the_values_that_it_compared(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENT_S", 0.0)
    names, log = ["Ann", "Eve"], "camera refused"
    with pytest.raises(AssertionError) as failed:
        until(lambda at=1: len(names[at]) > 5 and "open" in log)
    said = str(failed.value)
    assert "len(names[at]): 3" in said and "log: 'camera refused'" in said
    with pytest.raises(AssertionError, match="KeyError"):
        until(lambda: {}.get("name") or ("open" in log and {}["name"]))


def test_a_time_in_which_this_process_did_not_run_does_not_count(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENT_S", 3.0)
    now, rounds = [0.0], []
    monkeypatch.setattr(waiting, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def stopped():
        rounds.append(now[0])
        now[0] += 1000.0

    until(lambda: len(rounds) == 3, stopped)
    with pytest.raises(AssertionError):
        until(lambda: False, stopped)
