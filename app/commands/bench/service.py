"""`bench serve`: how many pictures a second the HTTP server answers."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from app.commands.arguments import one_of, picture_size, positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings, given_settings
from app.errors import ExitCode
from app.files import check_writable, write_text

if TYPE_CHECKING:
    from app.output.progress import Progress
    from app.tools.benchmark.service import Load, ServiceSpeed

DESCRIPTION = """Measures the HTTP server: pictures per second, the time until the answer, and the server's processor
time and memory, for each combination of what is sent. The server is the real one, in this process; its clients are
another process, whose work also needs this machine's processor but is not counted. Each client sends its next request
when the last one is answered. --url measures a server that runs already, also another program that speaks
InsightFace-REST. Ctrl-C prints what has been measured so far. Exit code 1: requests were answered with an error other
than 503, or not at all."""

EXAMPLES = """examples:
  python -m app bench serve                                    # one client, then eight
  python -m app bench serve --clients 8 --batch 1,10,64 --format json,msgpack
  python -m app bench serve --work both,detection,embed_only --size 640x480,1280x720
  python -m app bench serve --overload 2                       # twice what it can do: is anything lost?
  python -m app bench serve --requests 10000 --seconds 600 --mixed --clients 4   # does its memory grow?
  python -m app bench serve --starts 5                         # from the start of `serve` to its first answer
  python -m app bench serve --url http://127.0.0.1:18081       # InsightFace-REST, with the same clients"""

ENCODINGS = ("json", "msgpack", "multipart")
WORKS = ("both", "detection", "embed_only")
MAX_CLIENTS = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clients", metavar="N,…", type=several(whole_number(1, MAX_CLIENTS)), default=(1, 8), help="default: 1,8"
    )
    parser.add_argument(
        "--batch",
        dest="batches",
        metavar="N,…",
        type=several(whole_number(1, 128)),
        default=(1,),
        help="pictures in a request (default: 1); multipart has one",
    )
    parser.add_argument(
        "--format",
        dest="encodings",
        metavar="NAME,…",
        type=several(one_of(ENCODINGS)),
        default=("json",),
        help="json or msgpack (InsightFace-REST), multipart (CompreFace core); default: json",
    )
    parser.add_argument(
        "--work",
        dest="works",
        metavar="NAME,…",
        type=several(one_of(WORKS)),
        default=("both",),
        help="detection, embed_only (of pictures that are one face), or both (default)",
    )
    parser.add_argument(
        "--size",
        dest="sizes",
        metavar="WxH,…",
        type=several(picture_size(64)),
        default=((640, 480),),
        help="of the pictures (default: 640x480)",
    )
    parser.add_argument("--mixed", action="store_true", help="pictures of six sizes up to --size, in turns")
    parser.add_argument(
        "--seconds", metavar="S", type=positive(3600), default=5.0, help="time of one measurement (default: 5)"
    )
    parser.add_argument("--requests", metavar="N", type=whole_number(1), help="stop a measurement after so many")
    parser.add_argument(
        "--overload",
        metavar="FACTOR",
        type=positive(100),
        help="then also send so many times what the server managed, at a fixed rate",
    )
    parser.add_argument(
        "--starts",
        metavar="N",
        type=whole_number(1, 100),
        help="instead, start `serve` so many times, with the gallery of the settings, and measure the first answer",
    )
    parser.add_argument("--url", metavar="URL", help="a server that runs already, such as http://127.0.0.1:18081")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=("models", "detection"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    from app.service.packages import require_packages

    require_packages()
    if arguments.starts is not None:
        return _starts(arguments, progress)
    from app.service.self_test import self_test_picture
    from app.service.serving import serving
    from app.tools.benchmark.service import Load, measure, own_share, speed_table
    from app.tools.machine import describe_machine

    loads = [
        Load(clients, batch, encoding, work, size, arguments.mixed)
        for work in arguments.works
        for size in (arguments.sizes if work != "embed_only" else arguments.sizes[:1])
        for encoding in arguments.encodings
        for batch in (arguments.batches if encoding != "multipart" else (1,))
        for clients in arguments.clients
        if not (encoding == "multipart" and work == "embed_only")
    ]
    speeds: List[ServiceSpeed] = []
    share: Optional[str] = None
    interrupted = False
    with contextlib.ExitStack() as stack:
        address: str = arguments.url or ""
        if not address:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "gallery").mkdir()
            settings = replace(
                settings,
                gallery=replace(settings.gallery, folder=folder / "gallery"),
                serve=replace(
                    settings.serve,
                    host="127.0.0.1",
                    port=_free_port(),
                    tokens=folder / "tokens.json",
                    audit_log=folder / "audit.jsonl",
                    max_connections_per_address=MAX_CLIENTS,
                ),
            )
            server = stack.enter_context(serving(settings, progress))
            address = server.addresses[0]
        count = progress.counter("measuring the server")
        try:
            count(0, len(loads))
            for done, load in enumerate(loads, 1):
                speeds.append(
                    measure(
                        address,
                        load,
                        self_test_picture(),
                        arguments.seconds,
                        arguments.requests,
                        is_here=not arguments.url,
                    )
                )
                count(done, len(loads))
                if arguments.overload:
                    speeds.append(_overloaded(address, load, speeds[-1], arguments))
            if not arguments.url:
                share = own_share(settings, self_test_picture(), speeds)
        except KeyboardInterrupt:
            interrupted = True
    progress.clear()
    if speeds:
        print("\n\n".join(filter(None, [describe_machine(), speed_table(speeds), share])))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps([speed.as_json() for speed in speeds], indent=1) + "\n")
    if interrupted:
        raise KeyboardInterrupt("the figures above were measured before")
    wrong = any(status not in ("200", "503") for speed in speeds for status in speed.statuses)
    return ExitCode.INCOMPLETE if wrong or not speeds else ExitCode.DONE


def _starts(arguments: argparse.Namespace, progress: Progress) -> int:
    from app.tools.benchmark.service_start import first_answers_s, start_line
    from app.tools.machine import describe_machine

    times = first_answers_s(given_settings(arguments), _free_port(), arguments.starts, progress.counter("starting"))
    progress.clear()
    print(f"{describe_machine()}\n\n{start_line(times)}")
    if arguments.json is not None:
        write_text(arguments.json, json.dumps({"first_answer_s": [round(one, 3) for one in times]}) + "\n")
    return ExitCode.DONE


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _overloaded(address: str, load: Load, before: ServiceSpeed, arguments: argparse.Namespace) -> ServiceSpeed:
    """More requests than are answered, by enough clients that none of them has to wait for its turn to send."""
    from app.service.self_test import self_test_picture
    from app.tools.benchmark.service import measure

    rate = arguments.overload * before.pictures_per_s / load.batch
    clients = min(MAX_CLIENTS, max(load.clients, int(rate * arguments.seconds)))
    more = replace(load, clients=clients)
    return measure(address, more, self_test_picture(), arguments.seconds, per_second=rate, is_here=not arguments.url)
