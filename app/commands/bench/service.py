"""`bench serve`: how many pictures a second the HTTP server answers."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence

from app.commands.arguments import one_of, picture_size, positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings, given_settings
from app.errors import ExitCode, SettingsError
from app.files import check_writable, write_text

if TYPE_CHECKING:
    from app.output.progress import Progress
    from app.settings import Settings
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
  python -m app bench serve --clients 8 --one-by-one           # what does it gain by doing several at once?
  python -m app bench serve --clients 8 --live                 # how late is live video meanwhile?
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
        "--one-by-one",
        action="store_true",
        help="let the server also answer one request after the other, in turns, and compare",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="instead, run on a camera of 1280 x 720 pixels that is played, and measure how late its frames are "
        "without and with the clients, in turns; needs Linux and the packages of the demo",
    )
    parser.add_argument(
        "--turns", metavar="N", type=whole_number(1, 100), default=5, help="of --one-by-one and --live (default: 5)"
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
    if arguments.url and (arguments.one_by_one or arguments.live):
        raise SettingsError("--url: --one-by-one and --live measure a server of their own; leave one of them out")
    if arguments.starts is not None:
        return _starts(arguments, progress)
    from app.service.self_test import self_test_picture
    from app.service.serving import serving
    from app.tools.benchmark.service import OneByOne, gain, own_share, speed_table
    from app.tools.machine import describe_machine

    loads = _loads(arguments)
    if arguments.live:
        return _live(arguments, settings, loads, progress)
    speeds: List[ServiceSpeed] = []
    share: Optional[str] = None
    interrupted = False
    one_by_one = OneByOne()
    with contextlib.ExitStack() as stack:
        address: str = arguments.url or ""
        if not address:
            settings = _alone(settings, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            server = stack.enter_context(serving(settings, progress, around=one_by_one.around))
            address = server.addresses[0]
        count = progress.counter("measuring the server")
        try:
            count(0, len(loads))
            for done, load in enumerate(loads, 1):
                for turn in range(2 * arguments.turns if arguments.one_by_one else 1):
                    one_by_one.on = turn % 2 == 1
                    speeds.append(_measured(address, replace(load, one_by_one=one_by_one.on), arguments))
                one_by_one.on = False
                count(done, len(loads))
                if arguments.overload:
                    speeds.append(_overloaded(address, load, speeds[-1], arguments))
            if not arguments.url:
                share = own_share(settings, self_test_picture(), speeds)
        except KeyboardInterrupt:
            interrupted = True
    progress.clear()
    if speeds:
        print("\n\n".join(filter(None, [describe_machine(), speed_table(speeds), gain(speeds), share])))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps([speed.as_json() for speed in speeds], indent=1) + "\n")
    if interrupted:
        raise KeyboardInterrupt("the figures above were measured before")
    return _code(speeds)


def _loads(arguments: argparse.Namespace) -> List[Load]:
    from app.tools.benchmark.service import Load

    return [
        Load(clients, batch, encoding, work, size, arguments.mixed)
        for work in arguments.works
        for size in (arguments.sizes if work != "embed_only" else arguments.sizes[:1])
        for encoding in arguments.encodings
        for batch in (arguments.batches if encoding != "multipart" else (1,))
        for clients in arguments.clients
        if not (encoding == "multipart" and work == "embed_only")
    ]


def _alone(settings: Settings, folder: Path) -> Settings:
    """Those of a server that no other program uses, and that touches no file but those in `folder`."""
    (folder / "gallery").mkdir(exist_ok=True)
    return replace(
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


def _measured(address: str, load: Load, arguments: argparse.Namespace) -> ServiceSpeed:
    from app.service.self_test import self_test_picture
    from app.tools.benchmark.service import measure

    seconds, requests = arguments.seconds, arguments.requests
    return measure(address, load, self_test_picture(), seconds, requests, is_here=not arguments.url)


def _code(speeds: Sequence[ServiceSpeed]) -> ExitCode:
    wrong = any(status not in ("200", "503") for speed in speeds for status in speed.statuses)
    return ExitCode.INCOMPLETE if wrong or not speeds else ExitCode.DONE


def _live(arguments: argparse.Namespace, settings: Settings, loads: Sequence[Load], progress: Progress) -> int:
    from app.capture.uri import parse_source
    from app.commands.run import with_http_server
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer
    from app.service.self_test import self_test_picture
    from app.tools.benchmark import channels
    from app.tools.benchmark.service_live import live_text, measure_live
    from app.tools.demo.portraits import load_portraits, write_enrolment_photos
    from app.tools.machine import describe_machine, require_packages

    require_packages("bench serve --live", "av")
    measured = []
    with tempfile.TemporaryDirectory() as name:
        portraits = load_portraits()
        write_enrolment_photos(Path(name) / "gallery", portraits)
        own = replace(channels.settings_for(settings, Path(name) / "gallery"), serve=settings.serve)
        own = _alone(own, Path(name))
        with Recognizer.from_loader(ModelLoader(settings)) as recognizer:
            clips = channels.write_clips(Path(name), portraits, recognizer, [1.0])
        with channels.cameras(clips) as (_, port):
            camera = parse_source(channels.addresses(port, clips[0], 1)[0], "camera")
            for load in loads:
                own, outputs, alongside = with_http_server(own, [camera])
                server = (outputs, alongside)
                turns = measure_live(
                    own, camera, server, load, self_test_picture(), arguments.seconds, arguments.turns, progress
                )
                if turns:
                    measured.append(turns)
    progress.clear()
    print("\n\n".join([describe_machine(), *map(live_text, measured)]))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps([[turn.as_json() for turn in turns] for turns in measured], indent=1))
    speeds = [turn.requests for turns in measured for turn in turns]
    return _code(speeds) if len(measured) == len(loads) else ExitCode.INCOMPLETE


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
