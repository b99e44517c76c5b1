"""The public API: what `app` exports, its documented examples, and the scripts in examples/."""

import doctest
import importlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from shipped import ROOT
from waiting import PATIENT_S

import app
from app.capture.frame_source import open_source
from app.errors import SourceError

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_every_public_name_can_be_imported_and_is_documented():
    for name in app.__all__:
        value = getattr(app, name)
        assert name.startswith("__") or value.__doc__, f"{name} has no docstring"


def test_unknown_names_are_missing():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = app.nonsense


def test_import_is_fast_because_names_are_loaded_on_first_use():
    code = "import sys, app; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "module",
    [
        "app",
        "app.recognizer",
        "app.network_thread",
        "app.gallery.gallery",
        "app.settings.reader",
    ],
)
def test_documented_examples_do_what_they_say(module):
    loaded = importlib.import_module(module)
    names = {"np": np, "tempfile": tempfile, **{name: getattr(app, name) for name in app.__all__}}
    result = doctest.testmod(loaded, extraglobs=names)
    assert result.attempted and not result.failed


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, portraits, people_gallery):
    """What the example scripts are given, by their names."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, portrait in zip(("collins", "hopper", "stranger"), portraits):
        cv2.imwrite(str(folder / f"{name}.png"), portrait.image)
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    for number in range(2):
        cv2.imwrite(str(folder / f"crop{number}.png"), crop)
    return folder, people_gallery


def run_example(name, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=PATIENT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_faces_in_picture(pictures):
    out = run_example("faces_in_picture.py", pictures[0] / "collins.png")
    assert "faces: 1" in out and out.count("nose") == 1


def test_faces_in_many_pictures(pictures):
    out = run_example("faces_in_many_pictures.py", pictures[0] / "collins.png", pictures[0] / "hopper.png")
    assert out.count("(1, 5, 2)") == 2


def test_compare_two_faces(pictures):
    folder, _ = pictures
    assert "the same person" in run_example("compare_two_faces.py", folder / "hopper.png", folder / "hopper.png")
    assert "different" in run_example("compare_two_faces.py", folder / "hopper.png", folder / "collins.png")


def test_embed_crops(pictures):
    out = run_example("embed_crops.py", pictures[0] / "crop0.png", pictures[0] / "crop1.png")
    assert re.search(r"embeddings \(2, \d+\)", out) and "1." in out


def test_enrol_and_identify(pictures, tmp_path):
    folder, _ = pictures
    out = run_example(
        "enrol_and_identify.py", tmp_path / "new", "Eileen", folder / "collins.png", folder / "collins.png"
    )
    assert "added (used)" in out and "Eileen 1.00 matched" in out
    assert (tmp_path / "new" / "Eileen" / "collins.png").is_file()


def test_identify_folder(pictures):
    folder, gallery = pictures
    lines = run_example("identify_folder.py", gallery, folder).splitlines()
    named = {line.split()[0].rsplit("/", 1)[-1]: line for line in lines}
    assert "Eileen Collins" in named["collins.png"] and "unknown" in named["stranger.png"]


def test_process_video(pictures, people_video):
    out = run_example("process_video.py", pictures[1], people_video)
    assert "EVENT enter" in out and "Grace Hopper" in out and "frame 39" in out
    assert out.rstrip().endswith("EVENTS end")


def test_identify_over_http(pictures, settings):
    pytest.importorskip("starlette")
    from http_client import serving

    folder, gallery = pictures
    settings = replace(settings, gallery=replace(settings.gallery, folder=gallery))
    with serving(settings, tokens=folder / "tokens.json") as client:
        out = run_example("identify_over_http.py", f"http://127.0.0.1:{client.port}", folder / "hopper.png")
    assert out.startswith("Grace Hopper matched")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_without_arguments_prints_how_to_run_it(path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, env=environment, timeout=PATIENT_S
    )
    assert done.returncode == 1 and f"python examples/{path.name}" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_example_is_short_and_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert EXAMPLES
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path
        assert f'"{path.name}"' in tested


def test_a_source_gives_every_frame_of_a_recording(people_video):
    with open_source(people_video, "tape") as frames:
        indices = [(frame.source, frame.index, frame.live) for frame in frames]
    assert indices == [("tape", index, False) for index in range(40)]


def test_a_gallery_that_does_not_exist_is_an_error(recognizer, tmp_path):
    with pytest.raises(app.GalleryError, match="galery"):
        app.Gallery.open(tmp_path / "galery", recognizer)
    with app.Gallery.open(tmp_path / "galery", recognizer, create=True) as gallery:
        assert len(gallery.index) == 0


def test_the_public_names_are_documented():
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert [name for name in app.__all__ if not name.startswith("__") and f"`{name}" not in page] == []


def test_a_source_that_cannot_be_read_raises(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        open_source(tmp_path / "nowhere.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with open_source(tmp_path / "broken.mp4") as frames, pytest.raises(SourceError, match="broken"):
        list(frames)
