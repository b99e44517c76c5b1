"""Parts of a run that die or hang: readers that are killed, a network that never comes back."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import cv2
import pytest
from ports import free_port
from waiting import PATIENT_S, until


def readers_of(process):
    """The processes that read sources for the program."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == process.pid and b"app.capture.reader_child" in command:
            found.append(int(folder.name))
    return found


def events_of(path):
    """The complete ones; the program may be writing the last one."""
    written = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
    return [event["event"] for event in map(json.loads, written.splitlines())]


def frames_of(path):
    video, frames = cv2.VideoCapture(str(path)), 0
    while video.read()[0]:
        frames += 1
    return frames


def configure(config_file, *lines):
    with config_file.open("a", encoding="utf-8") as config:
        config.write("\n".join([*lines, ""]))


@pytest.fixture
def watched(program, camera, people_gallery, config_file, tmp_path):
    """The program with a camera whose reader is replaced quickly; and how to kill a reader."""
    patience = [f"  {name}: {PATIENT_S}" for name in ("open_timeout_s", "read_timeout_s")]
    configure(config_file, "capture:", *patience, "  retry_min_s: 0.05", "  retry_max_s: 0.1")
    words = ("--gallery", people_gallery, "--save", "door.mp4", "--events", "e.jsonl", "--no-window")
    process = program("--rtsp", f"door={camera.url}", *words)
    killed = []

    def kill(number):
        def one_more():
            assert process.poll() is None, process.stderr.read()
            return [reader for reader in readers_of(process) if reader not in killed]

        until(one_more)
        killed.extend(one_more())
        os.kill(killed[-1], number)

    until(lambda: "enter" in events_of(tmp_path / "e.jsonl"))
    return process, kill


def test_a_reader_that_crashes_is_replaced_and_reported(watched, tmp_path):
    process, kill = watched
    kill(signal.SIGSEGV)
    until(lambda: "source_back" in events_of(tmp_path / "e.jsonl"))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    (death,) = [line for line in err.splitlines() if " ERROR " in line]
    assert "reader of door died" in death and "signal 11" in death


def test_a_reader_that_dies_again_and_again_ends_the_run_with_complete_files(watched, tmp_path):
    process, kill = watched
    for _ in range(5):
        kill(signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("error: reader of door died 5 times") and "signal 9" in last
    kinds = events_of(tmp_path / "e.jsonl")
    assert kinds.count("enter") == kinds.count("left") >= 1
    assert frames_of(tmp_path / "door.mp4") > 0


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """What systemd is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "8000000")
        receiver.setblocking(False)

        def told():
            lines = []
            try:
                while True:
                    lines += receiver.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines

        yield told


@pytest.mark.slow
def test_a_network_that_never_returns_ends_the_program_with_its_stack_and_complete_files(
    systemd, program, trapped, video, people_gallery, config_file, tmp_path
):
    trapped(endless=True)
    configure(config_file, "run:", "  end_if_stuck_s: 6", "")
    process = program(
        "--video", video, "--gallery", people_gallery, "--events", "e.jsonl", "--save", "o.mp4", "--no-window"
    )
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 3, err
    assert "CRITICAL" in err and "thread MainThread" in err
    stack = err.partition("thread MainThread")[2].partition(" thread ")[0]
    assert "onnx.py" in stack and "pipeline.py" in stack
    kinds = events_of(tmp_path / "e.jsonl")
    assert kinds.count("enter") == kinds.count("left") == 3
    assert frames_of(tmp_path / "o.mp4") == 12
    messages = systemd()
    assert "READY=1" in messages and any("stuck" in message for message in messages)


@pytest.mark.slow
def test_a_run_tells_systemd_of_its_life(systemd, program, camera, people_gallery, config_file):
    process = program("--rtsp", camera.url, "--gallery", people_gallery, "--no-window")
    messages = []

    def alive():
        assert process.poll() is None, process.stderr.read()
        messages.extend(systemd())
        return messages.count("WATCHDOG=1") >= 2

    until(alive)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENT_S)
    messages.extend(systemd())
    assert process.returncode == 0
    began = messages.index("READY=1")
    assert "STATUS=opening networks, gallery and sources" in messages[:began]
    assert "STOPPING=1" in messages[began:]


@pytest.mark.slow
def test_a_program_that_was_stopped_for_a_while_goes_on(program, camera, people_gallery, config_file, tmp_path):
    # Longer than a busy machine needs for a frame.
    configure(config_file, "run:", "  end_if_stuck_s: 10", "")
    process = program("--rtsp", camera.url, "--gallery", people_gallery, "--no-window", "--events", "e.jsonl")
    until(lambda: "enter" in events_of(tmp_path / "e.jsonl"))
    process.send_signal(signal.SIGSTOP)
    time.sleep(11)
    process.send_signal(signal.SIGCONT)
    written = len(events_of(tmp_path / "e.jsonl"))
    time.sleep(1)
    assert process.poll() is None and len(events_of(tmp_path / "e.jsonl")) >= written
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err


def test_what_systemds_watchdog_ends_shows_what_it_was_doing(systemd, program, camera, people_gallery):
    process = program("--rtsp", camera.url, "--gallery", people_gallery, "--no-window")
    messages = []
    until(lambda: messages.extend(systemd()) or "READY=1" in messages or process.poll() is not None)
    process.send_signal(signal.SIGABRT)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == -signal.SIGABRT
    assert "Fatal Python error" in err and "assembly.py" in err


def test_a_service_without_sources_is_ready_too(systemd, program, people_gallery):
    pytest.importorskip("starlette")
    process = program("serve", "--port", free_port(), "--gallery", people_gallery)
    messages = []
    until(lambda: messages.extend(systemd()) or "READY=1" in messages or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    messages.extend(systemd())
    assert messages.index("READY=1") < messages.index("STOPPING=1")
