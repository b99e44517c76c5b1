"""When a server is asked, and when it is checked."""

from app.inference.remote.circuit import CHECK_EVERY_S, FIRST_PAUSE_S, MAX_PAUSE_S, STABLE_AFTER_S, Circuit


def pauses(circuit, now_s, count):
    """How long it waits after each of so many checks that fail."""
    found = []
    for _ in range(count):
        circuit.failed(now_s)
        assert not circuit.is_closed
        found.append(circuit.next_check_s - now_s)
        now_s = circuit.next_check_s
    return found


def test_a_server_is_asked_only_after_a_check():
    circuit = Circuit()
    assert not circuit.is_closed and circuit.next_check_s == 0
    circuit.passed(5.0)
    assert circuit.is_closed and circuit.next_check_s == 5 + CHECK_EVERY_S


def test_checks_of_a_server_that_is_away_become_rare():
    assert pauses(Circuit(), 0.0, 7) == [1, 2, 4, 8, 16, 30, 30]


def test_a_server_that_fails_again_and_again_is_tried_less_and_less():
    circuit, now_s, waits = Circuit(), 0.0, []
    for _ in range(4):
        circuit.passed(now_s)
        (wait,) = pauses(circuit, now_s + STABLE_AFTER_S / 2, 1)
        waits.append(wait)
        now_s = circuit.next_check_s
    assert waits == [1, 2, 4, 8]


def test_one_failure_after_a_long_time_is_soon_forgiven():
    circuit = Circuit()
    assert pauses(circuit, 0.0, 9)[-1] == MAX_PAUSE_S
    circuit.passed(1000.0)
    circuit.passed(1000 + STABLE_AFTER_S)
    assert pauses(circuit, 1000 + STABLE_AFTER_S, 1) == [FIRST_PAUSE_S]
