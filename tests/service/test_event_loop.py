"""Which event loop runs the HTTP server."""

import asyncio
import os
import subprocess
import sys
import textwrap
import types

import pytest
from ports import free_port
from shipped import ROOT
from waiting import PATIENT_S

from app.service.server import _run_on_event_loop


async def loop_of(found):
    found.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])


def test_uvloop_is_used_where_it_is_installed():
    pytest.importorskip("uvloop")
    found = []
    _run_on_event_loop(loop_of(found))
    assert found == ["uvloop"]


@pytest.mark.parametrize("installed", [None, types.ModuleType("uvloop")], ids=["none", "one before 0.18"])
def test_without_it_the_loop_of_asyncio_is_used(monkeypatch, installed):
    monkeypatch.setitem(sys.modules, "uvloop", installed)
    found = []
    _run_on_event_loop(loop_of(found))
    assert found == ["asyncio"]


NO_FILES_LEFT = """
    import os, resource, sys
    from app.errors import FatalError
    from app.service.server import HttpServer
    from app.settings.serve import ServeSettings

    with HttpServer(ServeSettings(port=int(sys.argv[1]))) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            server.start(None)
        except FatalError:
            print("refused")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
"""


def test_a_server_that_gets_no_event_loop_is_not_waited_for():
    command = [sys.executable, "-c", textwrap.dedent(NO_FILES_LEFT), str(free_port())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENT_S)
    assert run.stdout == b"refused\n", run.stderr.decode()
