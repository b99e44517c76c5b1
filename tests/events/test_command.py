"""--on-event starts a command for each event, which no name or camera can turn into another command."""

import json
import logging
import os
import sys
import threading
from pathlib import Path

import pytest
from local_process import is_running
from made_results import ANN, STRANGER, frame, result, track
from waiting import PATIENT_S, until

from app.errors import SettingsError
from app.events.command import EventCommand, environment
from app.events.event import EventKind, LevelEvent, RelabelEvent, SourceEvent
from app.events.opening import open_events
from app.events.sinks import SinkQueue
from app.events.stream import EventStream
from app.settings import OnEventSettings, Settings
from app.types import Match, Reason


def events(*matches):
    return EventStream().handle(
        result(frame(), tracks=[track(number, match) for number, match in enumerate(matches, 1)])
    )


def script(tmp_path, text):
    """A Python program as a command."""
    path = tmp_path / "script.py"
    path.write_text(f"import json, os, sys, time\nout = {str(tmp_path)!r}\n{text}", encoding="utf-8")
    return f"{sys.executable} '{path}' 'two words'"


KEEP = """
event = json.load(sys.stdin)
kept = {"event": event, "words": sys.argv[1:], "environment": dict(os.environ)}
with open(f"{out}/{event['sequence']}.part", "w") as file:
    json.dump(kept, file)
os.replace(f"{out}/{event['sequence']}.part", f"{out}/{event['sequence']}.json")
"""


def test_a_command_gets_its_event_and_only_its_own_words(tmp_path):
    name = "$(touch owned); `touch owned` | 'x' \n"
    publisher = open_events(Settings(on_event=OnEventSettings(command=script(tmp_path, KEEP))))
    publisher.handle(result(frame(), tracks=[track(1, Match(name, Reason.MATCHED, 0.5)), track(2, STRANGER)]))
    publisher.close()
    assert publisher.lost == ()
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(tmp_path.glob("*.json"))]
    kinds = [record["event"]["event"] for record in kept]
    assert kinds[:3] == ["enter", "identified", "enter"]
    assert all(record["words"] == ["two words"] for record in kept)
    environment = kept[1]["environment"]
    assert (environment["EVENT"], environment["EVENT_NAME"], environment["EVENT_CHANNEL"]) == (
        "identified",
        name,
        "front",
    )
    assert environment["EVENT_SEQUENCE"] == "2" and environment["EVENT_TIME"] == kept[1]["event"]["time"]
    assert kept[2]["environment"]["EVENT_NAME"] == ""
    assert not (tmp_path / "owned").exists() and not Path("owned").exists()


def test_a_shell_can_be_asked_for_as_in_the_documentation(tmp_path):
    command = f'sh -c "if [ $EVENT = identified ]; then echo \\"$EVENT_NAME\\" >> {tmp_path}/names; fi"'
    publisher = open_events(Settings(on_event=OnEventSettings(command=command, max_running=1)))
    publisher.handle(result(frame(), tracks=[track(1, ANN)]))
    publisher.close()
    assert (tmp_path / "names").read_text(encoding="utf-8").splitlines() == ["Ann"]


