"""Waiting for what another thread or process does."""

import time

PATIENT_S = 50.0
"""How long to wait for something that always happens. It limits broken code, not slow machines, and is shorter than
the limit on a whole test (`timeout` in pyproject.toml), so that the wait that failed is the one that reports."""


def until(happened, do=lambda: time.sleep(0.01)):
    """Calls `do()` until `happened()` is true."""
    deadline = time.monotonic() + PATIENT_S
    while not happened():
        assert time.monotonic() < deadline, f"did not happen within {PATIENT_S} s"
        do()
