"""Values that single channels have of their own: which, how they are given, and what a mistake is answered with."""

import pytest

from app.errors import AppError
from app.settings import Settings, all_settings
from app.settings.channels import why_not_per_channel
from app.settings.reader import COMMAND_LINE, Assignment, Layer, format_settings, read_file, resolve


@pytest.fixture
def config(tmp_path):
    def write(text, name="config.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


DOOR = "sources:\n  door: a.mp4\n  hall: b.mp4\nchannels:\n  door:\n    detection:\n      min_score: 0.8\n"


def complaint(path):
    with pytest.raises(AppError) as error:
        resolve([read_file(path)])
    return str(error.value)


def test_a_channel_has_its_own_values_and_all_others_those_of_all(config):
    settings = resolve([read_file(config("detection:\n  nms_iou: 0.5\n" + DOOR))]).settings
    door, hall = settings.for_channel("door"), settings.for_channel("hall")
    assert (door.detection.min_score, door.detection.nms_iou) == (0.8, 0.5)
    assert hall is settings and hall.detection.min_score is None
    assert door.for_channel("door").detection == door.detection


def test_a_value_of_null_is_that_of_all_channels(config):
    path = config("detection:\n  min_score: 0.6\n" + DOOR.replace("0.8", "null"))
    assert resolve([read_file(path)]).settings.for_channel("door").detection.min_score == 0.6


def test_a_later_file_adds_to_a_channel_and_keeps_its_value_when_it_sets_that_of_all(config):
    later = config("channels:\n  door:\n    tracking:\n      min_hits: 5\ndetection:\n  min_score: 0.5\n", "later.yaml")
    settings = resolve([read_file(config(DOOR)), read_file(later)]).settings
    door = settings.for_channel("door")
    assert (door.detection.min_score, door.tracking.min_hits, settings.detection.min_score) == (0.8, 5, 0.5)


def test_an_option_is_for_all_channels(config):
    options = Layer({"detection.min_score": Assignment(0.4, "--min-score")})
    effective = resolve([read_file(config(DOOR)), options])
    assert effective.settings.for_channel("door").detection.min_score == 0.4
    assert "channels.door.detection.min_score" not in effective.origins


def test_the_table_of_settings_says_where_a_channel_has_its_values_from(config):
    path = config(DOOR)
    rows = [line.split(maxsplit=2) for line in format_settings(resolve([read_file(path)]), [], {}).splitlines()]
    assert rows[-1] == ["channels.door.detection.min_score", "0.8", f"{path}:7"]


@pytest.mark.parametrize(
    ("text", "line", "facts"),
    [
        ("  dor:\n", 5, ["channels.dor", "'door'"]),
        ("  door:\n    detectoin:\n      x: 1\n", 6, ["channels.door", "'detectoin'", "'detection'"]),
        ("  door:\n    detection:\n      min_scor: 1\n", 7, ["channels.door", "'detection.min_score'"]),
        ("  door:\n    detection:\n      min_score: 7\n", 7, ["channels.door.detection.min_score = 7", "0.01 to 1"]),
        ("  door:\n    detection:\n      nms_iou:\n", 7, ["channels.door.detection.nms_iou = None"]),
        ("  door:\n    min_score: 0.7\n", 6, ["channels.door", "'detection'"]),
        ("  door:\n    detection.min_score: 0.7\n", 6, ["'detection:'", "'min_score: …'"]),
        ("  door:\n    models:\n      detector: x\n", 6, ["channels.door", "'models'", "networks"]),
        ("  door:\n    run:\n      max_frames: 1\n", 6, ["channels.door", "'run'"]),
        ("  door:\n    quality:\n      photo_min_score: 0.5\n", 7, ["quality.photo_min_score", "photos"]),
        ("  door:\n    recognition:\n      false_accept_rate: 0.1\n", 7, ["false_accept_rate", "gallery"]),
        ("  door:\n    output:\n      save: x.mp4\n", 7, ["channels.door", "output.save"]),
        ("  door:\n    recognition:\n      min_votes: 6\n", 7, ["min_votes = 6", "vote_window = 5"]),
        ("  door: 3\n", 5, ["channels.door", "key: value"]),
        ("  door:\n  door:\n", 6, ["'door'", "line 5"]),
        ("channels.door.detection.min_score: 1\n", 5, ["'channels:', 'door:', 'detection:', 'min_score:'"]),
    ],
    ids=repr,
)
def test_a_mistake_is_reported_with_its_line_and_what_was_expected(config, text, line, facts):
    path = config("sources:\n  door: a.mp4\n  hall: b.mp4\nchannels:\n" + text)
    message = complaint(path)
    assert message.startswith(f"{path}:{line}: ")
    assert all(fact in message for fact in facts), message


def test_a_polygon_that_cannot_be_read_is_a_mistake_of_its_line(config):
    message = complaint(config("view:\n  watch: 0,0 1,0 1,2\n"))
    assert "config.yaml:2: view.watch: '1,2'" in message


@pytest.mark.parametrize("place", ["view:\n  ignore: 0,0 1,0 1,1\n", DOOR + "    view:\n      watch: 0,0 1,0 1,1\n"])
def test_faces_cannot_be_covered_where_none_are_looked_for(config, place):
    path = config(place + "output:\n  cover: strangers\n")
    message = complaint(path)
    assert "view." in message and f"output.cover = strangers ({path}:" in message


def test_a_substream_belongs_to_one_source(config):
    substream = "capture:\n  substream: rtsp://host/2\n"
    assert "config.yaml:2: capture.substream" in complaint(
        config(substream + "sources:\n  a: rtsp://b/1\n  b: c.mp4\n")
    )
    one = resolve([read_file(config(substream + "sources:\n  a: rtsp://host/1\n"))]).settings
    assert one.for_channel("a").capture.substream == "rtsp://host/2"


def test_the_password_of_a_substream_is_not_shown(config):
    path = config("channels:\n  a:\n    capture:\n      substream: rtsp://ann:s3cret@host/2\n")
    table = format_settings(resolve([read_file(path)]), [], {})
    assert "rtsp://ann:***@host/2" in table and "s3cret" not in table


def test_channels_of_sources_that_only_the_command_line_names_are_no_mistake(config):
    path = config("channels:\n  door:\n    tracking:\n      min_hits: 5\n")
    effective = resolve([read_file(path), Layer(sources=(("door", "c.mp4"),), sources_origin=COMMAND_LINE)])
    assert effective.settings.for_channel("door").tracking.min_hits == 5
    assert resolve([read_file(path)]).channel_places == {"door": f"{path}:2"}


def test_channels_of_a_file_are_no_mistake_when_the_command_line_gives_other_sources(config):
    options = Layer(sources=((None, "c.mp4"),), sources_origin=COMMAND_LINE)
    path = config(DOOR)
    effective = resolve([read_file(path), options])
    assert effective.settings.sources == options.sources
    assert effective.replaced_sources is not None and effective.replaced_sources.startswith(str(path))
    assert resolve([read_file(path)]).replaced_sources is None and resolve([options]).replaced_sources is None


def test_what_a_channel_can_have_and_what_not():
    own = {info.key for info in all_settings() if why_not_per_channel(info) is None}
    assert own >= {"capture.rtsp_transport", "detection.input_size", "quality.min_face_px", "tracking.visit_gap_s"}
    assert not own & {"models.detector", "gallery.folder", "recognition.false_accept_rate", "output.events", "mqtt.url"}


def test_without_channels_the_settings_are_the_same_for_all():
    settings = Settings()
    assert settings.for_channel("door") is settings