def test_failures_are_logged_once_with_what_the_command_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    command = script(tmp_path, "sys.exit('no such door' if json.load(sys.stdin)['sequence'] < 4 else 0)")
    sink = EventCommand(OnEventSettings(command=command, max_running=1))
    for event in events(ANN, ANN):
        sink.write(event)
    sink.close()
    assert (sink.failed, sink.finished) == (3, 1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert [record.levelname for record in caplog.records if "works again" in record.getMessage()] == ["INFO"]
    assert "exit code 1: no such door (event 1)" in warnings[0] and "3 of 4 commands failed" in warnings[-1]


def test_a_command_is_counted_before_the_end_of_the_run_has_waited_for_it(monkeypatch):
    counted, counting, go_on = EventCommand._ended, threading.Event(), threading.Event()

    def count(*arguments):
        counting.set()
        assert go_on.wait(PATIENT_S)
        counted(*arguments)

    monkeypatch.setattr(EventCommand, "_ended", count)
    sink = EventCommand(OnEventSettings(command="true"))
    sink.write(events(STRANGER)[0])
    assert counting.wait(PATIENT_S)
    assert len(sink._running) == 1, "close waits for it"
    go_on.set()
    sink.close()
    assert sink.finished == 1


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(tmp_path, caplog):
    # A shell, because it starts soon, also on a busy machine.
    command = f"sh -c 'sleep 1000 & echo $! > \"{tmp_path}/pid\"; wait'"
    sink = EventCommand(OnEventSettings(command=command, timeout_s=2.0))
    sink.write(events(STRANGER)[0])
    # The failure is counted just before it is logged.
    until(lambda: "did not end within 2 s" in caplog.text)
    assert sink.failed == 1
    child = int((tmp_path / "pid").read_text(encoding="utf-8"))
    until(lambda: not is_running(child))
    sink.close()


def test_no_more_run_at_once_than_allowed(tmp_path):
    text = """
open(f"{out}/{os.getpid()}.running", "w")
while not os.path.exists(f"{out}/go"):
    time.sleep(0.01)
"""
    sink = EventCommand(OnEventSettings(command=script(tmp_path, text), max_running=2))
    writer = threading.Thread(target=lambda: [sink.write(event) for event in events(ANN, ANN)], daemon=True)
    writer.start()
    # A command may begin before the one who started it goes on.
    until(lambda: len(list(tmp_path.glob("*.running"))) == 2 == len(sink._running))
    assert writer.is_alive()
    (tmp_path / "go").touch()
    writer.join(PATIENT_S)
    sink.close()
    assert len(list(tmp_path.glob("*.running"))) == 4 and sink.finished == 4


def test_the_end_of_a_run_kills_commands_that_hang_and_counts_what_was_not_started(tmp_path, caplog):
    command = script(tmp_path, "open(f'{out}/pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)")
    sink = EventCommand(OnEventSettings(command=command, timeout_s=1000.0, max_running=1))
    queue = SinkQueue(sink, flush_s=0.2)
    for event in events(ANN, ANN):
        queue.put(event)
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(encoding="utf-8"))
    queue.close()
    assert (queue.written, queue.lost) == (1, 3)
    until(lambda: not is_running(int((tmp_path / "pid").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("command", ["", "no-such-program-here --x", "'unbalanced", "/etc/passwd"])
def test_a_command_that_cannot_work_is_refused_at_the_start(command):
    with pytest.raises(SettingsError, match="on-event"):
        open_events(Settings(on_event=OnEventSettings(command=command)))


def test_a_command_that_disappears_is_a_failure_like_any_other(tmp_path, caplog):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    sink = EventCommand(OnEventSettings(command=os.fspath(program)))
    program.unlink()
    sink.write(events(STRANGER)[0])
    sink.close()
    assert sink.failed == 1 and "cannot be started" in caplog.text


def test_every_kind_of_event_has_an_environment_of_texts():
    relabel = RelabelEvent(9, EventKind.RELABEL, "", 1.8e9, "stranger-7", "Eva")
    lost = SourceEvent(10, EventKind.SOURCE_LOST, "door", 1.8e9, error="gone")
    level = LevelEvent(11, EventKind.DEGRADE_LEVEL, "", 1.8e9, 1, "fewer_embeddings", 0)
    for event in (*events(ANN, STRANGER), relabel, lost, level):
        assert all(isinstance(value, str) for value in environment(event).values())
    variables = environment(relabel)
    assert (variables["EVENT_STRANGER"], variables["EVENT_NAME"], variables["EVENT_CHANNEL"]) == (
        "stranger-7",
        "Eva",
        "",
    )
