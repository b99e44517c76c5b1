"""The command line explains itself, and mistakes on it are answered with what was meant."""

import os
import subprocess
import sys

import pytest
from shipped import ROOT

from app.cli import COMMANDS, main


def output(capsys, *words):
    try:
        code = main(list(words))
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_without_a_command_names_the_commands_and_the_sources(capsys):
    code, out, _ = output(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert "--rtsp" in out and "--threshold" in out and "config.yaml" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(capsys, name):
    code, out, _ = output(capsys, name, "--help")
    assert code == 0
    assert f"python -m app {name}" in out


def test_a_mistyped_command_is_answered_with_the_nearest_one(capsys):
    code, _, err = output(capsys, "pepole")
    assert code == 2
    assert "no command 'pepole'; did you mean 'people'?" in err


@pytest.mark.parametrize("group", ["engines", "evaluate", "people"])
def test_a_missing_action_is_answered_with_the_help(capsys, group):
    code, out, err = output(capsys, group)
    assert code == 2 and not out
    assert f"usage: python -m app {group}" in err and "actions:" in err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("engines", "lst"), "python -m app engines has no 'lst'; did you mean 'list'?"),
        (("engines", "paint"), "python -m app engines has no 'paint'; known: list, show, pull"),
        (("bench", "engins"), "python -m app bench has no 'engins'; did you mean 'engines'?"),
        (("--thresold", "0.3"), "there is no option --thresold; did you mean '--threshold'?"),
        (("people", "list", "--galery=x"), "there is no option --galery; did you mean '--gallery'?"),
        (("engines", "--detector", "x", "list"), "no option --detector; options stand behind the action"),
        (("evaluate", "verification", "--image", "x", "--pairs", "y"), "no option --image; did you mean '--images'?"),
        (("people", "list", "everybody"), "not understood: everybody"),
        (("--log-level", "loud"), "--log-level: 'loud': expected one of debug, info, warning, error"),
    ],
)
def test_a_mistake_is_answered_in_one_line_that_leads_to_the_help(capsys, words, answer):
    code, _, err = output(capsys, *words)
    told, way_out, *more = err.splitlines()
    assert code == 2 and not more
    assert told.startswith("error: ") and answer in told
    assert way_out.startswith("python -m app") and way_out.endswith(" --help tells more")


def test_a_minus_in_front_of_a_number_makes_no_option_of_it(capsys):
    code, out, err = output(capsys, "--threshold", "-0.2", "--show-settings")
    assert code == 0, err
    assert "-0.2" in out


@pytest.mark.parametrize("source", ["rtsp://camera/1", str(ROOT / "README.md")])
def test_a_source_without_its_option_is_answered_with_the_options(capsys, source):
    code, _, err = output(capsys, source)
    assert code == 2
    assert "--video FILE" in err and "--rtsp URL" in err


def test_a_value_of_the_wrong_kind_is_answered_with_what_is_expected(capsys):
    code, _, err = output(capsys, "--threshold", "high")
    assert code == 2
    assert "--threshold" in err and "a number from -1 to 1" in err


def test_a_value_out_of_bounds_names_the_option(capsys):
    code, _, err = output(capsys, "--camera", "0", "--threshold", "3")
    assert code == 2
    assert "--threshold: recognition.threshold = 3.0: expected a number from -1 to 1" in err


def test_an_interpreter_without_the_packages_is_told_which_one_to_use(tmp_path):
    (tmp_path / "cv2.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "app", "--camera", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "has no package 'cv2'" in done.stderr and "make install" in done.stderr


def test_the_version_is_printed(capsys):
    code, out, _ = output(capsys, "--version")
    assert code == 0 and out.strip()
