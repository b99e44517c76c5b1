"""The command line: one file per command in `app/commands/`; without a command it is `run`."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Optional, Sequence, TextIO, Tuple

from app import __version__
from app.capture.uri import PICTURE_SUFFIXES
from app.commands.parser import CommandParser
from app.credentials import refuse_telemetry
from app.errors import AppError, CombinedError, ExitCode, FatalError
from app.files import IS_CHECKOUT
from app.text import (
    install_hint,
    printable,
    printable_lines,
    program_name,
    repeat_in_hints,
    suggestion,
)

COMMANDS = {
    "run": "recognise people in live video or recordings (the default)",
    "serve": "answer requests over HTTP, with or without sources",
    "tokens": "make, list and remove the tokens of clients of `serve`",
    "demo": "try it without a camera: make a short video and recognise two people in it",
    "replay": "run a recording by its own clock; two runs give the same events",
    "events": "list events of a log, visits, and a summary of each day",
    "explain": "say why a face in an event got its name, or got none",
    "people": "list, add, remove and check the people in the gallery",
    "fleet": "share the gallery with other devices, in a PostgreSQL database",
    "frigate": "name the people that Frigate sees, and write the names into it",
    "cameras": "find ONVIF cameras in the network, and the addresses of their streams",
    "who": "name the people in pictures, with the nearest three for each face",
    "calibrate": "find the threshold at which strangers rarely get a name, for your gallery",
    "batch": "find every face of an archive of pictures and videos; search and name them",
    "scan": "draw the faces of pictures, and check them against annotations, here or on a server",
    "compare": "say whether two pictures show the same person",
    "engines": "list, download, import, build and compare models",
    "bench": "measure the speed of this machine, stage by stage",
    "health": "ask a run whether it does its work, as for the health check of a container",
    "doctor": "check this machine for what the program needs, and say how to fix it",
    "soak": "break things on purpose for an hour, and check that the program goes on",
    "evaluate": "measure the accuracy of the models on labelled pictures",
}

SOURCE_WORDS = ("rtsp", "camera", "csi", "video", "images")
SOURCE_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts", ".mpg", ".mpeg", *PICTURE_SUFFIXES)
"""An unknown command with one of these is meant as a source."""

BEFORE_COMMAND = {"--config": "config", "--gallery": "gallery.folder"}
"""Options that hints repeat, and may therefore also stand before the command; what they are after parsing."""
PACKAGES = {"cv2": "opencv-python-headless", "faiss": "faiss-cpu", "yaml": "pyyaml", "skimage": "scikit-image"}
"""Names for pip of modules that a command cannot do without, where they differ."""
EXTRAS = {"headless": ("cv2",), "cpu": ("onnxruntime",), "demo": ("skimage", "matplotlib")}
"""Modules that are usually installed, and missing, together."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command and returns the exit code of the process."""
    refuse_telemetry()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"{__version__}\n")
        return ExitCode.DONE
    try:
        with contextlib.redirect_stdout(SafeStandardOutput(sys.stdout)):
            code = _run(words)
        sys.stdout.flush()
        return code
    except FatalError as error:
        _report_errors(error)
        return ExitCode.FAILED
    except AppError as error:
        return _report_errors(*(error.errors if isinstance(error, CombinedError) else (error,)))
    except KeyboardInterrupt as interruption:
        _print_error(f"interrupted: {interruption}" if interruption.args else "interrupted")
        return ExitCode.INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The reader of the output is gone, as after `| head`, or a terminal that was closed. Python would complain
        # again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.USER_ERROR
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "app":
            raise
        module = (error.name or "").split(".")[0]
        missing = _missing_with(module)
        install = install_hint(*(PACKAGES.get(one, one) for one in missing))
        if not IS_CHECKOUT:
            extras = ",".join(extra for extra, modules in EXTRAS.items() if {*modules} & {*missing})
            with_extras = f"; or, in the folder of the source, pip install '.[{extras}]'" if extras else ""
            return _report_errors(f"not installed: {', '.join(missing)}; install with: {install}{with_extras}")
        return _report_errors(
            f"{sys.executable} has no package {module!r}; use the Python of this program's environment, "
            f".venv/bin/python, or make the environment: make install; or install only: {install}"
        )


