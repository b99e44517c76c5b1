"""The argument parser of all commands: it reports a mistake in one line instead of a page of usage."""

from __future__ import annotations

import argparse
import re
import sys
from itertools import takewhile
from typing import Any, Iterable, List, NoReturn, Optional

from app.errors import ExitCode
from app.text import program, program_name, python, suggestion


class CommandParser(argparse.ArgumentParser):
    """Suggests what was meant and where the help is; without an action it prints the help itself.

    So do the parsers of actions, which `add_subparsers` makes of the same class. Examples written with `python -m` are
    shown so that they can be copied. `commands` are those that the user may have meant if none was given.
    """

    def __init__(self, epilog: Optional[str] = None, commands: Iterable[str] = (), **facts: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            epilog=epilog and re.sub("python -m (app)?", lambda found: _started(found[1]), epilog),
            **facts,
        )
        self._commands = tuple(commands)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Unknown options are reported first: if a required one is missing, it may be that one, misspelt.

        Only this parser's own options are checked; what follows an action is for the parser of the action.
        """
        words = list(sys.argv[1:] if args is None else args)
        if not words and any(actions.required for actions in self._actions_of_commands()):
            self.print_help(sys.stderr)
            self.exit(ExitCode.USER_ERROR)
        names = [name for actions in self._actions_of_commands() for name in actions.choices or ()]
        positional = next((action for action in self._actions if not action.option_strings), None)
        if isinstance(positional, argparse._SubParsersAction) and words and not words[0].startswith("-"):
            self._check_value(positional, words[0])
        known = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        for word in takewhile(lambda word: word != "--" and word not in names, words):
            option = word.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                place = "; options go after the action" if names else ""
                self.error(f"unknown option {option}{suggestion(option, known, place)}")
        parsed, surplus = super().parse_known_args(words, namespace)
        if surplus:
            named = [word for word in surplus if word in self._commands]
            hint = f"; the command comes first: {program()} {named[0]}" if named else ""
            self.error(f"unexpected argument: {' '.join(surplus)}{hint}")
        return parsed, surplus

    def error(self, message: str) -> NoReturn:
        shown = message[len("argument ") :] if message.startswith("argument ") else message
        self.exit(ExitCode.USER_ERROR, f"error: {shown}\nsee: {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Suggests an action or lists the choices, in shorter words than argparse."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown action {value!r}{suggestion(value, action.choices)}")
        expected = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(action, f"{str(value)!r}: expected one of {expected}")

    def _actions_of_commands(self) -> List[argparse.Action]:
        return [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]


def _started(module: Optional[str]) -> str:
    return program_name() if module else f"{python()} -m "
