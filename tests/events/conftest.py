"""Ends of runs that wait until everything is delivered."""

import pytest
from waiting import PATIENT_S

from app.events.delivery import Delivery
from app.events.sinks import EventPublisher, SinkQueue


@pytest.fixture(autouse=True)
def patient_ends(monkeypatch):
    """A busy machine may need longer than a run waits at its end; what is down is not waited for all the same."""
    for kind in (Delivery, SinkQueue, EventPublisher):
        monkeypatch.setitem(kind.__init__.__kwdefaults__, "flush_s", PATIENT_S)
    monkeypatch.setattr("app.events.command.FLUSH_S", PATIENT_S)
