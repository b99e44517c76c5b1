"""Settings: command line over file over default, and every mistake answered with its place and its remedy."""

from pathlib import Path

import pytest
import yaml

from app.errors import SettingsError
from app.settings import Settings, leaves, sections
from app.settings.reader import Assignment, Layer, read_file, resolve, show

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(path):
    with pytest.raises(SettingsError) as error:
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


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "recognition:\n", "sources:\n"], ids=repr)
def test_empty_files_and_sections_are_fine(config, text):
    assert resolve([read_file(config(text))]).settings == Settings()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            "recognition:\n  treshold: 0.4\n",
            ":2",
            "no setting 'recognition.treshold'; did you mean 'recognition.threshold'",
        ),
        ("\n\nrecogntion:\n  threshold: 1\n", ":3", "no setting 'recogntion'; did you mean 'recognition'"),
        ("run:\n  threshold: 0.4\n", ":2", "did you mean 'recognition.threshold'"),
        ("recognition.threshold: 0.4\n", ":1", "in two lines: 'recognition:', and below it, indented, 'threshold: …'"),
        ("recognition:\n  recognition.threshold: 0.4\n", ":2", "in two lines: 'recognition:', and below it, indented"),
        ("sources.door: camera:0\n", ":1", "in two lines: 'sources:', and below it, indented, 'door: …'"),
        ("recognition.treshold: 0.4\n", ":1", "did you mean 'recognition.threshold'"),
        ("recognition:\n  threshold: 7\n", ":2", "threshold = 7: expected a number from -1 to 1"),
        ("recognition:\n  threshold: high\n", ":2", "threshold = 'high': expected a number from -1 to 1"),
        ("recognition:\n  margin: .nan\n", ":2", "margin = nan: expected a number"),
        ("recognition:\n  margin:\n", ":2", "margin = None: expected a number"),
        ("run:\n  max_frames: 1.5\n", ":2", "max_frames = 1.5: expected a whole number"),
        ("run:\n  max_frames: true\n", ":2", "max_frames = True: expected a whole number"),
        ("output:\n  overwrite: 1\n", ":2", "overwrite = 1: expected true or false"),
        ("capture:\n  backend: magic\n", ":2", "backend = 'magic': expected one of auto, ffmpeg, gstreamer"),
        ("output:\n  save: 3\n", ":2", "save = 3: expected a path"),
        ("recognition:\n  threshold: !x 1\n", ":2", "threshold: this value is not understood; expected a number"),
        ("output:\n  save: 2024-13-01\n", ":2", "save: this value is not understood; expected a path"),
        ("{a: b}: 1\n", ":1", "must consist of lines"),
        ("recognition: 0.4\n", ":1", "recognition must consist of lines 'key: value'"),
        ("sources:\n  door: [1]\n", ":2", "sources.door must be an address"),
        ("run:\n  duration_s: 1\n  duration_s: 2\n", ":3", "stands here a second time (first in line 2)"),
    ],
    ids=repr,
)
def test_a_mistake_is_answered_with_its_line_and_what_was_expected(config, text, place, words):
    path = config(text)
    message = complaint(path)
    assert message.startswith(f"{path}{place}: ")
    assert words in message


def test_settings_that_contradict_each_other_are_refused(config):
    path = config("recognition:\n  vote_window: 3\n  min_votes: 4\n")
    message = complaint(path)
    assert f"{path}:2, {path}:3" in message and "min_votes = 4 cannot be more than" in message


def test_text_that_is_not_yaml_is_refused_with_the_place(config):
    path = config("run:\n  max_frames: [\n")
    assert complaint(path).startswith(f"{path}:3: this is not valid YAML")
    path = config("run:\n\tmax_frames: 1\n")
    assert complaint(path).startswith(f"{path}:2: ") and "not with tabs" in complaint(path)


def test_a_setting_without_its_section_is_told_where_it_belongs(config):
    path = config("threshold: 0.4\n")
    assert complaint(path).startswith(f"{path}:1: 'threshold' belongs into the section 'recognition'")


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml: the settings cannot be read" in complaint(tmp_path / "nowhere.yaml")


def test_the_table_shows_values_and_where_they_come_from(config):
    path = config("recognition:\n  threshold: 0.4\n")
    lines = show(resolve([read_file(path)]), ["rtsp://***@door/1"], {"output.window": "as it comes"}).splitlines()
    assert any(line.split() == ["recognition.threshold", "0.4", f"{path}:2"] for line in lines)
    assert any(line.split() == ["output.window", "null", "(as", "it", "comes)", "default"] for line in lines)
    assert "rtsp://***@door/1" in lines[0]
    assert len(lines) == 1 + len(list(leaves()))


def test_the_shipped_config_file_names_every_setting_with_its_default():
    path = ROOT / "config.yaml"
    assert resolve([read_file(path)]).settings == Settings()
    # Everything in it is commented out; uncommented, it says what holds anyway.
    lines = path.read_text(encoding="utf-8").splitlines()
    settings_lines = lines[lines.index(f"# {next(iter(sections()))}:") :]
    shown = yaml.safe_load("\n".join(line[2:] for line in settings_lines))
    assert list(shown) == list(sections())
    for leaf in leaves():
        assert leaf.name in shown[leaf.section], leaf.key
        value = shown[leaf.section][leaf.name]
        assert value == (str(leaf.default) if isinstance(leaf.default, Path) else leaf.default), leaf.key
