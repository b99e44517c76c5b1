"""Each verdict of a soak fails for what it is there to find."""

import dataclasses
from array import array

import pytest

from app.tools.soak.recordings import VideoCheck
from app.tools.soak.schedule import Fault, FaultKind
from app.tools.soak.usage import Usage
from app.tools.soak.verdicts import Evidence, judge, slope
from app.tools.soak.watch import Recovery, Seen

MINUTES = 30
KILLED = Fault(FaultKind.KILLED, "door", 100.0, 10.0)


def seen(age_s=lambda at: 0.05):
    times = [number / 10 for number in range(MINUTES * 600)]
    return Seen(array("d", times), array("d", map(age_s, times)), array("d", [104.0]))


def usage(memory=lambda minute: 400.0, handles=lambda minute: 20):
    return [Usage(number * 3.0, memory(number / 20), 16, handles(number / 20), 2) for number in range(MINUTES * 20)]


def visit(number, name="Ann", end=True):
    face = {"channel": "door", "visit": number, "name": name}
    left = [{"event": "left", "sequence": number + 1, **face}] if end else []
    return [{"event": "enter", "sequence": number, **face}, *left]


def outage(number):
    lost, back = ({"event": f"source_{word}", "channel": "door"} for word in ("lost", "back"))
    return [{**lost, "sequence": number}, {**back, "sequence": number + 1}]


GOOD = Evidence(
    planned_s=MINUTES * 60,
    ran_s=MINUTES * 60,
    problem=None,
    stopped=False,
    faults=[KILLED],
    usage=usage(),
    seen={"door": seen()},
    recoveries=[Recovery(KILLED, "door", 110.0, took_s=3.0)],
    recovery_limit_s=30.0,
    events=[{"event": "log"}, *visit(1), *outage(3), *visit(5)],
    broken_lines=[],
    names={"door": ["Ann"]},
    videos=[VideoCheck("outputs/video.mp4", 100, 99, 0.2)],
    warnings=3,
)


def failed(**changes):
    return [verdict.name for verdict in judge(dataclasses.replace(GOOD, **changes)) if verdict.passed is not True]


def test_a_good_run_passes():
    assert failed() == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("the run", {"problem": "it ended by itself"}),
        ("memory", {"usage": usage(memory=lambda minute: 400 + 1.1 * minute)}),
        ("handles", {"usage": usage(handles=lambda minute: 20 + (minute > 6))}),
        ("latency", {"seen": {"door": seen(lambda at: 0.05 + at / 3600)}}),
        ("recovery", {"recoveries": [Recovery(KILLED, "door", 110.0, took_s=31.0)]}),
        ("recovery", {"recoveries": [Recovery(KILLED, "door", 110.0)]}),
        ("recovery", {"recoveries": [Recovery(KILLED, "door", 110.0, None, overtaken=True)] * 4}),
        ("pictures", {"seen": {"door": dataclasses.replace(seen(), damaged_at=array("d", [300.0]))}}),
        ("event log", {"broken_lines": ["b'{'"]}),
        ("event log", {"events": [*visit(1), *outage(3), *visit(6)]}),
        ("event log", {"events": [*visit(1), *outage(3), *outage(3)]}),
        ("visits", {"events": [*visit(1), *outage(3), *visit(5, end=False)]}),
        ("visits", {"events": [*visit(1), *outage(3), *visit(5, "Bob")]}),
        ("outages", {"events": [*visit(1)]}),
        ("outages", {"events": [*visit(1), *outage(3)[:1], *visit(4)]}),
        ("video", {"videos": []}),
        ("video", {"videos": [VideoCheck("outputs/video.mp4", 0, 0, 0.0)]}),
        ("video", {"videos": [VideoCheck("outputs/video.mp4", 100, 100, 5.0)]}),
        ("log", {"warnings": 100}),
    ],
)
def test_each_broken_promise_is_found(name, changes):
    assert failed(**changes) == [name]


def test_dips_of_memory_while_readers_are_dead_do_not_matter():
    dips = usage(memory=lambda minute: 400.0 - 90 * (minute % 5 < 1))
    assert failed(usage=dips) == []


def test_a_run_that_was_stopped_early_knows_little_but_breaks_nothing():
    early = dataclasses.replace(
        GOOD, ran_s=20.0, stopped=True, faults=[], usage=usage()[:6], seen={"door": Seen()}, recoveries=[], events=[]
    )
    verdicts = {verdict.name: verdict.passed for verdict in judge(early)}
    assert verdicts["memory"] is None and verdicts["threads"] is None and verdicts["latency"] is None
    assert [name for name, passed in verdicts.items() if passed is False] == ["pictures", "event log"]


def test_a_slope_ignores_outliers():
    assert slope(range(10), [0, 1, 2, 50, 4, 5, -80, 7, 8, 9]) == 1.0
