"""How often a worker may die before that is the end of the run."""

import pytest

from app.errors import FatalError
from app.supervision.supervisor import MAX_DEATHS, WINDOW_S, Supervisor


def dying(*moments, worker="reader of door"):
    now = [0.0]
    supervisor = Supervisor(clock=lambda: now[0])
    for number, moment in enumerate(moments):
        now[0] = moment
        supervisor.died(worker, f"signal {number}")
    return supervisor


def test_five_deaths_within_a_minute_are_the_end_with_the_last_reason():
    with pytest.raises(FatalError, match=rf"reader of door.*{MAX_DEATHS}.*signal 4"):
        dying(0, 10, 20, 30, WINDOW_S).check()


@pytest.mark.parametrize("moments", [(), (0, 1, 2, 3), (0, 20, 40, WINDOW_S, WINDOW_S + 1), range(0, 600, 20)])
def test_fewer_deaths_are_not(moments):
    dying(*moments).check()


def test_the_end_stays_the_end():
    supervisor = dying(*range(MAX_DEATHS))
    supervisor.died("reader of door", "later")
    for _ in range(2):
        with pytest.raises(FatalError, match="signal 4"):
            supervisor.check()


def test_each_worker_is_counted_alone():
    supervisor = dying(1, 2, 3, 4)
    for worker in ("reader of yard", "video out.mp4"):
        supervisor.died(worker, "signal 9")
    supervisor.check()
