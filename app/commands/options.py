"""Options that several commands share, made from the declarations in `app/settings/schema.py`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, List, Optional, Tuple

from app.capture.uri import counted_from, parse_named, parse_source
from app.credentials import masked
from app.errors import SourceError
from app.files import PROGRAM_FOLDER
from app.settings import SettingInfo, all_settings
from app.settings.reader import (
    COMMAND_LINE,
    DEFAULT,
    Assignment,
    EffectiveSettings,
    Layer,
    expectation,
    read_file,
    resolve,
)
from app.settings.template import TEMPLATE
from app.text import from_here

OWN_SETTINGS = PROGRAM_FOLDER / "config.local.yaml"
"""The user's own settings, which git ignores."""

SOURCE_OPTIONS = (
    ("--rtsp", "URL", "", "network camera, e.g. rtsp://user:password@192.168.1.20/stream1"),
    ("--camera", "N", "camera:", "USB camera number N"),
    ("--csi", "N", "csi:", "CSI camera number N (Jetson)"),
    ("--video", "FILE", "", "recording, or its http(s) address"),
    ("--images", "DIR", "images:", "folder of pictures, or a pattern such as 'photos/*.jpg'"),
)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sources (can be repeated and combined; NAME=… names the channel)")
    for flag, metavar, prefix, help_text in SOURCE_OPTIONS:
        group.add_argument(
            flag, metavar=metavar, help=help_text, dest="sources", action="append", type=_source_type(flag, prefix)
        )


def add_settings_options(parser: argparse.ArgumentParser, sections: Optional[Iterable[str]] = None) -> None:
    """An option for every setting that has a flag: in these sections, which may be single keys, or in all."""
    group = parser.add_argument_group("settings (each is also a key of the settings file, see config.yaml)")
    wanted = None if sections is None else set(sections)
    for info in all_settings():
        if info.flag is not None and (wanted is None or wanted & {info.section, info.key}):
            _add_option(group, info)
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"settings file, read instead of {TEMPLATE.name} and {OWN_SETTINGS.name} next to the program",
    )


def effective_settings(arguments: argparse.Namespace) -> EffectiveSettings:
    """Defaults, overridden by settings files, overridden by the command line.

    Relative paths in a file count from its folder, those on the command line from the current folder.
    """
    # Paths next to the program are shortened, so that messages of a program started there are short.
    defaults = {
        info.key: Assignment(from_here(info.default), DEFAULT)
        for info in all_settings()
        if isinstance(info.default, Path)
    }
    layers: List[Layer] = [Layer(defaults)]
    for path in settings_files(arguments):
        layer = read_file(path)
        sources = tuple((name, counted_from(path.parent, address)) for name, address in layer.sources)
        layers.append(replace(layer, sources=sources))
    flags = {info.key: str(info.flag) for info in all_settings()}
    values = {key: Assignment(value, flags[key]) for key, value in vars(arguments).items() if key in flags}
    sources = tuple(getattr(arguments, "sources", None) or ())
    layers.append(Layer(values, sources, COMMAND_LINE))
    return resolve(layers)


def given_settings(arguments: argparse.Namespace) -> List[str]:
    """The options of settings that were given, to start another program with them."""
    words = [] if arguments.config is None else ["--config", str(arguments.config)]
    for info in all_settings():
        value = getattr(arguments, info.key, None)
        if info.flag is None or value is None:
            continue
        if isinstance(value, bool):
            words.append(info.flag if value else info.flag.replace("--", "--no-", 1))
        else:
            words += [info.flag, str(value)]
    return words


def settings_files(arguments: argparse.Namespace) -> List[Path]:
    """`config.yaml` and `config.local.yaml` next to the program if they exist; with --config only that file."""
    if arguments.config is not None:
        return [arguments.config]
    return [from_here(path) for path in (TEMPLATE, OWN_SETTINGS) if path.is_file()]


def _source_type(flag: str, prefix: str) -> Callable[[str], Tuple[Optional[str], str]]:
    def source(text: str) -> Tuple[Optional[str], str]:
        name, address = parse_named(text)
        if flag == "--rtsp" and not address.lower().startswith(("rtsp://", "rtsps://")):
            raise argparse.ArgumentTypeError(
                f"{masked(address)!r}: expected an address that begins with rtsp:// or rtsps://"
            )
        if prefix in ("camera:", "csi:"):
            address = _camera(flag, prefix, name, address)
        return name, prefix + address

    return source


def _camera(flag: str, prefix: str, name: Optional[str], address: str) -> str:
    """The camera's number or device file. `camera:0`, the form in settings files, is accepted too."""
    camera = address[len(prefix) :] if address.lower().startswith(prefix) else address
    try:
        parse_source(prefix + camera)
    except SourceError:
        if name is not None and name.isdigit():
            raise argparse.ArgumentTypeError(f"the name comes first: {flag} {masked(address)}={name}") from None
        device = f" or {flag} /dev/video0" if flag == "--camera" else ""
        raise argparse.ArgumentTypeError(f"{masked(address)!r}: not a camera; write {flag} 0{device}") from None
    return camera


def _add_option(group: Any, info: SettingInfo) -> None:
    flag = str(info.flag)
    if info.value_type is bool:
        group.add_argument(flag, dest=info.key, action="store_true", default=argparse.SUPPRESS, help=info.help)
        group.add_argument(
            flag.replace("--", "--no-", 1),
            dest=info.key,
            action="store_false",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS if info.default is False else f"do not {info.help.split(';')[0]}",
        )
        return

    def value(text: str) -> Any:
        try:
            return info.value_type(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expectation(info)}") from None

    group.add_argument(
        flag,
        dest=info.key,
        metavar=info.metavar or (None if info.choices else info.name.upper()),
        choices=info.choices,
        type=value,
        default=argparse.SUPPRESS,
        help=info.help + ("" if info.default is None else f" (default: {info.shown_default})"),
    )
