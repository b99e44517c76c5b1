"""Runtimes in native code: a missing package differs from a broken one, and Ctrl-C during an import remains Ctrl-C."""

import signal
import threading

import pytest

from app.errors import ModelError
from app.inference.host import available_memory, importing


def test_a_missing_package_is_an_error_with_an_install_command():
    with pytest.raises(ModelError, match=r"^Abacus .*pip install no_such_abacus"), importing(
        "no_such_abacus", "Abacus"
    ):
        import no_such_abacus  # noqa: F401


@pytest.mark.parametrize(
    "source", ["raise ImportError('initialization failed')", "import no_such_part"], ids=["refuses", "lacks a part"]
)
def test_a_package_that_cannot_be_loaded_is_not_called_missing(monkeypatch, tmp_path, source):
    (tmp_path / "broken_abacus.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"^Abacus (?!.*pip install)"), importing("broken_abacus", "Abacus"):
        import broken_abacus  # noqa: F401


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_is_delayed_until_the_import_is_over(fails):
    reached = False
    with pytest.raises(KeyboardInterrupt), importing("abacus", "Abacus"):
        signal.raise_signal(signal.SIGINT)
        reached = True
        if fails:
            raise ImportError("initialization failed")
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_imports_as_well():
    done = []

    def load():
        with importing("json", "JSON"):
            import json

            done.append(json)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert done


def test_available_memory(tmp_path):
    meminfo = tmp_path / "meminfo"
    assert available_memory(meminfo) is None
    meminfo.write_text("MemTotal:        4059480 kB\nMemFree:          100000 kB\nMemAvailable:     812000 kB\n")
    assert available_memory(meminfo) == 812000 * 1024
    assert available_memory() > 0
