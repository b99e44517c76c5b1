"""The import of runtimes in native code: it succeeds, or ends with what is to be done."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Iterator, List

from app.errors import ModelError
from app.text import install_hint


@contextlib.contextmanager
def importing(package: str, called: str) -> Iterator[None]:
    """Stands around the import of `package`, which people know as `called`."""
    try:
        with _ctrl_c_held_back():
            yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ModelError(f"{called} is missing ({error}); install it with: {install_hint(package)}") from error
        raise ModelError(f"{called} is installed but cannot be loaded ({error})") from error


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Ctrl-C counts from the end on: amid native code it would look like a package that cannot be loaded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: List[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
