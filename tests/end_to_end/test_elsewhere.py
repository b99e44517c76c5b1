"""The program started from another folder and by cron, which gives it almost no environment."""

import shutil
import subprocess
import sys

import pytest
from made_galleries import copy_photos
from shipped import ROOT
from waiting import PATIENT_S


@pytest.fixture
def program_folder(tmp_path, people_gallery):
    """A copy of the program with its own gallery and none of this machine's settings."""
    folder = tmp_path / "program"
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.yaml", folder)
    (folder / "engines").mkdir()
    for name in ("catalog.yaml", "retinaface_mnet025.onnx", "mobilefacenet.onnx", "mobilefacenet_reference.npz"):
        (folder / "engines" / name).symlink_to(ROOT / "engines" / name)
    copy_photos(people_gallery, folder / "gallery")
    (folder / "config.local.yaml").write_text("models:\n  backend: onnx\n", encoding="utf-8")
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def started(program_folder, elsewhere):
    """Runs the copy from another folder: exit code, standard output, standard error."""

    def run(*words, cwd=elsewhere):
        # PYTHONPATH stands for the editable install, by which .venv/bin/python finds `app` from anywhere.
        done = subprocess.run(
            [sys.executable, "-m", "app", *map(str, words)],
            cwd=cwd,
            env={"PYTHONPATH": str(program_folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENT_S,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def rows(table):
    return {key: (value, origin) for key, value, origin in (line.split(None, 2) for line in table.splitlines())}


def test_models_gallery_and_settings_are_found_next_to_the_program(started, program_folder):
    code, out, err = started("--show-settings")
    assert code == 0, err
    shown = rows(out)
    assert shown["models.catalog"] == (str(program_folder / "engines/catalog.yaml"), "default")
    assert shown["gallery.folder"] == (str(program_folder / "gallery"), "default")
    assert shown["models.backend"] == ("onnx", f"{program_folder / 'config.local.yaml'}:2")


def test_messages_are_short_where_the_program_is_started_in_its_own_folder(started, program_folder):
    _, out, _ = started("--show-settings", cwd=program_folder)
    assert rows(out)["gallery.folder"] == ("gallery", "default")
    assert rows(out)["models.backend"] == ("onnx", "config.local.yaml:2")


def test_the_users_own_settings_override_the_template_and_options_override_both(started, program_folder, tmp_path):
    (program_folder / "config.yaml").write_text("models:\n  backend: openvino\nrun:\n  max_frames: 3\n")
    shown = rows(started("--show-settings", "--max-frames", "4")[1])
    assert (shown["models.backend"][0], shown["run.max_frames"][0]) == ("onnx", "4")
    other = tmp_path / "other.yaml"
    other.write_text("run:\n  max_frames: 5\ngallery:\n  folder: faces\n", encoding="utf-8")
    shown = rows(started("--show-settings", "--config", other)[1])
    assert (shown["models.backend"][0], shown["run.max_frames"][0]) == ("auto", "5")
    assert shown["gallery.folder"][0] == str(tmp_path / "faces")


def test_paths_on_the_command_line_count_from_the_current_folder(started, elsewhere):
    (elsewhere / "faces").mkdir()
    code, out, err = started("people", "list", "--gallery", "faces")
    assert code == 0, err
    assert "Grace Hopper" not in out
    assert "Grace Hopper" in started("people", "list")[1]


def test_a_run_writes_into_the_current_folder_and_nothing_anywhere_else(
    started, people_video, program_folder, elsewhere
):
    def files(folder):
        return {path for path in folder.rglob("*") if "__pycache__" not in path.parts and path.is_file()}

    before = files(program_folder)
    code, out, err = started("--video", people_video, "--save", "out.mp4", "--events", "out.jsonl", "--max-frames", "9")
    assert code == 0, err
    assert "Grace Hopper" in out
    assert files(elsewhere) == {elsewhere / "out.mp4", elsewhere / "out.jsonl"}
    # The gallery keeps its embeddings and unknown people, and engines/ which backend was the fastest.
    assert {path.parent.name for path in files(program_folder) - before} <= {
        "gallery",
        ".strangers",
        "crops",
        "engines",
    }


def test_a_gallery_without_photos_elsewhere_is_named_in_full(started, program_folder):
    shutil.rmtree(program_folder / "gallery")
    code, out, _ = started("people", "list")
    assert code == 0 and str(program_folder / "gallery") in out
