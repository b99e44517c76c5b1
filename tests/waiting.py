"""Waiting for what another thread or process does."""

import time

PATIENT_S = 60.0
"""How long to wait for something that always happens: the limit is for broken code, not for slow machines."""


def until(happened):
    """Returns as soon as `happened()` is true."""
    deadline = time.monotonic() + PATIENT_S
    while not happened():
        assert time.monotonic() < deadline, f"did not happen within {PATIENT_S} s"
        time.sleep(0.01)
