"""Find ONVIF cameras and the addresses of their streams."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import quote

from app.commands.arguments import number
from app.credentials import HIDDEN, has_secret, masked, read_secret
from app.errors import ExitCode, SettingsError, SourceError
from app.text import counted, printable
from app.tools.onvif.device import OnvifDevice, Stream
from app.tools.onvif.discovery import Device, discover

DESCRIPTION = """Asks the networks of this machine for ONVIF cameras, and each camera for the addresses of its streams.
What it prints can be pasted into config.local.yaml. Nothing is changed on the cameras."""

EXAMPLES = """examples:
  python -m app cameras
  python -m app cameras --user admin --password env:CAMERA_PASSWORD
  python -m app cameras 192.168.1.20 192.168.1.21:8000 --user admin --password file:/run/secrets/cameras
the password is not sent itself, and not printed: addresses refer to it (docs/cameras.md)

exit codes: 0 done; 1 no camera was found, or one did not say its addresses; 2 a wrong option"""

MIN_SMALL_PIXELS = 640 * 352
"""Of a stream in which faces can be found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "hosts", metavar="HOST", nargs="*", help="ask these cameras, HOST, HOST:PORT or the address of their service"
    )
    parser.add_argument("--user", metavar="NAME", help="user for all cameras; many have separate users for ONVIF")
    parser.add_argument("--password", metavar="WHERE", help="where the password is: env:NAME or file:PATH")
    parser.add_argument(
        "--wait",
        metavar="S",
        type=number(0.1, 60),
        default=3.0,
        help="seconds to wait for answers to the search (default: 3)",
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=number(0.1, 60),
        default=5.0,
        help="seconds after which a request to a camera has failed (default: 5)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per camera")


def execute(arguments: argparse.Namespace) -> int:
    if (arguments.user is None) != (arguments.password is None):
        raise SettingsError("--user and --password belong together")
    login = None
    if arguments.user is not None:
        login = (arguments.user, read_secret(arguments.password, "--password"))
    devices = [Device(_service(host)) for host in arguments.hosts] or discover(arguments.wait)
    if not devices:
        sys.stderr.write("no camera answered; if ONVIF is on, and the camera is in another network, give its address\n")
        return ExitCode.INCOMPLETE
    asked = [(device, *_asked(device, login, arguments.timeout)) for device in devices]
    if arguments.json:
        for device, streams, error in asked:
            print(json.dumps(_facts(device, streams, error, arguments), ensure_ascii=False))
    else:
        print(f"# {counted(len(devices), 'camera')}")
        if any(streams for _, streams, _ in asked):
            print("sources:")
        taken: Dict[str, int] = {}
        for device, streams, error in asked:
            print("\n".join(_lines(device, streams, error, arguments, taken)))
    return ExitCode.INCOMPLETE if any(error for *_, error in asked) else ExitCode.DONE


def _asked(device: Device, login: Optional[Tuple[str, str]], timeout_s: float) -> Tuple[List[Stream], str]:
    """The streams of a camera, or why there are none."""
    try:
        streams = OnvifDevice(device.address, login, timeout_s).streams()
    except SourceError as error:
        return [], str(error)
    return streams, "" if streams else f"{device.host}: it has no streams of video"


def _service(host: str) -> str:
    address = host if "://" in host else f"http://{host}/onvif/device_service"
    if not re.fullmatch(r"https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*(/[!-~]*)?", address):
        raise SettingsError(f"{masked(host)!r}: expected a camera such as 192.168.1.20 or 192.168.1.20:8000")
    return address


def _facts(device: Device, streams: List[Stream], error: str, arguments: argparse.Namespace) -> Dict[str, Any]:
    return {
        "host": device.host,
        "service": device.address,
        "name": device.name,
        "hardware": device.hardware,
        "streams": [
            {
                "name": stream.name,
                "address": _shown(stream, arguments),
                "width": stream.width,
                "height": stream.height,
                "codec": stream.codec,
                "fps": stream.fps,
            }
            for stream in streams
        ],
        "error": error or None,
    }


def _lines(
    device: Device, streams: List[Stream], error: str, arguments: argparse.Namespace, taken: Dict[str, int]
) -> List[str]:
    """Lines of YAML, with everything that is no address in comments."""
    facts = " ".join(filter(None, (device.name, device.hardware)))
    lines = [f"  # {printable(f'{facts} at {device.host}' if facts else device.host)}"]
    if error:
        return [*lines, f"  # {printable(masked(error))}"]
    name = _channel(device, taken)
    lines += [f"  {name}: {_quoted(_shown(streams[0], arguments))}  # {_format(streams[0])}"]
    lines += [f"  #   {printable(_shown(stream, arguments))}  {_format(stream)}" for stream in streams[1:]]
    small = _small(streams)
    if small is not None:
        lines += [
            "  # to find faces in a small stream, at the top level (docs/cameras.md):",
            f"  #   channels: {{{name}: {{capture: {{substream: {_quoted(_shown(small, arguments))}}}}}}}",
        ]
    if any(HIDDEN in _shown(stream, arguments) for stream in streams):
        lines += [f"  # this camera puts a password into its addresses; write it where {HIDDEN} is"]
    return lines


def _shown(stream: Stream, arguments: argparse.Namespace) -> str:
    """The address, with the user and a reference to the password. A password that is in it is hidden."""
    address = masked(stream.address) if has_secret(stream.address) else stream.address
    if arguments.user is None:
        return address
    kind, _, where = arguments.password.partition(":")
    reference = f"${{{where}}}" if kind == "env" else f"${{file:{where}}}"
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{quote(arguments.user, safe='')}:{reference}@{rest}"


def _channel(device: Device, taken: Dict[str, int]) -> str:
    """A name for the channel that no other camera of this list has."""
    name = re.sub(r"[^a-z0-9]+", "-", (device.name or f"camera-{device.host}").lower()).strip("-") or "camera"
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else _channel(Device(device.address, f"{name}-{taken[name]}"), taken)


def _small(streams: List[Stream]) -> Optional[Stream]:
    """The smallest one in which faces can be found."""
    usable = [stream for stream in streams[1:] if MIN_SMALL_PIXELS <= stream.pixels < streams[0].pixels]
    return min(usable, key=lambda stream: stream.pixels) if usable else None


def _format(stream: Stream) -> str:
    size: Tuple[str, ...] = (f"{stream.width}x{stream.height}",) if stream.pixels else ()
    fps = () if stream.fps is None else (f"{stream.fps:g} fps",)
    return printable(", ".join((*size, *filter(None, (stream.codec,)), *fps)))


def _quoted(address: str) -> str:
    """For YAML, in which a text of JSON is one as well."""
    return json.dumps(address, ensure_ascii=False)
