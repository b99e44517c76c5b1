"""Options that several commands share, made from the declarations in `app/settings/schema.py`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, List, Optional, Tuple

from app.capture.uri import counted_from, parse_named, parse_source
from app.credentials import masked
from app.errors import SourceError
from app.settings import Leaf, leaves
from app.settings.reader import Assignment, EffectiveSettings, Layer, expectation, read_file, resolve

DEFAULT_CONFIG = Path("config.yaml")

SOURCE_OPTIONS = (
    ("--rtsp", "URL", "", "network camera, e.g. rtsp://user:password@192.168.1.20/stream1"),
    ("--camera", "N", "camera:", "USB camera number N"),
    ("--csi", "N", "csi:", "CSI camera number N (Jetson)"),
    ("--video", "FILE", "", "recording, or its http(s) address"),
    ("--images", "DIR", "images:", "folder of pictures, or a pattern such as 'photos/*.jpg'"),
)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sources (repeatable and mixable; NAME=… names the channel)")
    for flag, metavar, prefix, help_text in SOURCE_OPTIONS:
        group.add_argument(
            flag, metavar=metavar, help=help_text, dest="sources", action="append", type=_source_type(flag, prefix)
        )


def add_settings_options(parser: argparse.ArgumentParser, sections: Optional[Iterable[str]] = None) -> None:
    """An option for every setting that has a flag: in these sections, which may be single keys, or in all."""
    group = parser.add_argument_group("settings (each is also a key of config.yaml)")
    wanted = None if sections is None else set(sections)
    for leaf in leaves():
        if leaf.flag is not None and (wanted is None or wanted & {leaf.section, leaf.key}):
            _add_option(group, leaf)
    group.add_argument(
        "--config", metavar="FILE", type=Path, help=f"settings file (default: {DEFAULT_CONFIG}, where there is one)"
    )


def effective_settings(arguments: argparse.Namespace) -> EffectiveSettings:
    """Built-in defaults, overridden by the file, overridden by the command line."""
    layers: List[Layer] = []
    path = arguments.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)
    if path is not None:
        layers.append(_sources_beside(path, read_file(path)))
    by_key = {leaf.key: leaf for leaf in leaves()}
    values = {key: Assignment(value, str(by_key[key].flag)) for key, value in vars(arguments).items() if key in by_key}
    sources = tuple(getattr(arguments, "sources", None) or ())
    layers.append(Layer(values, sources, "command line"))
    return resolve(layers)


def _sources_beside(path: Path, layer: Layer) -> Layer:
    """The file's layer, with its sources counted from its folder, as its other paths are."""
    sources = tuple((name, counted_from(path.parent, address)) for name, address in layer.sources)
    return replace(layer, sources=sources)


def _source_type(flag: str, prefix: str) -> Any:
    def source(text: str) -> Tuple[Optional[str], str]:
        name, address = parse_named(text)
        if flag == "--rtsp" and not address.lower().startswith(("rtsp://", "rtsps://")):
            raise argparse.ArgumentTypeError(f"{masked(address)}: an RTSP address begins with rtsp://")
        if prefix in ("camera:", "csi:"):
            address = _require_camera(flag, prefix, name, address)
        return name, prefix + address

    return source


def _require_camera(flag: str, prefix: str, name: Optional[str], address: str) -> str:
    """The camera's number or device file; `camera:0`, as it is written elsewhere, is understood too."""
    camera = address[len(prefix) :] if address.lower().startswith(prefix) else address
    try:
        parse_source(prefix + camera)
    except SourceError:
        if name is not None and name.isdigit():
            raise argparse.ArgumentTypeError(f"the name comes first: {flag} {masked(address)}={name}") from None
        device = f" or {flag} /dev/video0" if flag == "--camera" else ""
        raise argparse.ArgumentTypeError(f"{masked(address)!r} is no camera: write {flag} 0{device}") from None
    return camera


def _add_option(group: Any, leaf: Leaf) -> None:
    flag = str(leaf.flag)
    if leaf.kind is bool:
        group.add_argument(flag, dest=leaf.key, action="store_true", default=argparse.SUPPRESS, help=leaf.help)
        group.add_argument(
            flag.replace("--", "--no-", 1),
            dest=leaf.key,
            action="store_false",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS if leaf.default is False else f"the opposite of {flag}",
        )
        return
    default = "" if leaf.default is None else f" (default: {leaf.default})"
    group.add_argument(
        flag,
        dest=leaf.key,
        metavar=leaf.metavar or (None if leaf.choices else leaf.name.upper()),
        choices=leaf.choices,
        type=_value_type(leaf),
        default=argparse.SUPPRESS,
        help=leaf.help + default,
    )


def _value_type(leaf: Leaf) -> Any:
    def value(text: str) -> Any:
        try:
            return leaf.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expectation(leaf)}") from None

    return value
