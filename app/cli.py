"""The command line: one subcommand a file in `app/commands/`; no subcommand means `run`."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path
from typing import List, NoReturn, Optional, Sequence

from app import __version__
from app.capture.uri import PICTURE_SUFFIXES
from app.commands.parser import CommandParser
from app.errors import AppError, CombinedError, ExitCode
from app.text import program, suggestion

COMMANDS = {
    "run": "recognise people in live video or recordings (the default)",
    "demo": "see it work without a camera: makes a short film and recognises two people in it",
    "people": "list, add, remove and check the people in the gallery",
    "compare": "say whether two pictures show the same person",
    "engines": "the models: list, download, import your own, build them for TensorRT, compare",
    "bench": "measure how fast this machine does it, stage by stage",
    "doctor": "check whether this machine has what the program needs, and say what to do",
    "evaluate": "measure how good the networks are, on labelled pictures",
}

SOURCE_WORDS = ("rtsp", "camera", "csi", "video", "images")
SOURCE_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts", ".mpg", ".mpeg", *PICTURE_SUFFIXES)
"""What a word that is no command was meant as."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command; the value is the process's exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"{__version__}\n")
        return ExitCode.DONE
    try:
        return _run(words)
    except AppError as error:
        return _complain(*(error.errors if isinstance(error, CombinedError) else (error,)))
    except KeyboardInterrupt as interruption:
        return _tell(f"interrupted: {interruption}" if interruption.args else "interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; nothing is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.USER_ERROR
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "app":
            raise
        return _complain(
            f"{sys.executable} has no package {error.name!r}; use the environment that was made for this program, "
            ".venv/bin/python, or make one: make install"
        )


def leave(code: int) -> NoReturn:
    """Ends the process. A thread that was left behind in native code, reading a camera that hangs, would abort it if it
    came back while Python is being taken down."""
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(words: List[str]) -> int:
    named = bool(words) and not words[0].startswith("-")
    name = words.pop(0) if named else "run"
    if name not in COMMANDS:
        return _complain(_no_such_command(name))
    command = importlib.import_module(f"app.commands.{name}")
    parser = CommandParser(
        prog=f"{program()} {name}" if named else program(),
        description=command.DESCRIPTION,
        epilog=command.EXAMPLES if named else _overview(command.EXAMPLES),
        commands=() if named else COMMANDS,
    )
    command.add_arguments(parser)
    return int(command.execute(parser.parse_args(words)))


def _complain(*messages: object) -> int:
    return _tell("\n".join(f"error: {message}" for message in messages), ExitCode.USER_ERROR)


def _tell(message: str, code: int) -> int:
    """In place of the progress line, where one stands."""
    sys.stderr.write(f"\r\x1b[K{message}\n" if sys.stderr.isatty() else f"{message}\n")
    return code


def _no_such_command(name: str) -> str:
    if "://" in name or Path(name).exists() or Path(name).suffix.lower() in SOURCE_SUFFIXES or name in SOURCE_WORDS:
        return "a source needs its option before it: --video FILE, --images DIR, --rtsp URL or --camera N"
    return f"there is no command {name!r}{suggestion(name, COMMANDS)}"


def _overview(examples: str) -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(["commands (python -m app COMMAND --help tells more):", *lines, "", examples])
