"""The whole program with a root file system that cannot be written, as `docker run --read-only` makes it."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from made_galleries import copy_photos
from shipped import CATALOG, ROOT

PREPARE = """
set -eu
mount --make-rprivate /
mount -o remount,bind,ro /
mount -t tmpfs tmpfs "$1"
cd "$1"; shift
mkdir out
"$@"
"""
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--no-new-privs")


def succeeds(*command):
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30).returncode == 0
    except OSError:
        return False


@pytest.fixture(params=["root", "nobody"])
def isolated(request, tmp_path):
    """Runs a command where only the folder `out` can be written; returns exit code, messages and events."""
    if not succeeds("unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -o remount,bind,ro /"):
        pytest.skip("no right to mount: run as root")
    user = UNPRIVILEGED if request.param == "nobody" else ()
    if user and not succeeds(*user, sys.executable, "-c", "import cv2"):
        pytest.skip("another user cannot run this Python")
    place = tmp_path / "place"
    place.mkdir()

    def run(*words):
        script = 'chmod 777 out; code=0; "$@" || code=$?; cat out/events.jsonl 2>/dev/null || true; exit $code'
        command = [*user, sys.executable, "-B", "-m", "app", *map(str, words)]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", PREPARE, "sh", str(place), "sh", "-c", script, "sh", *command],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(ROOT)},
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return done.returncode, done.stderr, events

    return run


@pytest.fixture
def readable(people_gallery, people_video):
    """The gallery, the video and the models where every user can read them, and no one can write."""
    # Not in pytest's own folder: every session of pytest closes that for other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy_photos(people_gallery, folder / "gallery")
        shutil.copy(people_video, folder / "people.mp4")
        shutil.copytree(CATALOG.parent, folder / "engines", ignore=shutil.ignore_patterns("*.engine", "backend-*"))
        config = folder / "own.yaml"
        config.write_text("models:\n  catalog: engines/catalog.yaml\ngallery:\n  folder: gallery\n", encoding="utf-8")
        yield folder


def test_a_run_needs_no_folder_to_write_but_that_of_its_outputs(isolated, readable):
    code, err, events = isolated(
        "--video", readable / "people.mp4", "--config", readable / "own.yaml", "--no-window",
        "--events", "out/events.jsonl", "--save", "out/people.mp4",
    )  # fmt: skip
    assert code == 0, err
    assert {"Eileen Collins", "Grace Hopper"} <= {event.get("name") for event in events}
    assert "Traceback" not in err
    assert "cannot be written" in err, "that embeddings are not kept is said"
