"""Settings: command line over file over default; every mistake is reported with its place and what was expected."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import AppError, CombinedError
from app.settings import Settings, all_settings
from app.settings.permissions import readable_by_all
from app.settings.reader import Assignment, Layer, format_settings, read_file, resolve
from app.settings.template import TEMPLATE, template


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(path):
    with pytest.raises(AppError) as error:
        resolve([read_file(path)])
    return str(error.value)


def test_without_any_file_the_defaults_hold():
    effective = resolve([])
    assert effective.settings == Settings()
    assert set(effective.origins.values()) == {"default"}


def test_the_command_line_overrides_the_file_which_overrides_the_default(config):
    path = config("recognition:\n  threshold: 0.4\n  margin: 0.1\n")
    effective = resolve([read_file(path), Layer({"recognition.threshold": Assignment(0.5, "--threshold")})])
    recognition = effective.settings.recognition
    assert (recognition.threshold, recognition.margin, recognition.vote_window) == (0.5, 0.1, 5)
    assert effective.origins["recognition.threshold"] == "--threshold"
    assert effective.origins["recognition.margin"] == f"{path}:3"
    assert effective.origins["recognition.vote_window"] == "default"


def test_sources_given_on_the_command_line_replace_those_of_the_file(config):
    path = config("sources:\n  door: rtsp://camera/1\n  desk: camera:0\n")
    assert read_file(path).sources == (("door", "rtsp://camera/1"), ("desk", "camera:0"))
    effective = resolve([read_file(path), Layer(sources=((None, "clip.mp4"),), sources_origin="command line")])
    assert effective.settings.sources == ((None, "clip.mp4"),)


def test_paths_in_the_file_are_meant_from_its_own_folder(config):
    path = config("gallery:\n  folder: faces\n")
    assert resolve([read_file(path)]).settings.gallery.folder == path.parent / "faces"


@pytest.mark.parametrize(("text", "level"), [("off", "off"), ("'off'", "off"), ("2", "2"), ("auto", "auto")])
def test_words_that_yaml_reads_as_something_else_are_choices_too(config, text, level):
    path = config(f"degrade:\n  level: {text}\n")
    assert resolve([read_file(path)]).settings.degrade.level == level


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "recognition:\n", "sources:\n"], ids=repr)
def test_empty_files_and_sections_are_fine(config, text):
    assert resolve([read_file(config(text))]).settings == Settings()


@pytest.mark.parametrize(
    ("text", "line", "facts"),
    [
        ("recognition:\n  treshold: 0.4\n", 2, ["'recognition.treshold'", "'recognition.threshold'"]),
        ("\n\nrecogntion:\n  threshold: 1\n", 3, ["'recogntion'", "'recognition'"]),
        ("run:\n  threshold: 0.4\n", 2, ["'recognition.threshold'"]),
        ("threshold: 0.4\n", 1, ["'threshold'", "'recognition'"]),
        ("recognition.threshold: 0.4\n", 1, ["'recognition:'", "'threshold: …'"]),
        ("recognition:\n  recognition.threshold: 0.4\n", 2, ["'recognition:'", "'threshold: …'"]),
        ("sources.door: camera:0\n", 1, ["'sources:'", "'door: …'"]),
        ("recognition.treshold: 0.4\n", 1, ["'recognition.threshold'"]),
        ("recognition:\n  threshold: 7\n", 2, ["recognition.threshold = 7", "from -1 to 1"]),
        ("recognition:\n  threshold: high\n", 2, ["recognition.threshold = 'high'", "from -1 to 1"]),
        ("recognition:\n  margin: .nan\n", 2, ["recognition.margin = nan"]),
        ("recognition:\n  margin:\n", 2, ["recognition.margin = None"]),
        ("run:\n  max_frames: 1.5\n", 2, ["run.max_frames = 1.5", "whole number"]),
        ("run:\n  max_frames: true\n", 2, ["run.max_frames = True", "whole number"]),
        ("output:\n  overwrite: 1\n", 2, ["output.overwrite = 1", "true or false"]),
        ("capture:\n  backend: magic\n", 2, ["capture.backend = 'magic'", "auto, ffmpeg, gstreamer"]),
        ("output:\n  save: 3\n", 2, ["output.save = 3", "path"]),
        ("recognition:\n  threshold: !x 1\n", 2, ["recognition.threshold", "number"]),
        ("output:\n  save: 2024-13-01\n", 2, ["output.save", "path"]),
        ("{a: b}: 1\n", 1, ["key: value"]),
        ("recognition: 0.4\n", 1, ["recognition", "key: value"]),
        ("sources:\n  door: [1]\n", 2, ["sources.door"]),
        ("run:\n  duration_s: 1\n  duration_s: 2\n", 3, ["'duration_s'", "line 2"]),
        ("run:\n  max_frames: [\n", 3, []),
        ("run:\n\tmax_frames: 1\n", 2, ["tabs"]),
    ],
    ids=repr,
)
def test_a_mistake_is_reported_with_its_line_and_what_was_expected(config, text, line, facts):
    path = config(text)
    message = complaint(path)
    assert message.startswith(f"{path}:{line}: ")
    assert all(fact in message for fact in facts), message


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 4000])
def test_a_number_larger_than_any_float_is_out_of_bounds(config, number):
    said = complaint(config(f"detection:\n  nms_iou: {number}\n"))
    assert "detection.nms_iou" in said and len(said) < 600


def test_all_mistakes_of_file_and_command_line_are_reported_together(config):
    path = config("recogntion:\n  x: 1\nrun:\n  max_frames: no\n  speed: 1\nsources:\n  door: [1]\n")
    options = Layer({"recognition.threshold": Assignment(7.0, "--threshold")})
    with pytest.raises(CombinedError) as combined:
        resolve([read_file(path), options])
    places = sorted(str(error).partition(": ")[0] for error in combined.value.errors)
    assert places == ["--threshold", *(f"{path}:{line}" for line in (1, 4, 5, 7))]


def test_settings_that_contradict_each_other_are_refused(config):
    path = config("recognition:\n  vote_window: 3\n  min_votes: 4\n")
    assert complaint(path).startswith(f"{path}:2, {path}:3: recognition.min_votes = 4")


def test_a_threshold_and_a_false_accept_rate_in_one_file_exclude_each_other(config):
    path = config("recognition:\n  threshold: 0.5\n  false_accept_rate: 0.001\n")
    shown = complaint(path)
    assert f"{path}:2: recognition.threshold = 0.5" in shown and f"{path}:3: recognition.false_accept_rate" in shown


def test_of_a_threshold_and_a_false_accept_rate_the_later_one_counts(config):
    file = read_file(config("recognition:\n  false_accept_rate: 0.001\n"))
    chosen = resolve([file, Layer({"recognition.threshold": Assignment(0.4, "--threshold")})]).settings.recognition
    assert (chosen.threshold, chosen.rate_to_follow) == (0.4, None)
    file = read_file(config("recognition:\n  threshold: 0.5\n"))
    rate = Layer({"recognition.false_accept_rate": Assignment(0.01, "another file")})
    chosen = resolve([file, rate]).settings.recognition
    assert (chosen.threshold, chosen.rate_to_follow) == (None, 0.01)


def test_without_a_threshold_the_rate_counts(config):
    chosen = resolve([read_file(config("recognition:\n  false_accept_rate: 0.001\n"))]).settings.recognition
    assert (chosen.threshold, chosen.rate_to_follow) == (None, 0.001)
    chosen = resolve([read_file(config("recognition:\n  threshold: 0.5\n"))]).settings.recognition
    assert (chosen.threshold, chosen.rate_to_follow) == (0.5, None)


def test_choices_that_yaml_takes_for_something_else_need_no_quotes(config):
    settings = resolve([read_file(config("attention:\n  mode: off\ndegrade:\n  level: 2\n"))]).settings
    assert (settings.attention.mode, settings.degrade.level) == ("off", "2")


def test_a_missing_file_is_named(tmp_path):
    assert str(tmp_path / "nowhere.yaml") in complaint(tmp_path / "nowhere.yaml")


def test_the_table_shows_values_and_where_they_come_from(config):
    path = config("recognition:\n  margin: 0.4\n")
    resolved = {"recognition.threshold": Assignment(0.42, "of the model")}
    rows = [line.split(maxsplit=2) for line in format_settings(resolve([read_file(path)]), [], resolved).splitlines()]
    assert ["recognition.margin", "0.4", f"{path}:2"] in rows
    assert ["recognition.threshold", "0.42", "of the model"] in rows
    assert ["run.max_frames", "null", "default"] in rows
    assert [row[0] for row in rows] == ["sources", *(info.key for info in all_settings())]


def test_secret_values_are_never_shown(config, monkeypatch):
    path = config("output:\n  save: a-password\nrun:\n  max_frames: a-password\n")
    secret = [replace(info, secret=True) for info in all_settings()]
    monkeypatch.setattr("app.settings.reader.all_settings", lambda: secret)
    assert "a-password" not in complaint(path)
    path = config("output:\n  save: a-password\n")
    assert "a-password" not in format_settings(resolve([read_file(path)]), [], {})


def test_the_template_is_up_to_date_and_says_what_holds_anyway():
    assert TEMPLATE.read_text(encoding="utf-8") == template(), "run python -m app.settings.template"
    assert resolve([read_file(TEMPLATE)]).settings == Settings()


def test_the_template_without_its_comments_sets_every_default(config):
    text = template()
    path = config("\n".join(line[2:] for line in text[text.index("# capture:") :].splitlines()))
    effective = resolve([read_file(path)])
    assert {origin.rpartition(":")[0] for key, origin in effective.origins.items() if key != "sources"} == {str(path)}
    for info in all_settings():
        value = getattr(getattr(effective.settings, info.section), info.name)
        assert value == (path.parent / info.shown_default if isinstance(value, Path) else info.default), info.key


@pytest.mark.parametrize("option", ["cover_with", "cover_style"])
def test_a_way_to_cover_faces_needs_the_people_to_cover(option):
    flag = "--" + option.replace("_", "-")
    value = "pixelate" if option == "cover_style" else "skull.png"
    given = {f"output.{option}": Assignment(value, flag)}
    with pytest.raises(AppError, match=f"{flag} needs --cover"):
        resolve([Layer(given)])
    given["output.cover"] = Assignment("all", "--cover")
    assert resolve([Layer(given)]).settings.output.cover == "all"


@pytest.mark.parametrize(
    ("key", "value", "needed", "option"),
    [
        ("record.when", "visits", ("record.folder", "videos"), "--record DIR"),
        ("serve.port", 9000, ("serve.enabled", True), "--serve"),
        ("serve.root_images", "pictures", ("serve.enabled", True), "--serve"),
    ],
)
def test_an_option_that_does_nothing_alone_needs_the_other(key, value, needed, option):
    given = {key: Assignment(value, "--given")}
    with pytest.raises(AppError, match=f"--given needs {option}"):
        resolve([Layer(given)])
    resolve([Layer({**given, needed[0]: Assignment(needed[1], "config.yaml:3")})])
    resolve([Layer({key: Assignment(value, "config.yaml:3")})])


def test_where_faces_are_covered_every_frame_is_looked_at_whole_unless_a_setting_says_otherwise():
    cover = Layer({"output.cover": Assignment("all", "--cover")})
    effective = resolve([cover])
    assert (effective.settings.attention.mode, effective.origins["attention.mode"]) == ("off", "--cover")
    mode = Layer({"attention.mode": Assignment("auto", "config.yaml:3")})
    assert resolve([mode, cover]).settings.attention.mode == "auto"
    assert resolve([]).settings.attention.mode == "auto"


ADDRESSES = {
    "password": "sources:\n  door: rtsp://admin:s3cret@10.0.0.7/\n",
    "reference": "sources:\n  door: rtsp://admin:${CAM}@10.0.0.7/\n",
    "broker": "mqtt:\n  url: mqtt://user:s3cret@localhost\n",
    "substream": "channels:\n  door:\n    capture:\n      substream: rtsp://admin:s3cret@10.0.0.7/2\n",
    "none": "sources:\n  door: rtsp://10.0.0.7/\n",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(
    ("text", "mode", "is_named"),
    [
        ("password", 0o644, True),
        ("password", 0o640, False),
        ("password", 0o600, False),
        ("broker", 0o644, True),
        ("substream", 0o644, True),
        ("reference", 0o644, False),
        ("none", 0o644, False),
    ],
)
def test_a_file_with_a_password_that_all_users_can_read_is_named(config, text, mode, is_named):
    path = config(ADDRESSES[text])
    path.chmod(mode)
    assert readable_by_all(resolve([read_file(path)])) == ([path] if is_named else [])


def test_a_password_on_the_command_line_is_not_that_of_a_file(config):
    path = config(ADDRESSES["password"])
    path.chmod(0o644)
    given = Layer({}, (("door", "rtsp://admin:s3cret@10.0.0.8/"),), "command line")
    assert readable_by_all(resolve([read_file(path), given])) == []


def test_relative_files_of_secrets_count_from_the_folder_for_settings_with_an_address_too(config, tmp_path):
    path = config("channels:\n  door:\n    capture:\n      substream: rtsp://admin:${file:door.txt}@10.0.0.7/2\n")
    settings = resolve([read_file(path)]).settings
    assert settings.for_channel("door").capture.substream == f"rtsp://admin:${{file:{tmp_path}/door.txt}}@10.0.0.7/2"


def test_relative_files_of_secrets_count_from_the_folder_of_the_settings(config, tmp_path):
    path = config("sources:\n  door: rtsp://admin:${file:door.txt}@10.0.0.7/\n")
    ((_, address),) = read_file(path).sources
    assert address == f"rtsp://admin:${{file:{tmp_path}/door.txt}}@10.0.0.7/"
