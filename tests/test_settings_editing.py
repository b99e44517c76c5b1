"""One setting is written into a file, and everything else stays as the user wrote it."""

import pytest
import yaml

from app.errors import SettingsError
from app.settings.editing import with_setting

MARK = "calibrate"
COMMENT = "calibrate, today: 1 in 1,000"


def edited(text, value="0.41", comment=COMMENT):
    return with_setting(text, "recognition.threshold", value, comment, MARK)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "recognition:\n  # {c}\n  threshold: 0.41\n"),
        ("# nothing yet\n", "# nothing yet\nrecognition:\n  # {c}\n  threshold: 0.41\n"),
        ("gallery:\n  folder: g", "gallery:\n  folder: g\nrecognition:\n  # {c}\n  threshold: 0.41\n"),
        (
            "recognition:\n    # careful\n    margin: 0.1  # wide\nrun: {}\n",
            "recognition:\n    # careful\n    # {c}\n    threshold: 0.41\n    margin: 0.1  # wide\nrun: {}\n",
        ),
        (
            "recognition:\n  margin: 0.1\n  # my own\n  threshold: 0.5   # was 0.3\n",
            "recognition:\n  margin: 0.1\n  # my own\n  # {c}\n  threshold: 0.41   # was 0.3\n",
        ),
        ("recognition:\n  threshold:\nrun: {}\n", "recognition:\n  # {c}\n  threshold: 0.41\nrun: {}\n"),
        ("recognition:   # later\n", "recognition:   # later\n  # {c}\n  threshold: 0.41\n"),
        ("recognition: {margin: 0.1}\n", "# {c}\nrecognition: {threshold: 0.41, margin: 0.1}\n"),
        ("recognition: {threshold: 0.5}\n", "# {c}\nrecognition: {threshold: 0.41}\n"),
        ("recognition: {}\n", "# {c}\nrecognition: {threshold: 0.41}\n"),
        ("recognition:\r\n  margin: 0.1\r\n", "recognition:\r\n  # {c}\r\n  threshold: 0.41\r\n  margin: 0.1\r\n"),
    ],
)
def test_the_value_is_set_below_its_comment(before, after):
    assert edited(before) == after.replace("{c}", COMMENT)
    assert yaml.safe_load(edited(before))["recognition"]["threshold"] == 0.41


def test_the_next_edit_replaces_the_comment():
    once = edited("recognition:\n  margin: 0.1  # ü\n")
    again = edited(once, "0.5", "calibrate, tomorrow")
    assert again == "recognition:\n  # calibrate, tomorrow\n  threshold: 0.5\n  margin: 0.1  # ü\n"


@pytest.mark.parametrize("text", ["- a list\n", "recognition: {threshold: [", "recognition:\n  threshold:\n    a: b\n"])
def test_a_file_that_cannot_be_edited_is_refused(text):
    with pytest.raises(SettingsError):
        edited(text)
