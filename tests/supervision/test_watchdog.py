"""The watchdog tells systemd that the loop lives, and ends a program whose loop hangs."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from shipped import ROOT
from waiting import PATIENT_S, until

from app.supervision.supervisor import Supervisor
from app.supervision.watchdog import Watchdog, stacks


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """What systemd is told, as lists of lines; its limit is 0.4 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        receiver.settimeout(PATIENT_S)
        yield receiver


def told(receiver):
    return receiver.recv(4096).decode().splitlines()


def waiting(receiver):
    receiver.setblocking(False)
    found = []
    try:
        while True:
            found += told(receiver)
    except BlockingIOError:
        return found


def watchdog(supervisor, stuck_after_s=0.0, **options):
    options = {"salvage": lambda: None, "leave": lambda code: None, **options}
    return Watchdog(supervisor, stuck_after_s, lambda: "1 of 1 source running", **options)


def test_systemd_hears_of_the_beginning_of_life_and_of_the_end(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")  # a loop that only waits for its turn is not to be taken as stuck
    supervisor = Supervisor()
    over = threading.Event()

    def live():
        while not over.wait(0.01):
            supervisor.check()

    loop = threading.Thread(target=live)
    loop.start()
    with watchdog(supervisor):
        assert told(systemd) == ["READY=1", "STATUS=1 of 1 source running"]
        for _ in range(2):
            assert told(systemd) == ["WATCHDOG=1"]
    over.set()
    loop.join()
    assert "STOPPING=1" in waiting(systemd)


def test_the_run_of_an_earlier_environment_does_not_report_to_a_later_one(systemd, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET")
    earlier = watchdog(Supervisor())
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    with earlier:
        pass
    assert waiting(systemd) == []


def test_a_loop_that_hangs_is_not_reported_as_alive(systemd):
    with watchdog(Supervisor()):
        told(systemd)
        time.sleep(1.0)  # more than twice systemd's limit
        assert waiting(systemd).count("WATCHDOG=1") <= 1


@pytest.mark.parametrize("hangs", [False, True], ids=["salvaged", "salvage hangs"])
def test_a_loop_that_hangs_is_ended_after_its_files_are_completed(caplog, monkeypatch, hangs):
    monkeypatch.setattr("app.supervision.watchdog.SALVAGE_S", 0.2)
    codes, salvaged, released = [], threading.Event(), threading.Event()

    def salvage():
        salvaged.set()
        if hangs:
            released.wait(PATIENT_S)

    with watchdog(Supervisor(), 0.2, salvage=salvage, leave=codes.append):
        until(lambda: codes)
    released.set()
    assert codes == [3] and salvaged.is_set()
    assert "thread MainThread" in caplog.text and "test_watchdog.py" in caplog.text


def test_with_systemds_limit_the_program_ends_itself_before(systemd):
    codes = []
    with watchdog(Supervisor(), 600.0, leave=codes.append):
        until(lambda: codes)
    assert codes == [3]


STOPPED = """
import os, signal, sys, time
from app.supervision.supervisor import Supervisor
from app.supervision.watchdog import Watchdog

supervisor = Supervisor()
with Watchdog(supervisor, 2.0, lambda: "", lambda: None):
    os.kill(os.getpid(), signal.SIGSTOP)
    for line in sys.stdin:
        supervisor.check()
        print("alive", flush=True)
        break
    for _ in range(30):
        time.sleep(0.01)
        supervisor.check()
"""


def test_a_program_that_was_stopped_or_suspended_is_not_taken_for_one_that_hangs():
    program = subprocess.Popen(
        [sys.executable, "-c", STOPPED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until(lambda: Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    program.stdin.write("go on\n")
    program.stdin.flush()
    time.sleep(4.5)  # more than twice the limit
    os.kill(program.pid, signal.SIGCONT)
    out, _ = program.communicate(timeout=PATIENT_S)
    assert out == "alive\n" and program.returncode == 0


def test_the_stacks_name_every_thread():
    released = threading.Event()
    sleeping = threading.Thread(target=released.wait, name="sleeping beauty")
    sleeping.start()
    text = stacks()
    released.set()
    sleeping.join()
    assert text.startswith("thread MainThread") and "thread sleeping beauty" in text
