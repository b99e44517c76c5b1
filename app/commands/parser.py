"""What the parsers of all commands have in common: a mistake is answered in one line, not with a page of usage."""

from __future__ import annotations

import argparse
import sys
from itertools import takewhile
from typing import Any, Iterable, List, NoReturn, Optional, Sequence

from app.errors import ExitCode
from app.text import program, python, suggestion


class CommandParser(argparse.ArgumentParser):
    """Answers a mistake with what was meant and where the help is, and a missing action with the help itself.

    Parsers of actions, which `add_subparsers` makes of the same class, do so too. Examples, written with
    `python -m`, are shown as they can be copied. The `commands` are those that may be meant where none was named.
    """

    def __init__(self, epilog: Optional[str] = None, commands: Iterable[str] = (), **facts: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            epilog=epilog and epilog.replace("python -m ", f"{python()} -m "),
            **facts,
        )
        self._commands = tuple(commands)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """An unknown option is told first: where something is missing, it may be that, misspelt."""
        words = list(sys.argv[1:] if args is None else args)
        if not words and any(actions.required for actions in self._actions_of_commands()):
            self.print_help(sys.stderr)
            self.exit(ExitCode.USER_ERROR)
        self._require_known_options(words)
        parsed, surplus = super().parse_known_args(words, namespace)
        if surplus:
            named = [word for word in surplus if word in self._commands]
            way_out = f"; a command comes first: {program()} {named[0]}" if named else ""
            self.error(f"not understood: {' '.join(surplus)}{way_out}")
        return parsed, surplus

    def error(self, message: str) -> NoReturn:
        told = message[len("argument ") :] if message.startswith("argument ") else message
        self.exit(ExitCode.USER_ERROR, f"error: {told}\n{self.prog} --help tells more\n")

    def _require_known_options(self, words: Sequence[str]) -> None:
        """Of this parser's own: what follows an action is for the action's parser."""
        names = [name for actions in self._actions_of_commands() for name in actions.choices or ()]
        known = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        for word in takewhile(lambda word: word != "--" and word not in names, words):
            option = word.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                place = "; options stand behind the action that they are for" if names else ""
                self.error(f"there is no option {option}{suggestion(option, known, place)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Says of a wrong action what argparse says by a list of all of them."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"{self.prog} has no {value!r}{suggestion(value, action.choices)}")
        expected = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(action, f"{str(value)!r}: expected one of {expected}")

    def _actions_of_commands(self) -> List[argparse.Action]:
        return [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
