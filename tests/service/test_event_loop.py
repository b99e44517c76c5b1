"""Which event loop runs the HTTP server."""

import asyncio
import sys
import types

import pytest

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
