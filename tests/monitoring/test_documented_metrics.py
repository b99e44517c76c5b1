"""The page about monitoring names the metrics that exist, and no others."""

import re
from pathlib import Path

from app.capture.capture import Channels
from app.degrade import DegradeController
from app.events.sinks import EventPublisher
from app.monitoring.exposition import PREFIX, Exposition
from app.monitoring.monitor import RunMonitor
from app.output.outputs import Outputs
from app.settings import CaptureSettings, DegradeSettings

ROOT = Path(__file__).resolve().parents[2]
STANDARD = {
    "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
    "process_max_fds", "process_start_time_seconds",
}  # fmt: skip


def existing():
    """The types of all metrics by name; a counter ends in `_total`."""
    monitor = RunMonitor(30)
    with Channels([], CaptureSettings()) as channels:
        monitor.watch(channels, Outputs(), EventPublisher(()), DegradeController(DegradeSettings()))
        families = list(Exposition(monitor).registry.collect())
    return {family.name + "_total" * (family.type == "counter"): family.type for family in families}


def test_the_page_lists_every_metric_with_its_type():
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    table = page[page.index("| metric |") :]
    listed = {}
    for names, kind in re.findall(r"^\| (`[^|]+) \| (\w+) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            listed[name if name in STANDARD else PREFIX + name] = kind
    assert listed == existing()


def test_names_follow_the_conventions_of_prometheus():
    for name, kind in existing().items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|s|mb|kb|milliseconds|percent)(_|$)", name), f"{name}: not a base unit"
        if kind == "histogram":
            assert name.endswith("_seconds")
