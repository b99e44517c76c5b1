"""What is counted, and how commands to copy begin."""

import sys

import pytest

from app.text import counted, duration, install_hint, labelled, megabytes, parse_size, program, source_time, suggestion


@pytest.fixture
def python(tmp_path, monkeypatch):
    """A Python of an environment, which runs this program."""
    python = tmp_path / "my programs" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_counts_agree_with_their_nouns():
    assert counted(1, "face") == "1 face"
    assert counted(0, "face") == "0 faces"
    assert counted(2, "person", "people") == "2 people"


def test_small_files_are_counted_in_kilobytes():
    assert (megabytes(2_340_000), megabytes(12_500)) == ("2.3 MB", "12.5 kB")


@pytest.mark.parametrize("text", ["640", "640x", "x480", "640X480", "-64x48", "640x480x3", " 640x480", "6\u0664x48"])
def test_a_size_is_width_x_height_and_nothing_else(text):
    assert parse_size("640x480") == (640, 480)
    with pytest.raises(ValueError):
        parse_size(text)


def test_a_similar_name_is_suggested_or_all_are_listed():
    assert "'show'" in suggestion("shwo", ["list", "show"])
    assert suggestion("zzz", ["list", "show"]).endswith("list, show")
    assert suggestion("zzz", ["list"], "; see above") == "; see above"


def test_a_label_stands_in_its_first_row_only():
    assert list(labelled("files", "ab")) == [("files", "a"), ("", "b")]


def test_a_command_to_copy_names_the_python_that_runs(python, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "my programs")
    assert program() == ".venv/bin/python -m app"
    monkeypatch.chdir(tmp_path)
    assert program() == "'my programs/.venv/bin/python' -m app"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/elsewhere/python3")
    assert program() == "/elsewhere/python3 -m app"


def test_packages_are_installed_into_the_python_that_runs(python, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "my programs")
    assert install_hint("onnx", "torch") == ".venv/bin/python -m pip install onnx torch"
    assert install_hint("openvino~=2026.4") == ".venv/bin/python -m pip install 'openvino~=2026.4'"


def test_where_the_current_folder_is_gone_the_python_is_named_in_full(python, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert program() == f"'{python}' -m app"


def test_in_an_environment_that_was_activated_its_name_is_enough(python, monkeypatch):
    monkeypatch.setenv("PATH", str(python.parent))
    assert program() == "python -m app"
    assert install_hint("onnx") == "python -m pip install onnx"


def test_durations_have_two_units():
    assert [duration(seconds) for seconds in (7.4, 125, 12_000)] == ["7 s", "2 min 05 s", "3 h 20 min"]


def test_the_time_of_a_frame_is_a_position_a_time_of_day_or_a_file():
    assert [source_time(seconds, live=False) for seconds in (0, 754.26, 3723.4)] == ["0:00.0", "12:34.3", "1:02:03.4"]
    assert len(source_time(1.7e9, live=True)) == len("2023-11-14 22:13:20")
    assert source_time(1.7e9, live=False, file="photos/1.jpg") == "1.jpg"
