"""What is counted, and how commands to copy begin."""

import sys

import pytest

from app.wording import counted, program


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


def test_a_command_to_copy_names_the_python_that_runs(python, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "my programs")
    assert program() == ".venv/bin/python -m app"
    monkeypatch.chdir(tmp_path)
    assert program() == "'my programs/.venv/bin/python' -m app"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/elsewhere/python3")
    assert program() == "elsewhere/python3 -m app"


def test_in_an_environment_that_was_activated_its_name_is_enough(python, monkeypatch):
    monkeypatch.setenv("PATH", str(python.parent))
    assert program() == "python -m app"
