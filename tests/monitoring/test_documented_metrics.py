"""The page about monitoring, the Grafana dashboard and the alert rules name metrics and labels that exist."""

import functools
import json
import re
from pathlib import Path

import pytest
import yaml

from app.capture.capture import Channels
from app.degrade import DegradeController
from app.events.sinks import EventPublisher
from app.monitoring.exposition import PREFIX, Exposition
from app.monitoring.monitor import RunMonitor, WatchedRun
from app.output.outputs import Outputs
from app.recognizer import Recognizer
from app.settings import CaptureSettings, DegradeSettings, ModelSettings, Settings

MODELS = ModelSettings(backend="onnx")
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "monitoring"
STANDARD = {
    "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
    "process_max_fds", "process_start_time_seconds",
}  # fmt: skip
OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to everything."""


@functools.lru_cache(maxsize=None)
def existing():
    """The type and the labels of all metrics by name; the name of a counter ends in `_total`."""
    monitor = RunMonitor(30)
    with Channels([], CaptureSettings()) as channels, Recognizer.from_settings(Settings(models=MODELS)) as recognizer:
        monitor.watch(
            WatchedRun(channels, Outputs(), EventPublisher(()), DegradeController(DegradeSettings()), recognizer)
        )
        families = list(Exposition(monitor).registry.collect())
    return {
        family.name + "_total" * (family.type == "counter"): (family.type, tuple(getattr(family, "_labelnames", ())))
        for family in families
    }


def series():
    """The labels of all series by name: a histogram has three."""
    found = {"up": OF_PROMETHEUS}
    for name, (kind, labels) in existing().items():
        of_histogram = {"_bucket": {"le"}, "_sum": set(), "_count": set()}
        for suffix, more in (of_histogram if kind == "histogram" else {"": set()}).items():
            found[name + suffix] = {*labels, *more, *OF_PROMETHEUS}
    return found


def dashboard():
    return json.loads((EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8"))


def queries():
    """Each with the labels that its legend or message shows."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield pytest.param(target["expr"], target["legendFormat"], id=f"{panel['title']} {target['refId']}")
    for variable in dashboard()["templating"]["list"][1:]:
        yield pytest.param(variable["query"]["query"], "", id=f"variable {variable['name']}")
    rules = yaml.safe_load((EXAMPLES / "prometheus-alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    for rule in rules:
        yield pytest.param(rule["expr"], rule["annotations"]["summary"], id=rule["alert"])


@pytest.mark.parametrize(("query", "shown"), list(queries()))
def test_queries_ask_for_series_and_labels_that_exist(query, shown):
    known = series()
    names = set(re.findall(r"\b(?:face_recognition|process)_\w+|\bup\b", query))
    assert names and names <= set(known)
    labels = set().union(*(known[name] for name in names))
    asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
    for listed in re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", query):
        asked.update(re.split(r",\s*", listed))
    asked.update(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", shown))
    assert asked <= labels


def test_the_dashboard_shows_every_metric_but_a_few():
    text = (EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8")
    left_out = {name for name in existing() if name not in text}
    assert left_out == {
        PREFIX + name
        for name in (
            "build_info", "loop_silent_seconds", "output_frames_handled_total", "event_sink_events_total",
            "event_sink_events_lost_total", "network_info", "delivery_events_total", "delivery_events_lost_total",
        )
    } | {"process_virtual_memory_bytes", "process_max_fds", "process_start_time_seconds"}  # fmt: skip


def test_panels_do_not_overlap_and_have_numbers_of_their_own():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24


def test_the_page_lists_every_metric_with_its_type_and_labels():
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    table = page[page.index("| metric |") :]
    listed = {}
    for names, kind, labels in re.findall(r"^\| (`[^|]+) \| (\w+) \| ([^|]*)\|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            labels_of_it = tuple(filter(None, re.split(r",\s*", labels.strip())))
            listed[name if name in STANDARD else PREFIX + name] = (kind, labels_of_it)
    assert listed == existing()


def test_names_follow_the_conventions_of_prometheus():
    for name, (kind, _) in existing().items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|s|mb|kb|milliseconds|percent)(_|$)", name), f"{name}: not a base unit"
        if kind == "histogram":
            assert name.endswith("_seconds")
