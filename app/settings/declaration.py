"""How a setting is declared, and what is known of it: its type, default, bounds and description."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from app.files import PROGRAM_FOLDER


def setting(
    default: Any,
    help: str,
    *,
    flag: Optional[str] = None,
    metavar: Optional[str] = None,
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    choices: Optional[Sequence[str]] = None,
    secret: bool = False,
    parse: Optional[Callable[[str], object]] = None,
) -> Any:
    """A field of the tree with what the reader and the command line need to know. A secret value is never shown.

    `parse` raises ValueError for a text that does not have the right form.
    """
    facts = {
        "help": help,
        "flag": flag,
        "metavar": metavar,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "secret": secret,
        "parse": parse,
    }
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class SettingInfo:
    """One setting: its place in the tree and the values it takes."""

    key: str
    """Dotted, as in `recognition.threshold`."""
    value_type: type
    optional: bool
    default: Any
    help: str
    flag: Optional[str]
    metavar: Optional[str]
    minimum: Optional[float]
    maximum: Optional[float]
    choices: Optional[Sequence[str]]
    secret: bool
    parse: Optional[Callable[[str], object]]

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def shown_default(self) -> str:
        """For help and templates: the same on every machine."""
        if isinstance(self.default, Path) and PROGRAM_FOLDER in self.default.parents:
            return str(self.default.relative_to(PROGRAM_FOLDER))
        return as_yaml(self.default)


def as_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
