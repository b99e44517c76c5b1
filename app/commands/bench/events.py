"""`bench events`: how many events a second a database or broker takes from many cameras."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from app.commands.arguments import positive, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.files import check_writable, write_text
from app.text import table

DESCRIPTION = """Sends the events of simulated cameras to the receivers in the settings: PostgreSQL (fleet.database),
Kafka and NATS. Each device is a process with a log of its own, as in a real run, without pictures and networks. First
all devices send what they wrote while they were offline, as fast as the receiver takes it; then each camera makes an
event a second. The names of the devices begin with bench-; their rows are deleted from PostgreSQL afterwards, but a
broker keeps what it got."""

EXAMPLES = """examples:
  python -m app bench events                                  # 400 cameras on 10 devices
  python -m app bench events --nats nats://127.0.0.1 --cameras 40 --devices 4 --seconds 60"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cameras", metavar="N", type=whole_number(1, 100_000), default=400, help="of all devices (default: 400)"
    )
    parser.add_argument("--devices", metavar="N", type=whole_number(1, 1000), default=10, help="default: 10")
    parser.add_argument(
        "--seconds", metavar="S", type=positive(3600), default=20.0, help="of live events (default: 20)"
    )
    parser.add_argument(
        "--backlog",
        metavar="N",
        type=whole_number(1, 10_000_000),
        default=4000,
        help="events of each device from the time when it was offline (default: 4000)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=("kafka", "nats"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    configure_logging("error")
    from app.tools.benchmark.events import EventLoad, measure

    load = EventLoad(arguments.devices, arguments.cameras, arguments.seconds, arguments.backlog)
    figures = measure(settings, load)
    rows = [
        (
            one.destination,
            f"{one.caught_up / one.catch_up_s:.0f}",
            f"{one.live / one.live_s:.0f}",
            *(f"{1000 * one.lag_s(share):.0f}" for share in (0.5, 0.95, 1.0)),
        )
        for one in figures
    ]
    print(f"{load.cameras} cameras on {load.devices} devices; milliseconds from an event to its acknowledgement")
    print(table(("receiver", "catching up /s", "live /s", "p50 ms", "p95 ms", "max ms"), rows))
    if arguments.json is not None:
        found = [{**asdict(one), "lags_s": [one.lag_s(share) for share in (0.5, 0.95, 1.0)]} for one in figures]
        write_text(arguments.json, json.dumps({"load": asdict(load), "receivers": found}, indent=2) + "\n")
    return ExitCode.DONE
