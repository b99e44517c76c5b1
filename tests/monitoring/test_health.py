"""When a run is healthy."""

import pytest

from app.monitoring.health import STARTING, Problem, assess
from app.types import ChannelCounters, ChannelState, ChannelStatus


def channel(state, live=True):
    return ChannelStatus("door", "rtsp://door", state, ChannelCounters(), live, None, None, None)


RUNNING = channel(ChannelState.RUNNING)
LOST = channel(ChannelState.RECONNECTING)
ENDED = channel(ChannelState.ENDED, live=False)


def of(channels=(RUNNING,), silent_s=0.0, output_failed=False, delivery_failing=False):
    return assess(silent_s, 30.0, channels, output_failed, delivery_failing)


def test_a_run_whose_sources_and_outputs_work_is_healthy():
    assert of().as_json() == {"status": "ok", "problems": [], "sources": {"all": 1, "running": 1}}


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        (STARTING, Problem.STARTING),
        (of(silent_s=30.1), Problem.LOOP_STUCK),
        (of([LOST, channel(ChannelState.FAILED)]), Problem.ALL_SOURCES_LOST),
        (of([channel(ChannelState.STALLED)]), Problem.ALL_SOURCES_LOST),
        (of([channel(ChannelState.OPENING)]), Problem.ALL_SOURCES_LOST),
        (of([ENDED, LOST]), Problem.ALL_SOURCES_LOST),
        (of(output_failed=True), Problem.OUTPUT_FAILED),
    ],
)
def test_a_run_that_does_not_do_its_work_is_not(health, problem):
    assert not health.is_healthy
    assert health.problems == (problem,)
    assert health.as_json()["status"] == "failing"


@pytest.mark.parametrize(
    ("health", "problem"),
    [(of([RUNNING, LOST]), Problem.SOURCE_LOST), (of(delivery_failing=True), Problem.DELIVERY_FAILING)],
)
def test_what_is_missing_in_part_is_a_warning(health, problem):
    assert health.is_healthy
    assert health.problems == (problem,)
    assert health.as_json()["status"] == "warning"


@pytest.mark.parametrize("channels", [[], [ENDED], [channel(ChannelState.OPENING, live=False)], [RUNNING, ENDED]])
def test_a_recording_that_begins_or_has_ended_is_not_lost(channels):
    assert of(channels).problems == ()
