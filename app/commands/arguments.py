"""What commands share: types of arguments, each of which reads one text or says what was expected, and actions."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Callable, Mapping, Optional, Sequence, Tuple, TypeVar

from app.text import bounds, parse_size

T = TypeVar("T")


def whole_number(minimum: int = 0, maximum: Optional[int] = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not minimum <= int(text) <= (maximum or int(text)):
            raise expected(text, "a whole number" + bounds(minimum, maximum))
        return int(text)

    return parse


def number(minimum: float = 0, maximum: Optional[float] = None) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        # NaN fails every comparison.
        if not minimum <= value <= (float("inf") if maximum is None else maximum):
            raise expected(text, "a number" + bounds(minimum, maximum))
        return value

    return parse


def positive(maximum: float, unit: str = "a number") -> Callable[[str], float]:
    """More than 0, which `number` cannot say."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= maximum:
            raise expected(text, f"{unit} above 0, up to {maximum:g}")
        return value

    return parse


share = positive(1)
"""A threshold of a score or an overlap."""


def picture_size(smallest: int, largest: int = 4096, multiple: int = 1) -> Callable[[str], Tuple[int, int]]:
    """Width and height, `640x480`."""

    def parse(text: str) -> Tuple[int, int]:
        try:
            size = parse_size(text)
        except ValueError:
            size = (-1, -1)
        if not all(smallest <= side <= largest and side % multiple == 0 for side in size):
            step = f" and a multiple of {multiple}" if multiple > 1 else ""
            raise expected(text, f"WIDTHxHEIGHT such as 640x480, each{bounds(smallest, largest)}{step}")
        return size

    return parse


def several(parse_one: Callable[[str], T]) -> Callable[[str], Tuple[T, ...]]:
    """Values separated by commas; repeated ones count once."""
    return lambda text: tuple(dict.fromkeys(map(parse_one, text.split(","))))


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """For lists; a single value takes argparse's `choices`."""

    def parse(text: str) -> str:
        if text not in names:
            raise expected(text, f"one of {', '.join(names)}")
        return text

    return parse


def word_or(word: str, value: T, parse: Callable[[str], T]) -> Callable[[str], T]:
    """A word that stands for a value, or else what `parse` reads."""

    def parse_either(text: str) -> T:
        if text == word:
            return value
        try:
            return parse(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, or the word {word}") from None

    return parse_either


def expected(text: str, what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r}: expected {what}")


def add_actions(parser: argparse.ArgumentParser, package: str, actions: Mapping[str, Tuple[str, str]]) -> None:
    """For a command that is a package: each action is a module of it, given with its help."""
    choices = parser.add_subparsers(title="actions", dest="action", metavar="|".join(actions), required=True)
    for name, (module_name, purpose) in actions.items():
        module = importlib.import_module(f"{package}.{module_name}")
        action = choices.add_parser(
            name, help=purpose, description=module.DESCRIPTION or purpose, epilog=module.EXAMPLES
        )
        module.add_arguments(action)


def execute_action(arguments: argparse.Namespace, package: str, actions: Mapping[str, Tuple[str, str]]) -> int:
    return int(importlib.import_module(f"{package}.{actions[arguments.action][0]}").execute(arguments))
