"""Ask a run that serves /health whether it does its work."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request

from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.text import program

DESCRIPTION = """Asks a run on this machine, started with the same settings, whether it does its work. For the health
check of a container and for scripts: prints one line, takes at most 5 seconds. docs/monitoring.md explains it."""

EXAMPLES = """examples:
  python -m app health
  python -m app health --metrics-port 9464
exit codes: 0 the run does its work; 1 it does not, or does not answer; 2 a wrong option or setting"""

TIMEOUT_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_options(parser, sections=("monitoring",))


def execute(arguments: argparse.Namespace) -> int:
    monitoring = effective_settings(arguments).settings.monitoring
    if not monitoring.port:
        print(
            f"unknown: no port is set: start the run with --metrics-port 9464, then: {program()} health "
            "--metrics-port 9464"
        )
        return ExitCode.INCOMPLETE
    host = _ANY.get(monitoring.host, monitoring.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{monitoring.port}/health"
    try:
        # No proxy may answer in the place of this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=TIMEOUT_S) as reply:
            is_healthy, body = True, reply.read()
    except urllib.error.HTTPError as error:
        is_healthy, body = False, error.read()
    except OSError as error:
        print(f"no answer from {address}: {getattr(error, 'reason', error)}; does the program run, with this port?")
        return ExitCode.INCOMPLETE
    try:
        health = json.loads(body)
        problems = ", ".join(health["problems"]) or "no problems"
        print(f"{health['status']}: {problems}")
    except (ValueError, KeyError, TypeError):
        print(f"{address} is served by another program")
        return ExitCode.INCOMPLETE
    return ExitCode.DONE if is_healthy else ExitCode.INCOMPLETE
