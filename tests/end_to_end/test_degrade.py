"""A real camera and a loop that is too slow for it: the level rises, frames are left out, and it recovers."""

import dataclasses
import io
import json
import logging
import threading

import pytest
from json_schema import require_event
from waiting import PATIENT_S, until

from app.assembly import open_run
from app.capture.uri import parse_source
from app.output.progress import Progress
from app.pipeline import Limits, run_loop
from app.settings import DegradeSettings, DetectionSettings

HELD_FRAMES = 50


class Brake:
    """An output that holds each result until the camera has sent 50 more frames, about two seconds, up to level 4.

    So a frame in two seconds is processed, however fast the machine is; afterwards, it lets everything pass.
    """

    name = "brake"

    def __init__(self):
        self.levels = []
        self.skipped_before = None
        self.skipped = 0
        self.status = None
        self.is_on = True
        self.recovered = threading.Event()

    def handle(self, result):
        if not self.levels or self.levels[-1] != result.degrade_level:
            self.levels.append(result.degrade_level)
        (channel,) = self.status()
        self.skipped = channel.counters.skipped
        if self.is_on and result.degrade_level < 4:
            self.skipped_before = self.skipped
        elif self.is_on:
            self.is_on = self.skipped < 10
        elif result.degrade_level == 0:
            self.recovered.set()
        if self.is_on:
            until(lambda: self.status()[0].counters.read >= channel.counters.read + HELD_FRAMES)

    def close(self):
        pass


@pytest.mark.slow
def test_the_level_rises_while_the_loop_is_too_slow_and_falls_again(settings, rtsp_server, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="app")
    brake, log = Brake(), tmp_path / "visits.jsonl"
    settings = dataclasses.replace(
        settings,
        capture=dataclasses.replace(settings.capture, open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S),
        detection=DetectionSettings(input_size=64),
        output=dataclasses.replace(settings.output, events=log),
        # Every machine processes a small frame per second, whose age is of no interest here.
        degrade=DegradeSettings(min_fps=0.8, max_age_s=1000, raise_after_s=1, recover_after_s=1, level_4_fps=5),
    )
    sources = [parse_source(rtsp_server().url, "door")]
    with open_run(settings, sources, Progress(io.StringIO()), [brake]) as opened:
        brake.status = opened.channels.status
        run_loop(opened.channels, opened.pipeline, opened.outputs, Limits(None, None, brake.recovered))

    assert brake.levels == [0, 1, 2, 3, 4, 3, 2, 1, 0]
    assert brake.skipped_before == 0 and brake.skipped >= 10, "level 4 leaves out frames, and only that"
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for event in events:
        require_event(event)
    steps = [(event["previous_level"], event["level"]) for event in events if event["event"] == "degrade_level"]
    assert steps == list(zip(brake.levels, brake.levels[1:]))
    warnings = [record for record in caplog.records if record.name == "app.watches" and record.levelname == "WARNING"]
    assert len(warnings) == 4, "one for each step up"
    assert set(opened.summary.as_json(())["levels"]) == {"0", "1", "2", "3", "4"}
    assert "fewer frames" in opened.summary.text(())
