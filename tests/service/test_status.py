"""How a server is doing, over HTTP."""

import dataclasses
import errno
import io
from pathlib import Path

import pytest
from http_client import Client, free_port
from waiting import until

from app.monitoring.processes import PROC
from app.output.progress import Progress
from app.service.api.retention import kept_by
from app.service.measurements import KEPT, Measurements
from app.service.serving import serving
from app.settings import OutputSettings, Settings, StrangerSettings
from app.tools.doctor.checks import findings_of_server


def test_a_run_says_how_fast_it_was_and_in_which_stages(crowd):
    _, view = crowd
    now = [100.0]
    measurements = Measurements(view, lambda: now[0])
    measurements.measure()
    view.monitor.counts.processed["hall"] += 10
    view.monitor.counts.stages["detect"].add(0.5)
    now[0] += 5
    measurements.measure()
    (taken,) = measurements.taken
    assert taken.fps == {"hall": 2.0}
    assert taken.stages_ms["detect"] == 50.0
    assert taken.latency_ms == {}, "a recording has none"
    assert taken.memory_mb > 50
    for _ in range(KEPT + 1):
        measurements.measure()
    assert len(measurements.taken) == KEPT


def test_measuring_goes_on_after_too_many_files_were_open(crowd, monkeypatch):
    _, view = crowd
    monkeypatch.setattr("app.service.measurements.EVERY_S", 0.01)
    measurements, iterdir, failures = Measurements(view), Path.iterdir, []

    def refused_once(path):
        if path == PROC and not failures:
            failures.append(path)
            raise OSError(errno.EMFILE, "Too many open files")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refused_once)
    measurements.start()
    until(lambda: failures and measurements.taken)
    measurements.close()


def test_the_status_has_series_of_one_length(crowd):
    client, _ = crowd
    reply = client.get("/api/v1/status").json
    assert (reply["health"], reply["every_s"]) == ("ok", 5)
    series = reply["series"]
    for name in ("degrade_level", "memory_mb", "reconnects"):
        assert len(series[name]) == len(series["times"])


def test_the_findings_are_made_once_for_all_who_ask(settings, tmp_path):
    calls = []

    def doctor():
        calls.append(1)
        return findings_of_server(settings)

    serve = dataclasses.replace(settings.serve, port=free_port(), tokens=tmp_path / "tokens.json")
    with serving(dataclasses.replace(settings, serve=serve), Progress(io.StringIO()), doctor=doctor):
        client = Client(serve.port)
        first, again = client.get("/api/v1/doctor").json, client.get("/api/v1/doctor").json
    assert first == again
    assert len(calls) == 1
    titles = [section["title"] for section in first["sections"]]
    assert "Gallery" in titles
    assert "Cameras" not in titles
    found = {finding["status"] for section in first["sections"] for finding in section["findings"]}
    assert found <= {"OK", "-", "warning", "PROBLEM"}


def test_it_says_how_long_what_is_kept(crowd, own):
    kept = {one["what"]: one for one in crowd[0].get("/api/v1/retention").json["kept"]}
    assert (kept["events"]["stored"], kept["events"]["days"]) == (True, None)
    assert (kept["recordings"]["stored"], kept["recordings"]["days"]) == (False, 30)
    mine = {one["what"]: one for one in own.get("/api/v1/retention").json["kept"]}
    assert mine["events"]["stored"] is False
    assert (mine["strangers"]["stored"], mine["strangers"]["days"], mine["strangers"]["count"]) == (True, 30, 500)
    assert (mine["stranger_frames"]["stored"], mine["stranger_frames"]["days"]) == (True, 30)
    assert mine["undo"]["days"] == 7
    for one in mine.values():
        for setting in one["settings"]:
            section, _, name = setting.partition(".")
            assert hasattr(getattr(Settings(), section), name), setting


@pytest.mark.parametrize(
    ("strangers", "cover", "stored"),
    [({"frames": False}, None, False), ({}, "Ann", False), ({"enabled": False}, None, False), ({}, None, True)],
)
def test_it_says_whether_frames_of_strangers_are_kept(strangers, cover, stored):
    settings = Settings(strangers=StrangerSettings(**strangers), output=OutputSettings(cover=cover))
    (frames,) = (one for one in kept_by(settings) if one.what == "stranger_frames")
    assert frames.stored is stored
