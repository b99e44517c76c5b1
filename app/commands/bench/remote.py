"""`bench remote`: what it costs that a server embeds faces, and how many devices it carries."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from app.commands.arguments import positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.files import check_writable, write_text
from app.text import table

DESCRIPTION = """Asks the server of remote.url (docs/remote.md) to embed drawn faces. First one request after the other,
in turns with this machine: the bytes of a request, and how much longer it takes than here. Then with several devices at
once: each is a connection of this machine that sends one face after the other, as fast as it gets answers."""

EXAMPLES = """examples:
  python -m app bench remote
  python -m app bench remote --devices 1,4,16 --seconds 10 --json remote.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--devices",
        metavar="N,…",
        type=several(whole_number(1, 256)),
        default=(1, 2, 4, 8),
        help="devices at once (default: 1,2,4,8)",
    )
    parser.add_argument("--seconds", metavar="S", type=positive(3600), default=3.0, help="per figure (default: 3)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=("models.embedder", "models.backend", "models.precision"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    configure_logging("error")
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.benchmark.remote import measure
    from app.tools.machine import describe_machine

    leave_cores_to_networks()
    found = measure(ModelLoader(settings), arguments.devices, arguments.seconds)
    print(f"{found.network} on {found.address}; here on {found.here}; {describe_machine()}")
    costs = [
        (
            str(one.faces),
            f"{one.sent_bytes / 1000:.1f}",
            f"{one.received_bytes / 1000:.1f}",
            *(f"{value:.1f}" for value in (one.here.p50, one.server.p50, one.added_ms, one.here.min, one.server.min)),
        )
        for one in found.requests
    ]
    header = (
        "faces",
        "sent kB",
        "received kB",
        "here p50 ms",
        "server p50 ms",
        "added p50 ms",
        "here min",
        "server min",
    )
    print(table(header, costs))
    rates = [
        (
            str(one.devices),
            f"{one.faces_per_s:.0f}",
            f"{one.latency.p50:.1f}",
            f"{one.latency.p95:.1f}",
            str(one.late),
            str(one.failed),
        )
        for one in found.rates
    ]
    late = f"over {settings.remote.timeout_ms:.0f} ms"
    print()
    print(table(("devices", "faces/s", "p50 ms", "p95 ms", late, "failed"), rates))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps({"machine": describe_machine(), **asdict(found)}, indent=1) + "\n")
    return ExitCode.DONE
