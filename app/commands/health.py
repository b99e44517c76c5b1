"""Ask a run or a server whether it does its work."""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import List, Tuple

from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.settings.reader import EffectiveSettings

DESCRIPTION = """Asks the program on this machine, started with the same settings, whether it does its work: a run on
its port for metrics or, if nothing listens there, the server (`serve`). For the health check of a container and for
scripts: prints one line, takes at most 5 seconds. docs/monitoring.md explains it."""

EXAMPLES = """examples:
  python -m app health
  python -m app health --metrics-port 9464         only a run
  python -m app health --port 18081                only a server
exit codes: 0 it does its work; 1 it does not, or does not answer; 2 a wrong option or setting"""

TIMEOUT_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_options(parser, sections=("monitoring", "serve.host", "serve.port", "serve.tls_cert"))
    parser.set_defaults(**{"serve.enabled": True})


def execute(arguments: argparse.Namespace) -> int:
    asked = addresses(effective_settings(arguments))
    for address in asked:
        try:
            status, body = ask(address)
        except OSError as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ConnectionRefusedError) and address != asked[-1]:
                continue
            print(f"no answer from {address}: {reason}; does the program run, with this port?")
            return ExitCode.INCOMPLETE
        except http.client.HTTPException:
            status, body = 200, b""
        return verdict(address, status, body)
    raise AssertionError("there is always a server to ask")


def addresses(effective: EffectiveSettings) -> List[str]:
    """Where to ask. An option that names one port leaves the other out."""
    monitoring, serve = effective.settings.monitoring, effective.settings.serve
    found = {"serve.port": _address("http" if serve.tls_cert is None else "https", serve.host, serve.port)}
    if monitoring.port:
        found = {"monitoring.port": _address("http", monitoring.host, monitoring.port), **found}
    named = [address for key, address in found.items() if effective.origins[key].startswith("--")]
    return named or list(found.values())


def _address(scheme: str, host: str, port: int) -> str:
    host = _ANY.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/health"


def ask(address: str) -> Tuple[int, bytes]:
    """Raises OSError without an answer."""
    # The certificate has the name that clients use, not that of this machine; nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # No proxy may answer in the place of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(address, timeout=TIMEOUT_S) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def verdict(address: str, status: int, body: bytes) -> int:
    """Prints a line. The server says less than a run: its answer has no problems."""
    try:
        health = json.loads(body)
        problems = ", ".join(health.get("problems", ())) or "no problems"
        print(f"{health['status']}: {problems}")
    except (ValueError, KeyError, TypeError, AttributeError):
        if status == 200:
            print(f"{address} is served by another program")
            return ExitCode.INCOMPLETE
        print(f"failing: {address} answered with status {status}")
    return ExitCode.DONE if status == 200 else ExitCode.INCOMPLETE