def _missing_with(module: str) -> List[str]:
    """This module, and those of `EXTRAS` that a command would miss next."""
    has_backend = any(importlib.util.find_spec(name) for name in ("onnxruntime", "openvino", "tensorrt"))
    needed = [*EXTRAS["headless"], *(() if has_backend else EXTRAS["cpu"])]
    needed += EXTRAS["demo"] if module in EXTRAS["demo"] or "demo" in sys.argv[1:2] else ()
    if module not in needed:
        return [module]
    return [one for one in needed if one == module or importlib.util.find_spec(one) is None]


class SafeStandardOutput:
    """Standard output, to which the names of files and texts of models are printed.

    On a terminal, what it would take as a command is replaced; a pipe gets all characters. A name that is no text is
    written with backslashes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def write(self, text: str) -> int:
        if self._is_terminal:
            text = "\n".join(map(printable, text.split("\n")))
        encoding = self._stream.encoding or "utf-8"
        return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def leave(code: int) -> NoReturn:
    """Ends the process. A thread that was left behind in native code (reading a camera that hangs) would abort the
    process if it returned while Python shuts down."""
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a terminal that was closed
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _run(words: List[str]) -> int:
    repeat_in_hints()
    given, words = _before_command(words)
    named = bool(words) and not words[0].startswith("-")
    name = words.pop(0) if named else "run"
    if name not in COMMANDS:
        looks_like_source = (
            "://" in name or name in SOURCE_WORDS or Path(name).suffix.lower() in SOURCE_SUFFIXES or Path(name).exists()
        )
        if looks_like_source:
            return _report_errors("a source needs an option: --video FILE, --images DIR, --rtsp URL or --camera N")
        return _report_errors(f"unknown command {name!r}{suggestion(name, COMMANDS)}")
    command = importlib.import_module(f"app.commands.{name}")
    if hasattr(command, "with_default_action"):
        words = command.with_default_action(words)
    width = max(map(len, COMMANDS))
    overview = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    overview = ["commands (see also: python -m app COMMAND --help):", *overview, "", command.EXAMPLES]
    parser = CommandParser(
        prog=f"{program_name()} {name}" if named else program_name(),
        description=command.DESCRIPTION,
        epilog=command.EXAMPLES if named else "\n".join(overview),
        commands=() if named else COMMANDS,
    )
    command.add_arguments(parser)
    parsed = parser.parse_args(words)
    facts = vars(parsed)
    for option, value in given.items():
        if "config" not in facts:
            parser.error(f"{option}: this command takes no settings")
        if facts.get(BEFORE_COMMAND[option]) is None:
            facts[BEFORE_COMMAND[option]] = Path(value)
    repeated = [(option, facts[key]) for option, key in BEFORE_COMMAND.items() if facts.get(key) is not None]
    repeat_in_hints(*(str(word) for pair in repeated for word in pair))
    return int(command.execute(parsed))


def _before_command(words: List[str]) -> Tuple[Dict[str, str], List[str]]:
    """`--config FILE` and `--gallery DIR` that stand before the name of a command, and the other words."""
    given: Dict[str, str] = {}
    rest = list(words)
    while len(rest) > 1 and rest[0].partition("=")[0] in BEFORE_COMMAND:
        option, equals, value = rest.pop(0).partition("=")
        given[option] = value if equals else rest.pop(0)
    return (given, rest) if rest and not rest[0].startswith("-") else ({}, words)


def _report_errors(*messages: object) -> int:
    for message in messages:
        _print_error(f"error: {message}")
    return ExitCode.USER_ERROR


def _print_error(message: str) -> None:
    """Replaces the progress line, if there is one."""
    message = printable_lines(message)
    sys.stderr.write(f"\r\x1b[K{message}\n" if sys.stderr.isatty() else f"{message}\n")
