"""Files that others may have written or damaged: read in part, ignored or refused, never with a traceback."""

import hashlib
import io
import json
import tracemalloc

import cv2
import numpy as np
from damage import JSON_VALUES, damaged, damaged_json
from hypothesis import example, given
from hypothesis import strategies as st
from made_results import result, track

from app.capture.picture_headers import read_header
from app.capture.pictures import decode_picture
from app.errors import AppError, OutputError, SourceError
from app.events.history import encoded, read_history, repair
from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.stream import EventStream
from app.events.visits import visits
from app.gallery.cache import EmbeddingCache
from app.gallery.people import PhotoFinding
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.stranger_journal import encoded as encoded_change
from app.identity.strangers import Denied, Dropped, Ignored, Merged, Moved, Named, Numbered, Renamed, Seen, Visit
from app.reasons import Reason
from app.types import Match


def event_lines():
    stream = EventStream()
    found = [*stream.handle(result(tracks=[track(1, Match("Eve", Reason.MATCHED, 0.7)), track(2)])), *stream.close()]
    header = {
        "event": "log",
        "schema": 1,
        "log": "0123",
        "program": "1",
        "time": "2026-11-29T18:04:09.000Z",
        "after": 0,
    }
    return [{**header, "open": []}, *(event.as_json() for event in found)]


EVENTS = event_lines()
LOG = b"".join(map(encoded, EVENTS))
EVENT_LINES = damaged_json(EVENTS).map(encoded)


@given(damaged([LOG]) | st.lists(EVENT_LINES, max_size=5).map(lambda lines: encoded(EVENTS[0]) + b"".join(lines)))
@example(encoded(EVENTS[0]) + encoded({**EVENTS[1], "position": 10**400, "first_seen": 10**400}))
@example(encoded({**EVENTS[0], "time": "0001-01-01T00:00:00"}))
def test_any_event_log(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "events.jsonl"
    path.write_bytes(content)
    with path.open("r+b") as file:
        repair(file, path)
    repaired = path.read_bytes()
    assert content.startswith(repaired.rstrip(b"\n")) and (not repaired or repaired.endswith(b"\n"))
    history = read_history(path)
    history.close_visits()
    encoded(history.header(0.0))
    reader = LogReader([])
    try:
        reader = LogReader([path])
        list(visits(reader.read(), reader.relabels()))
    except AppError:
        pass
    try:
        log = EventLog(path, clock=lambda: 1e9)
    except OutputError:
        return
    log.close()
    assert read_history(path).visits == {}


VECTOR = np.arange(1, 9, dtype=np.float32)
VISIT = Visit("run-1", "door", 1, 1e9, 1e9 + 5, "net", VECTOR, 2.5, 3, crop="a.jpg", stranger=1)
CHANGES = [
    json.loads(encoded_change(change))
    for change in (
        Seen(VISIT),
        Dropped(("run-1",)),
        Moved(("run-1",), 2),
        Merged(1, 2),
        Merged(2, 1),
        Ignored(1),
        Named(1, "Eve"),
        Renamed("Eve", "Eva"),
        Denied("Eve", "net", VECTOR, 1e9),
        Numbered(5),
    )
]


@given(
    st.lists(damaged_json(CHANGES).map(json.dumps) | st.sampled_from(CHANGES).map(json.dumps), max_size=8)
    | damaged([b"\n".join(json.dumps(change).encode() for change in CHANGES)]).map(lambda b: [b.decode("latin-1")]),
    JSON_VALUES,
)
def test_any_journal_of_strangers(tmp_path_factory, lines, value):
    folder = tmp_path_factory.getbasetemp() / "strangers"
    folder.mkdir(exist_ok=True)
    text = '{"journal": "strangers", "version": 1}\n' + "\n".join([*lines, json.dumps(value)]) + "\n"
    (folder / "journal.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    journal = StrangerJournal(folder)
    journal.refresh()
    book = journal.book
    book.names(), book.crops(), book.changes()
    journal.update(lambda book: [Seen(VISIT), Named(1, "Eve")])
    assert journal.rewrite(lambda book: book)


def cache_file(head, array, fingerprint="made by"):
    stream = io.BytesIO()
    np.save(stream, array)
    return json.dumps({"fingerprint": fingerprint, **head}).encode() + b"\n" + stream.getvalue()


PHOTO = {
    "hash": "00",
    "reason": "used",
    "row": 0,
    "faces_found": 1,
    "face_px": 80.0,
    "sharpness": 50.0,
    "rotation_fixed": False,
    "message": "",
    "measured": None,
    "limit": None,
}


@given(
    damaged([cache_file({"photos": [PHOTO]}, VECTOR[None])])
    | damaged_json([PHOTO]).map(lambda photo: cache_file({"photos": [photo]}, VECTOR[None]))
    | JSON_VALUES.map(lambda value: cache_file({"photos": value}, VECTOR[None]))
)
@example(cache_file({"photos": [PHOTO]}, VECTOR[None]).replace(b"(1, 8)", b"(1, [8"))
@example(cache_file({"photos": [PHOTO]}, VECTOR[None]).replace(b"(1, 8), }", b"(1, 8),  "))
@example(
    cache_file({"photos": [PHOTO]}, VECTOR[None]).replace(b"(1, 8), }" + b" " * 20, b"(1, " + b"9" * 17 + b"), }     ")
)
@example(b"[" * 100_000 + b"\n")
@example(cache_file({"photos": [PHOTO], "files": [1]}, VECTOR[None]))
@example(cache_file({"photos": [PHOTO], "files": {"a.jpg": [1, 2, "abc"]}}, VECTOR[None]))
@example(cache_file({"photos": [PHOTO], "files": {"a.jpg": 1}}, VECTOR[None]))
def test_any_cache_even_with_a_correct_checksum(tmp_path_factory, payload):
    path = tmp_path_factory.getbasetemp() / "cache"
    checksum = hashlib.sha256(payload).hexdigest().encode()
    path.write_bytes(b"face gallery cache, version 3\n" + checksum + b"\n" + payload)
    cache = EmbeddingCache(path, "made by")
    assert all(isinstance(finding, PhotoFinding) for finding in cache.load().findings.values())


def small_pictures():
    rows, columns = np.mgrid[:20, :30]
    image = np.dstack([rows * 9, columns * 7, rows * columns]).astype(np.uint8)
    made = []
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"):
        coded, data = cv2.imencode(suffix, image)
        assert coded
        made.append(data.tobytes())
    made.append(cv2.imencode(".png", image.astype(np.uint16) * 200)[1].tobytes())
    made.append(cv2.imencode(".tiff", image.astype(np.float32))[1].tobytes())
    return made


PICTURES = small_pictures()
EXIF = b"\xff\xe1\x00\x20Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
PICTURES.append(PICTURES[0][:2] + EXIF + PICTURES[0][2:])


@given(damaged(PICTURES))
@example(b"P6" + b"\t" * 10_000 + b"\0")
@example(b"P6" + b" #\n" * 10_000 + b"\0")
def test_any_picture(data):
    header = read_header(data)
    assert header is None or 1 <= header.orientation <= 8
    tracemalloc.start()
    try:
        picture = decode_picture(data, "photo.jpg", max_pixels=1_000_000)
        assert picture.ndim == 3 and picture.dtype == np.uint8
    except SourceError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 600_000_000
