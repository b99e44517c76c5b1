"""The schedule of a soak: repeatable, complete, and over before the end."""

import pytest

from app.tools.soak.schedule import QUIET_END_S, SECONDS, FaultKind, make_schedule

CAMERAS = ("door", "yard")
KINDS = tuple(FaultKind)


def test_the_seed_decides():
    assert make_schedule(10, 1, CAMERAS, KINDS) == make_schedule(10, 1, CAMERAS, KINDS)
    assert make_schedule(10, 1, CAMERAS, KINDS) != make_schedule(10, 2, CAMERAS, KINDS)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("minutes", [1, 2, 5, 60])
def test_faults_follow_each_other_and_end_before_the_run(minutes, seed):
    faults = make_schedule(minutes, seed, CAMERAS, KINDS)
    assert all(before.ends_s < after.begins_s for before, after in zip(faults, faults[1:]))
    assert faults[-1].ends_s <= minutes * 60 - QUIET_END_S
    assert all(SECONDS[fault.kind][0] <= fault.lasts_s <= SECONDS[fault.kind][1] for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_two_minutes_show_every_kind(seed):
    assert {fault.kind for fault in make_schedule(2.5, seed, CAMERAS, KINDS)} == set(KINDS)


def test_kinds_that_this_machine_cannot_cause_are_left_out():
    kinds = [kind for kind in KINDS if kind is not FaultKind.DISK_FULL]
    assert {fault.kind for fault in make_schedule(60, 1, CAMERAS, kinds)} == set(kinds)
