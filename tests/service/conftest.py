import contextlib
import dataclasses
import json
import re
from functools import partial

import cv2
import pytest
from browser import Tab, chromium, program
from http_client import serving
from made_galleries import copy_photos
from made_results import frame, result, track
from shared_devices import device as device
from shared_devices import fleet as fleet
from shared_devices import photo as numbered_photo  # noqa: F401 - a fixture

from app.events.log import EventLog
from app.events.stream import EventStream
from app.gallery.stranger_journal import StrangerJournal
from app.identity.strangers import Seen, Visit
from app.settings import GallerySettings, ModelSettings, Settings
from app.types import Match, Reason

BEGIN = 1_800_000_000.0
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.31, nearest="Ann")

for package in ("starlette", "uvicorn", "msgspec", "orjson", "msgpack", "python_multipart"):
    pytest.importorskip(package)


@pytest.fixture(scope="session")
def built_in_models():
    return ModelSettings(backend="onnx")


@pytest.fixture(scope="session")
def served(tmp_path_factory, people_gallery, built_in_models):
    """A client of a server that knows Collins and Hopper. Tests do not change its gallery."""
    folder = tmp_path_factory.mktemp("served")
    images = folder / "images"
    images.mkdir()
    settings = Settings(models=built_in_models, gallery=GallerySettings(folder=people_gallery))
    with serving(settings, root_images=images, tokens=folder / "tokens.json") as client:
        yield client


@pytest.fixture
def own(settings, tmp_path):
    """A client of a server with an empty gallery, which a test may change."""
    with serving(settings, tokens=tmp_path / "tokens.json", audit_log=tmp_path / "audit.jsonl") as client:
        client.gallery, client.audit_log = settings.gallery.folder, tmp_path / "audit.jsonl"
        yield client


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("playwright", reason="needs the extra dev")
    if program() is None:
        pytest.skip("needs chromium (tests/install_system_packages.sh)")
    with chromium() as opened:
        yield opened


@pytest.fixture
def tab(browser):
    """Opens tabs, whose consoles must stay empty but for what a test expects, and for servers that it has ended."""
    opened = []

    def make(client, expected="(?!)", **context):
        opened.append((Tab(browser, client.port, **context), re.compile(expected)))
        return opened[-1][0]

    yield make
    for one, expected in opened:
        one.context.close()
        assert [text for text in one.complaints if not expected.search(text) and "net::ERR_" not in text] == []


@pytest.fixture(scope="session")
def photo(portraits):
    """A JPEG of Collins."""
    return cv2.imencode(".jpg", portraits[0].image)[1].tobytes()


@pytest.fixture(scope="session")
def photos(portraits):
    """Two different JPEGs of each person."""
    return [
        [cv2.imencode(".jpg", picture)[1].tobytes() for picture in (portrait.image, portrait.image[:, ::-1].copy())]
        for portrait in portraits
    ]


@pytest.fixture(scope="session")
def group(portraits):
    """A JPEG of all three people next to each other."""
    heads = [cv2.resize(portrait.image, (300, 400)) for portrait in portraits]
    return cv2.imencode(".jpg", cv2.hconcat(heads))[1].tobytes()


@pytest.fixture(scope="session")
def running(people_video, people_gallery, built_in_models):
    """Runs a video of three people with a server, up to its 20th frame; see `watched_run.running`."""
    from watched_run import running

    return partial(running, people_video, people_gallery, built_in_models)


@pytest.fixture(scope="session")
def crowd(running, tmp_path_factory):
    """A client of a run with an event log and pictures of visits, and the view of the run."""
    folder = tmp_path_factory.mktemp("crowd")
    with running(folder, events=folder / "visits.jsonl") as opened:
        yield opened


@pytest.fixture
def meeting(people_video, people_gallery, built_in_models, tmp_path):
    """Starts a run with a gallery of its own, of Collins only, in which Hopper gets a number; see
    `watched_run.held_run`."""
    from watched_run import held_run

    gallery = tmp_path / "gallery"
    copy_photos(people_gallery, gallery, "Grace*")
    files = {"events": tmp_path / "visits.jsonl", "visit_snapshots": tmp_path / "pictures"}
    return partial(held_run, people_video, gallery, built_in_models, tmp_path, strangers=True, **files)


@pytest.fixture
def two(people_video, people_gallery, built_in_models, tmp_path):
    """A run of two channels with tokens; see `gated_run.gated`."""
    from gated_run import gated

    with gated(people_video, people_gallery, built_in_models, tmp_path) as opened:
        yield opened


@pytest.fixture
def watched(settings, recognizer, tmp_path):
    """Starts servers with channels of which a test shows pictures."""
    from watched_run import watched

    with contextlib.ExitStack() as stack:

        def start(*channels, **more):
            return stack.enter_context(watched(settings, recognizer, tmp_path, channels, **more))

        yield start


@pytest.fixture(scope="session")
def embeddings(recognizer, portraits):
    """Of Collins, Hopper and the stranger."""
    found = []
    for portrait in portraits:
        (faces,) = recognizer.find([portrait.image])
        found.append(recognizer.embed_crops_with_norms(recognizer.crops(portrait.image, faces))[0][0])
    return found


@pytest.fixture
def home(settings, tmp_path, portraits, photo, embeddings, recognizer):
    """A client of a server that knows Collins. Stranger 1 is Hopper, twice, with a picture; 2 is the third person,
    whose picture is damaged; 3 is both. The event log has visits of 1 and 2."""
    folder, log = settings.gallery.folder, tmp_path / "visits.jsonl"
    (folder / "Collins.jpg").write_bytes(photo)
    journal = StrangerJournal(folder / ".strangers")
    seen = [("a", 1, 1, 0.9), ("b", 1, 1, 0.0), ("c", 2, 2, 0.8), ("d", 1, 3, 0.0), ("e", 2, 3, 0.0)]
    visits = [
        Visit(
            id=visit_id,
            channel="door",
            track=number,
            first_seen=BEGIN + 100 * number,
            last_seen=BEGIN + 100 * number + 10,
            model=recognizer.embedder_id,
            embedding=embeddings[person],
            weight=2.0,
            looks=3,
            crop=f"{visit_id}.jpg" if quality else None,
            crop_quality=quality,
            stranger=stranger,
        )
        for number, (visit_id, person, stranger, quality) in enumerate(seen, 1)
    ]
    journal.update(lambda book: list(map(Seen, visits)))
    cv2.imwrite(str(journal.crops / "a.jpg"), portraits[1].image)
    (journal.crops / "c.jpg").write_bytes(b"not a picture")
    sink, stream = EventLog(log), EventStream(visit_gap_s=5)
    for seconds, name in (
        (0, "stranger-1"),
        (10, None),
        (20, "stranger-2"),
        (30, None),
        (40, "stranger-1"),
        (50, None),
    ):
        there = [dataclasses.replace(track(int(seconds), UNKNOWN), stranger=name)] if name else []
        made = frame(source="door", captured_at=BEGIN + seconds)
        boxes = [(1, 2, 30, 40)] * len(there)
        numbers = [one.id for one in there]
        for event in stream.handle(result(made, boxes, [UNKNOWN] * len(there), there, track_ids=numbers)):
            sink.write(event)
    sink.close()
    settings = dataclasses.replace(settings, output=dataclasses.replace(settings.output, events=log))
    with serving(settings, tokens=tmp_path / "tokens.json", audit_log=tmp_path / "audit.jsonl") as client:
        client.log, client.folder, client.journal = log, folder, journal
        client.settings, client.tokens = settings, tmp_path / "tokens.json"
        client.audit = lambda: [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        yield client
