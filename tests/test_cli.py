"""The command line explains itself, and reports mistakes with what was probably meant."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import ROOT
from waiting import PATIENT_S

from app.cli import COMMANDS
from app.text import install_hint, program


def test_help_without_a_command_names_the_commands_and_the_sources(answered):
    code, out, _ = answered("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert "--rtsp" in out and "--threshold" in out and "config.yaml" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(answered, name):
    code, out, _ = answered(name, "--help")
    assert code == 0
    assert f"usage: {program()} {name}" in out
    assert "python -m app" not in out.replace(program(), "") and f"/{program()}" not in out, "examples can be copied"


def test_turning_off_strangers_is_not_said_to_keep_faces(answered):
    _, out, _ = answered("run", "--help")
    said = " ".join(out.split()).split("--no-strangers ")[1].split(" --")[0]
    assert "keep" not in said and "kept" not in said, said


def test_packages_that_a_help_names_can_be_installed_as_it_says(answered):
    _, out, _ = answered("engines", "import", "--help")
    assert install_hint("onnx", "torch") in out


@pytest.mark.parametrize("action", ["build", "compare"])
def test_sentences_of_the_help_do_not_begin_with_a_command(answered, action):
    _, out, _ = answered("engines", action, "--help")
    assert not [line for line in out.splitlines() if line.startswith(program())]


@pytest.mark.parametrize("place", ["before the command", "after it"])
def test_a_hint_is_about_the_same_settings_and_gallery(tmp_path, config_file, place):
    """Copied to a shell, it works: in a folder whose names need quotes, too."""
    gallery = tmp_path / "my photos"
    gallery.mkdir()
    files = ["--config", str(config_file), "--gallery", str(gallery)]
    words = [*files, "people", "list"] if place == "before the command" else ["people", "list", *files]

    def run(words):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    hint = run([sys.executable, "-m", "app", *words]).partition("or run: ")[2].strip()
    copied = shlex.split(hint.replace("add NAME PHOTO", "list"))
    (gallery / "Ann.jpg").write_bytes(b"no matter what")
    assert "Ann" in run(copied)


def test_a_command_without_settings_takes_none_before_it(answered, config_file):
    code, _, err = answered("--config", str(config_file), "cameras")
    assert code == 2 and "--config" in err


def test_hints_of_one_command_do_not_repeat_options_of_the_one_before(answered, config_file, tmp_path):
    answered("tokens", "list", "--config", str(config_file))
    assert str(config_file) in program()
    answered("cameras", "--help")
    assert str(config_file) not in program()


def test_a_mistyped_command_is_reported_with_the_nearest_one(answered):
    code, _, err = answered("pepole")
    assert code == 2
    assert "'pepole'" in err and "'people'" in err


@pytest.mark.parametrize(
    "words",
    [("rtsp://door/1",), (ROOT / "README.md",), ("demo.mp4",), ("video", "demo.mp4"), ("a/Ann.JPG",), ("camera", "0")],
    ids=["address", "file", "video", "option", "picture", "camera"],
)
def test_a_source_without_its_option_is_reported_with_the_options(answered, words):
    code, _, err = answered(*words)
    assert code == 2
    assert all(option in err for option in ("--video", "--images", "--rtsp", "--camera"))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--camera", "0"), "camera0=camera:0"),
        (("--camera", "desk=camera:1"), "desk=camera:1"),
        (("--camera", "/dev/video2"), "camera2=camera:2"),
        (("--csi", "CSI:0"), "csi0=csi:0"),
    ],
)
def test_a_camera_is_named_on_the_command_line_with_or_without_its_kind(answered, words, shown):
    code, out, err = answered(*words, "--show-settings")
    assert code == 0, err
    assert out.split()[:2] == ["sources", shown]


def test_paths_of_sources_in_a_settings_file_count_from_its_folder(answered, tmp_path):
    (tmp_path / "house.yaml").write_text(
        "sources:\n  a: clip.mp4\n  b: images:photos/*.jpg\n  c: camera:0\n  d: rtsp://door/1\n  e: /videos/x.mp4\n",
        encoding="utf-8",
    )
    code, out, err = answered("--config", tmp_path / "house.yaml", "--show-settings")
    assert code == 0, err
    assert (
        f"a={tmp_path}/clip.mp4, b=images:{tmp_path}/photos/*.jpg, c=camera:0, d=rtsp://door/1, e=/videos/x.mp4 " in out
    )


def test_a_misspelt_action_of_batch_is_no_picture(answered):
    code, _, err = answered("batch", "statsu", "archive")
    assert code == 2 and "'status'" in err


@pytest.mark.parametrize("group", ["engines", "evaluate", "people"])
def test_without_an_action_the_help_is_printed(answered, group):
    code, out, err = answered(group)
    assert code == 2 and not out
    assert f"usage: {program()} {group}" in err and "actions:" in err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("engines", "lst"), "'lst'; did you mean 'list'?"),
        (("engines", "paint"), "'paint'; known: list, show, pull"),
        (("bench", "engins"), "'engins'; did you mean 'engines'?"),
        (("--thresold", "0.3"), "option --thresold; did you mean '--threshold'?"),
        (("people", "list", "--galery=x"), "option --galery; did you mean '--gallery'?"),
        (("engines", "--detector", "x", "list"), "option --detector; options go after the action"),
        (("evaluate", "verification", "--image", "x", "--pairs", "y"), "option --image; did you mean '--images'?"),
        (("people", "list", "everybody"), "argument: everybody"),
        (("--camera", "0", "doctor"), f"{program()} doctor"),
        (("--camera", "abc"), "--camera 0 or --camera /dev/video0"),
        (("--csi", "abc"), "--csi 0"),
        (("--camera", "-1"), "--camera: '-1'"),
        (("--camera", "0=desk"), "--camera: the name comes first: --camera desk=0"),
        (("--log-level", "loud"), "--log-level: 'loud': expected one of debug, info, warning, error"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_a_pointer_to_the_help(answered, words, answer):
    code, _, err = answered(*words)
    message, pointer, *more = err.splitlines()
    assert code == 2 and not more
    assert message.startswith("error: ") and answer in message
    assert pointer.startswith(f"see: {program()} ") and pointer.endswith(" --help")


def test_a_negative_number_is_not_an_option(answered):
    code, out, err = answered("--threshold", "-0.2", "--show-settings")
    assert code == 0, err
    assert "-0.2" in out


def test_settings_show_what_is_left_to_the_models(answered, config_file):
    def shown(*words):
        code, out, err = answered("--config", config_file, "--show-settings", *words)
        assert code == 0, err
        return {key: (value, origin) for key, value, origin in (line.split(None, 2) for line in out.splitlines())}

    rows = shown()
    assert rows["detection.min_score"] == ("0.7", "default of retinaface_mnet025")
    assert rows["quality.photo_min_score"] == ("0.8", "default of retinaface_mnet025")
    assert rows["recognition.threshold"] == ("null", "follows from recognition.false_accept_rate")
    rows = shown("--detector", "typo")
    assert rows["detection.min_score"][0] == "null" and "'typo'" in rows["detection.min_score"][1]
    assert rows["recognition.threshold"] == ("null", "follows from recognition.false_accept_rate")


def test_a_value_of_the_wrong_type_is_reported_with_what_is_expected(answered):
    code, _, err = answered("--threshold", "high")
    assert code == 2
    assert "--threshold" in err and "a number from -1 to 1" in err


def test_a_value_out_of_bounds_names_the_option(answered):
    code, _, err = answered("--camera", "0", "--threshold", "3")
    assert code == 2
    assert "--threshold: recognition.threshold = 3.0" in err and "from -1 to 1" in err


def test_an_interpreter_without_the_packages_says_which_one_to_use(tmp_path):
    (tmp_path / "cv2.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "app", "--camera", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "has no package 'cv2'" in done.stderr and "make install" in done.stderr


def test_all_packages_that_are_missing_are_named(tmp_path):
    """Without OpenCV and ONNX Runtime, as after `pip install .`."""
    for name in ("numpy", "yaml", "faiss", "packaging"):
        found = importlib.util.find_spec(name)
        for folder in [] if found is None else [Path(found.origin).parent]:
            for one in (folder, folder.with_name(f"{folder.name}.libs"), folder.with_name("faiss_cpu.libs")):
                if one.is_dir() and not (tmp_path / one.name).exists():
                    (tmp_path / one.name).symlink_to(one)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for words, packages in ((("--camera", "0"), 2), (("demo",), 4)):
        command = [sys.executable, "-S", "-m", "app", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 2
        names = ("opencv-python-headless", "onnxruntime", "scikit-image", "matplotlib")[:packages]
        assert f"pip install {' '.join(names)}" in done.stderr


def test_the_version_is_printed(answered):
    code, out, _ = answered("--version")
    assert code == 0 and out.strip()


def test_a_reader_of_the_output_that_stops_early_causes_no_complaint():
    command = f"{shlex.quote(sys.executable)} -m app engines show mobilefacenet | true"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert not done.stderr


MULTIPLY_WHILE_PROGRAMS_START = """
import runpy, subprocess, sys, threading

sys.argv = ["app", "--version"]
try:
    runpy.run_module("app", run_name="__main__")
except SystemExit:
    pass
import numpy

def multiply():
    while not done.is_set():
        left @ right

left, right, done = numpy.ones((200, 512), "f4"), numpy.ones((512, 200), "f4"), threading.Event()
thread = threading.Thread(target=multiply)
thread.start()
for _ in range(200):
    subprocess.run(["true"], check=True)
done.set()
thread.join()
"""


def test_matrix_products_go_on_while_the_program_starts_others():
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", MULTIPLY_WHILE_PROGRAMS_START]
    subprocess.run(command, check=True, timeout=PATIENT_S, cwd=ROOT, env=environment)


LEFT_BEHIND = """
import threading
import cv2, numpy
from app.cli import leave

def work():
    while True:
        cv2.GaussianBlur(picture, (0, 0), 5)
        begun.set()

picture, begun = numpy.zeros((1000, 1000, 3), numpy.uint8), threading.Event()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
print("done")
leave(3)
"""


def test_a_reader_that_was_left_behind_in_opencv_does_not_abort_the_process():
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")
