"""Addresses, settings, names and catalogues with any content end in the program's own errors."""

import contextlib
from pathlib import PurePosixPath

import pytest
from damage import damaged
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.capture.uri import counted_from, name_sources, parse_named
from app.credentials import credentials, for_opening, has_secret, masked, references_from, with_secrets
from app.errors import AppError, GalleryError, ModelError
from app.files import PROGRAM_FOLDER
from app.gallery.files import person_folder
from app.gallery.names import normalize, person_of, read_display_names
from app.models.catalog import read_catalog
from app.settings.editing import with_setting
from app.settings.reader import format_settings, read_file, resolve
from app.text import printable, suggestion

# fmt: off
PARTS = (
    "rtsp://", "rtsps://", "http://", "file://", "camera:", "csi:", "images:", "user", ":", "@", "/", "?", "#", "[",
    "]", "::1", "%41", "%", "${X}", "${file:/nowhere}", "=", "door", "10.0.0.7", ":554", "*.jpg", "\0", "token=a", "&",
    " ", "\n", "9" * 400,
)
# fmt: on
ADDRESSES = st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map("".join)

SETTINGS = [
    b"sources:\n  door: rtsp://user:pw@10.0.0.7/x\ndetection:\n  min_score: 0.7\n  input_size: 640\n",
    b"channels:\n  door: &a\n    detection: {min_score: 0.5}\n  yard: *a\nrecognition:\n  vote_window: 5\n",
    (PROGRAM_FOLDER / "config.yaml").read_bytes().replace(b"\n# ", b"\n")[-1500:],
]
CATALOG = (PROGRAM_FOLDER / "engines/catalog.yaml").read_bytes()
NAMES = [b"Ann: Anna\nagent_47: Agent 47\n007: James\n", b"{a: b, c: [d]}\n", b"? a\n: b\n"]


@given(ADDRESSES)
def test_any_address(tmp_path_factory, address):
    with contextlib.suppress(AppError):
        (source,) = name_sources([parse_named(address)])
        assert str(source) and repr(source) and source.device is not None
    for use in (masked, credentials, for_opening, has_secret, printable):
        use(address)
    for use in (counted_from, references_from):
        use(tmp_path_factory.getbasetemp(), address)
    with contextlib.suppress(AppError):
        for_opening(with_secrets(address, "door"))


@given(damaged(SETTINGS) | ADDRESSES.map(lambda text: f"sources:\n  a: {text}\n".encode("utf-8", "replace")))
def test_any_settings(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        effective = resolve([read_file(path)])
        sources = name_sources(effective.settings.sources)
        format_settings(effective, [source.masked_address for source in sources], {})
    except AppError as error:
        assert len(str(error)) < 20_000


@given(damaged(SETTINGS))
@example(b"recognition:\n  v")
@example(b"recognition:\n  - 1\n")
@example(b"detection: 2020-99-99\n")
def test_any_settings_are_edited_or_refused(content):
    with contextlib.suppress(AppError):
        edited = with_setting(content.decode("utf-8", "replace"), "recognition.threshold", "0.4", "set", "set")
        assert "0.4" in edited


@given(damaged(NAMES), st.text(max_size=30))
def test_any_display_names(tmp_path_factory, content, name):
    folder = tmp_path_factory.getbasetemp()
    (folder / "people.yaml").write_bytes(content)
    try:
        names = read_display_names(folder / "people.yaml")
        person_folder(folder, name)
    except GalleryError:
        return
    for path in (name, f"{name}/a.jpg", f"{name}_3.jpg"):
        shown = person_of(PurePosixPath(path), names)
        assert shown == normalize(shown)
    suggestion(name, names)


@settings(max_examples=40)
@given(damaged([CATALOG[:1500], CATALOG[-1500:]], max_edits=3))
def test_any_catalogue(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "catalogue"
    folder.mkdir(exist_ok=True)
    (folder / "catalog.yaml").write_bytes(CATALOG)
    for name in ("catalog.yaml", "my_models.yaml"):
        (folder / name).write_bytes(content)
        with contextlib.suppress(ModelError):
            assert read_catalog(folder / "catalog.yaml").errors is not None
        (folder / name).unlink()
        (folder / "catalog.yaml").write_bytes(CATALOG)


@pytest.mark.parametrize(
    "text", ["\0", "a" * 5000, "rtsp://" + "a:" * 3000 + "@", "rtsp://[", "http://[::1", "=" * 3000]
)
def test_addresses_that_were_found(text):
    with contextlib.suppress(AppError):
        name_sources([parse_named(text)])
