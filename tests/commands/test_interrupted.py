"""Ctrl-C ends every command with exit code 130 and one line. (A run that has begun ends with 0: tests/end_to_end.)"""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from waiting import PATIENT_S, until


@pytest.fixture
def interrupted(program):
    """Starts the program, waits until it reads this pipe, and presses Ctrl-C."""

    def run(pipe, *words):
        os.mkfifo(pipe)
        process = program(*words)
        writers = []

        def is_read():
            with contextlib.suppress(OSError):  # no reader yet
                writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            return writers or process.poll() is not None

        until(is_read)
        until(lambda: is_waiting(process))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENT_S)
        for writer in writers:
            os.close(writer)
        return process.returncode, out, err

    return run


def is_waiting(process):
    """In the kernel, for what the pipe will bring: between the pipe's opening and the first read Python would take
    notice of Ctrl-C only after that read, which never ends here."""
    if process.poll() is not None:
        return True
    where = Path(f"/proc/{process.pid}/wchan").read_text()
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    # Some kernels do not say where it waits.
    return "pipe" in where if where not in ("", "0") else state == "S"


@pytest.mark.parametrize(
    "words",
    [
        ("--video", "clip.mp4"),
        ("demo",),
        ("doctor",),
        ("people", "check"),
        ("engines", "build"),
        ("engines", "import", "net.onnx"),
        ("bench",),
        ("bench", "engines"),
        ("scan", "door.jpg"),
        ("evaluate", "label", "--images", "photos", "--out", "labels.txt"),
    ],
    ids=" ".join,
)
def test_a_command_that_reads_its_settings(interrupted, tmp_path, words):
    (tmp_path / "test.yaml").unlink()
    code, out, err = interrupted(tmp_path / "test.yaml", *words)
    assert (code, out, err) == (130, "", "interrupted\n")


def test_a_measurement(interrupted, tmp_path):
    words = ("evaluate", "detection", "--images", tmp_path, "--labels", "labels.txt", "--json", "out.json")
    code, _, err = interrupted(tmp_path / "labels.txt", *words)
    assert (code, err) == (130, "interrupted\n")
    assert not (tmp_path / "out.json").exists()


def test_a_run_that_has_not_begun(interrupted, people_video, tmp_path):
    (tmp_path / "gallery").mkdir()
    words = ("--video", people_video, "--save", "out.mp4", "--log-level", "error")
    code, out, err = interrupted(tmp_path / "gallery" / "people.yaml", *words)
    assert (code, out, err) == (130, "", "interrupted\n")
    assert not list(tmp_path.glob("*out*"))


def test_an_interrupted_import_reports_that_nothing_was_installed(interrupted, tmp_path):
    code, _, err = interrupted(tmp_path / "net.wts", "engines", "import", "net.wts")
    assert code == 130
    assert err.startswith("interrupted: net.wts: ") and err.count("\n") == 1
