"""The own API keeps to its OpenAPI document, whatever it is sent: schemathesis against a real server."""

import os
import subprocess
import sys

import pytest
from shipped import ROOT

EXAMPLES = 40
WITHOUT_END = "/stream$|/mjpeg$|/live$"
"""Replies that go on and on, and a WebSocket."""


@pytest.mark.slow
def test_the_api_is_as_its_document_says(home, tmp_path, caplog):
    pytest.importorskip("schemathesis", reason="needs Python 3.11 or newer")
    command = [
        sys.executable, "-m", "schemathesis.cli",
        "--config-file", str(ROOT / "tests" / "service" / "schemathesis.toml"),
        "run", f"http://127.0.0.1:{home.port}/openapi.json",
        "--phases", "coverage,fuzzing", "--exclude-path-regex", WITHOUT_END,
        "--max-examples", str(EXAMPLES), "--generation-deterministic",
        "--request-timeout", "30", "--no-color", "--continue-on-failure", "--warnings", "off",
        "--suppress-health-check", "too_slow",  # which is up to the machine
        "--generation-with-security-parameters", "false",
        # Who may do what is for test_guard.py.
        "--exclude-checks", "ignored_auth,use_after_free,ensure_resource_availability",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, env={**os.environ, "CI": "1"}, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-20000:]
    # Every request was answered: none took the server down.
    assert home.get("/api/v1/health").status == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
