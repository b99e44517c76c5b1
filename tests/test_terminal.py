"""What comes from elsewhere (names of files, answers of servers, texts in models) commands no terminal."""

import logging
import os
import pty
import signal
import subprocess
import sys
import unicodedata

import pytest

from app.commands.logs import MaskingFormatter
from app.commands.run import stop_on_signals
from app.files import PROGRAM_FOLDER
from app.gallery.names import normalize
from app.text import printable, printable_lines, table

HOSTILE = "Eve\x1b[2J\x9b31m\nERROR forged\r\u202egpj.exe\u2028\x00"


def is_safe(text):
    return not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or c in "\u202e\u2066" for c in text)


@pytest.mark.parametrize("clean", [printable, normalize], ids=["shown", "name"])
def test_nothing_that_a_terminal_obeys_is_left(clean):
    assert is_safe(clean(HOSTILE))


@pytest.mark.parametrize(
    "name", ["محمد رضا", "علی\u200cرضا", "שרה", "José", "山田 太郎", "👩\u200d🚀 Ann", "नेहा", "Ann\u3000Lee"]
)
def test_names_in_any_script_stay_as_they_are(name):
    assert printable(name) == name
    assert normalize(name).split() == name.split()


def test_cells_of_tables_stay_in_their_line():
    assert len(table(("person", "photo"), [(HOSTILE, "a\nb")]).splitlines()) == 3


def test_a_quoted_line_does_not_look_like_one_of_the_log():
    record = logging.LogRecord("app", logging.WARNING, "", 1, "%s: cannot be read", (HOSTILE,), None)
    lines = MaskingFormatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S").format(record).split("\n")
    assert all(map(is_safe, lines)) and lines[1].startswith("  ERROR forged")


def test_our_own_indented_lines_keep_their_indentation():
    assert printable_lines("one\n  two\n\nthree") == "one\n  two\n\n  three"


@pytest.fixture
def hostile_gallery(tmp_path):
    """Photos that cannot be read, with names that a terminal would obey, and one whose name is no text."""
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for name in (b"Eve\x1b[2Jforged.jpg", b"Ann\nERROR forged.jpg", b"Bob\xff.jpg"):
        (gallery / os.fsdecode(name)).write_bytes(b"not a picture")
    (gallery / "link\x1b[31m.jpg").symlink_to("/dev/null")
    return gallery


@pytest.mark.slow
@pytest.mark.parametrize("action", [["list"], ["check"], ["remove", "Bob?", "--yes"]], ids=lambda words: words[0])
def test_names_of_files_on_a_real_terminal(hostile_gallery, action):
    ours, terminals = pty.openpty()
    command = [sys.executable, "-m", "app", "people", *action, "--gallery", str(hostile_gallery)]
    process = subprocess.Popen(command, cwd=PROGRAM_FOLDER, stdin=terminals, stdout=terminals, stderr=terminals)
    os.close(terminals)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    process.wait()
    text = shown.decode("utf-8").replace("\r\x1b[K", "").replace("\r\n", "\n")
    assert "Traceback" not in text
    assert all(map(is_safe, text.split("\n"))), text
    assert not any(line.startswith("ERROR") for line in text.split("\n"))


def test_a_terminal_that_is_closed_is_told_twice_and_ends_a_run_cleanly():
    """By the shell, and by the system when the shell ends."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        stop = stop_on_signals()
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_name_that_is_no_text_goes_through_a_pipe(hostile_gallery):
    command = [sys.executable, "-m", "app", "people", "remove", "Bob?", "--yes", "--gallery", str(hostile_gallery)]
    found = subprocess.run(command, cwd=PROGRAM_FOLDER, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    assert b"deleted" in found.stdout and b"Bob" in found.stdout
