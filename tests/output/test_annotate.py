"""Drawing on a copy of the frame."""

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import ANN, STRANGER, frame, picture, result
from waiting import PATIENT_S

from app.output import areas
from app.output.annotate import (
    KNOWN,
    NOT_COMPARED,
    UNKNOWN,
    Annotator,
    attributes_text,
    frame_status,
    label_texts,
    level_status,
    live_status,
    place_label,
    style_of,
    why_lines,
)
from app.output.areas import Outlines
from app.output.areas import outlines as all_outlines
from app.settings import Settings, ViewSettings
from app.types import NO_ATTRIBUTES, NOT_COMPARED_YET, FaceAttributes, Faces, Gender, HeadPose, Match, Reason

BOX = (100, 60, 160, 130)


def has_colour(image, colour):
    return bool((image == np.array(colour, np.uint8)).all(axis=2).any())


def test_the_frame_itself_is_not_changed():
    made = frame()
    before = made.image.copy()
    annotated = Annotator(landmarks=True).annotate(result(made, [BOX], [ANN]))
    assert np.array_equal(made.image, before)
    assert not np.shares_memory(annotated, made.image)
    assert annotated.shape == before.shape and annotated.dtype == np.uint8
    assert not np.array_equal(annotated, before)


@pytest.mark.parametrize(
    ("match", "style"),
    [
        (ANN, KNOWN),
        (STRANGER, UNKNOWN),
        (Match(None, Reason.NO_ONE_ENROLLED), UNKNOWN),
        (Match(None, Reason.AMBIGUOUS, 0.6), UNKNOWN),
        (NOT_COMPARED_YET, NOT_COMPARED),
        (Match(None, Reason.TOO_SMALL), NOT_COMPARED),
    ],
)
def test_known_unknown_and_not_compared_have_their_own_colours(match, style):
    annotated = Annotator().annotate(result(frame(), [BOX], [match]))
    assert [has_colour(annotated, each.line) for each in (KNOWN, UNKNOWN, NOT_COMPARED)] == [
        each is style for each in (KNOWN, UNKNOWN, NOT_COMPARED)
    ]


def test_words_differ_as_colours_do():
    assert label_texts(ANN) == ("Ann", "0.67")
    certain = [label_texts(dataclasses.replace(ANN, confidence=value))[1] for value in (0.964, 0.9999, 0.0001)]
    assert certain == ["96 %", ">99 %", "<1 %"]
    unnamed = [label_texts(match) for match in (STRANGER, Match(None, Reason.TOO_SMALL), NOT_COMPARED_YET)]
    assert len(set(unnamed)) == 3 and {similarity for _, similarity in unnamed} == {""}
    assert len(label_texts(Match("x" * 300, Reason.MATCHED, 0.5))[0]) == 40


NEAR = Match(None, Reason.BELOW_THRESHOLD, 0.36, nearest="Ann", runner_up="Eve", runner_up_similarity=0.305)


def test_why_names_the_nearest_people_and_the_reason():
    reason, nearest, runner_up = why_lines(NEAR)
    assert reason and nearest.endswith("Ann 0.36") and runner_up.endswith("Eve 0.30")
    assert len(why_lines(dataclasses.replace(NEAR, runner_up=None))) == 2


def test_why_shows_the_numbers_of_the_reason():
    assert "18<20 px" in why_lines(Match(None, Reason.TOO_SMALL, measured=18.2, limit=20))[0]


def test_why_does_not_repeat_the_name_of_the_label():
    named = Match("Ann", Reason.MATCHED, 0.71, nearest="Ann", runner_up="Eve", runner_up_similarity=0.31)
    assert "Ann" not in " ".join(why_lines(named)) and why_lines(named)[-1].endswith("Eve 0.31")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_can_be_shown(reason):
    (text,) = why_lines(Match(None, reason))
    assert text and "_" not in text


def test_why_can_be_switched_and_makes_the_label_higher():
    annotator = Annotator(why=True)
    with_reasons = annotator.annotate(result(frame(), [BOX], [NEAR]))
    annotator.why = False
    without = annotator.annotate(result(frame(), [BOX], [NEAR]))
    areas = [(image == np.array(UNKNOWN.line, np.uint8)).all(axis=2).sum() for image in (with_reasons, without)]
    assert areas[0] > 1.5 * areas[1]


def test_the_corner_shows_where_in_its_source_a_frame_is():
    assert frame_status(frame(position=754.26)) == ["front", "12:34.3"]
    assert frame_status(frame(continues=False, file="album/1.jpg")) == ["front", "1.jpg"]
    channel, moment = frame_status(frame(captured_at=1.7e9))
    assert channel == "front" and len(moment) == len("2023-11-14 22:13:20")
    image = Annotator().annotate(result())
    assert image[:40, :200].max() == 255 and (image[100:] == 90).all()


def test_the_corner_of_a_live_window_shows_rate_and_delay():
    assert live_status(result(latency_s=0.0431), 24.83) == ["front", "24.8 fps", "43 ms"]
    assert live_status(result(latency_s=12.0), None) == ["front", "12 s"]
    default = Annotator().annotate(result())
    assert not np.array_equal(Annotator().annotate(result(), ["front", "24.8 fps"]), default)


def test_the_corner_says_what_is_left_out_on_a_slow_machine():
    slow = dataclasses.replace(result(), degrade_level=2)
    assert level_status(slow) == ["degraded: longer interval (2 of 4)"]
    assert level_status(result()) == []
    for status in (None, ["front", "3.1 fps"]):
        assert not np.array_equal(Annotator().annotate(slow, status), Annotator().annotate(result(), status))


def test_landmarks_can_be_switched_on_and_off():
    annotator = Annotator()
    without = annotator.annotate(result(frame(), [BOX], [ANN]))
    annotator.landmarks = True
    drawn = annotator.annotate(result(frame(), [BOX], [ANN]))
    assert (without[95, 130] == 90).all() and (drawn[95, 130] == 255).all()


def test_what_a_channel_watches_is_outlined_in_its_own_pictures_only():
    image = np.full((360, 640, 3), 100, np.uint8)
    view = ViewSettings(watch="0.25,0.25 0.75,0.25 0.75,0.75 0.25,0.75")
    annotator = Annotator(outlines={"door": Outlines(view)})
    door, yard = (annotator.annotate(result(frame(source=name, image=image))) for name in ("door", "yard"))
    for y, x in ((90, 320), (270, 320), (180, 160), (180, 479)):
        assert (door[y, x] != image[y, x]).any() and (yard[y, x] == image[y, x]).all()
    assert (door[180, 320] == image[180, 320]).all()


def test_outlines_follow_the_size_of_the_frames():
    outlines = Outlines(ViewSettings(ignore="0.5,0 1,0 1,1 0.5,1"))
    for width, height in ((640, 360), (320, 180), (640, 360)):
        image = np.full((height, width, 3), 100, np.uint8)
        outlines.draw(image)
        assert (image[height // 2, round(width / 2)] != 100).all() and (image[height // 2, width // 4] == 100).all()


def test_outlines_are_drawn_by_two_threads_while_the_size_changes(monkeypatch):
    """A video and a recording of one channel have threads of their own."""
    outlines = Outlines(ViewSettings(ignore="0.5,0 1,0 1,1 0.5,1"))
    outlines.draw(np.full((360, 640, 3), 100, np.uint8))
    find, others = areas._outline, []

    def found_while_another_thread_draws(shape, polygon):
        monkeypatch.setattr(areas, "_outline", find)
        image = np.full(shape, 100, np.uint8)
        thread = threading.Thread(target=outlines.draw, args=(image,))
        thread.start()
        thread.join(PATIENT_S)
        others.append(image)
        return find(shape, polygon)

    monkeypatch.setattr(areas, "_outline", found_while_another_thread_draws)
    mine = np.full((180, 320, 3), 100, np.uint8)
    outlines.draw(mine)
    assert (mine[90, 160] != 100).all() and (others[0] == mine).all()


def test_only_channels_that_do_not_watch_everything_have_outlines():
    settings = Settings(channels=(("door", (("view.watch", "0,0 1,0 1,1"),)),))
    assert list(all_outlines(settings, ["door", "yard"])) == ["door"]


def test_a_grid_can_be_switched_on_and_off():
    annotator = Annotator()
    image = np.full((360, 640, 3), 100, np.uint8)
    made = result(frame(image=image))
    plain = annotator.annotate(made)
    annotator.grid = True
    changed = (annotator.annotate(made) != plain).any(axis=2)
    assert (
        changed[100, [64 * step for step in range(1, 10)]].all()
        and changed[[36 * step for step in range(1, 10)], 100].all()
    )
    assert not changed[80:100, 100:120].any()
    annotator.grid = False
    assert (annotator.annotate(made) == plain).all()


def test_letters_and_lines_grow_with_the_frame():
    def label_rows(width, height):
        scale = height / 180
        box = [side * scale for side in BOX]
        image = Annotator().annotate(result(frame(image=picture(width, height)), [box], [ANN]))
        column = image[: int(60 * scale), int(105 * scale)]
        return (column == np.array(KNOWN.line)).all(axis=1).sum()

    assert label_rows(2560, 1440) > 2.5 * label_rows(640, 360)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (8, 8), (33, 17)])
def test_tiny_frames_and_boxes_outside_the_frame_work(size):
    boxes = [(-50, -50, 500, 500), (1000, 1000, 1100, 1100), (3, 3, 3, 3), (-90, -90, -20, -20)]
    image = Annotator(landmarks=True).annotate(
        result(frame(image=picture(*size)), boxes, [ANN, STRANGER, NOT_COMPARED_YET, ANN])
    )
    assert image.shape == (size[1], size[0], 3)


@given(
    box=st.tuples(*[st.integers(-200, 900)] * 4),
    label=st.tuples(st.integers(1, 400), st.integers(1, 80)),
    frame_size=st.tuples(st.integers(1, 800), st.integers(1, 600)),
)
def test_a_label_stays_inside_the_picture(box, label, frame_size):
    x, y = place_label(box, label, frame_size)
    assert x >= 0 and y >= 0
    for at, length, room in zip((x, y), label, frame_size):
        assert at + length <= room or (length > room and at == 0)


def test_a_label_is_above_the_box_or_below_or_inside_it():
    size, label = (320, 180), (80, 20)
    assert place_label((100, 60, 160, 130), label, size) == (100, 40)
    assert place_label((100, 5, 160, 130), label, size) == (100, 130)
    assert place_label((100, 5, 160, 175), label, size) == (100, 5)
    assert place_label((300, 60, 318, 130), label, size) == (240, 40), "moved in from the right"


def test_attributes_are_a_few_words():
    known = FaceAttributes(gender=Gender.MALE, age=34.4, mask=True, live_probability=0.2)
    assert attributes_text(known) == "male 34, mask, not live"
    assert attributes_text(FaceAttributes(mask=False, live_probability=0.7)) == "no mask, live"
    assert attributes_text(NO_ATTRIBUTES) == ""


def drawn(attributes):
    made = result(boxes=[(100, 60, 180, 150)], matches=[ANN])
    return Annotator().annotate(dataclasses.replace(made, attributes=attributes))


def test_attributes_make_the_label_higher_and_points_and_pose_are_drawn():
    plain = drawn(())
    np.testing.assert_array_equal(drawn((NO_ATTRIBUTES,)), plain)

    def changed_rows(image):
        return np.flatnonzero((image != plain).any(axis=(1, 2)))

    assert len(changed_rows(drawn((FaceAttributes(gender=Gender.FEMALE, age=30),)))) > 10
    points = np.full((106, 2), (120, 170), np.float32)
    assert set(changed_rows(drawn((FaceAttributes(landmarks106=points),)))) <= set(range(167, 174))


def test_the_line_of_the_pose_points_in_the_direction_of_the_gaze():
    boxes = np.array([[100, 40, 180, 140]], np.float32)
    eyes_apart = np.array([[[120, 80], [160, 80], [140, 95], [125, 115], [155, 115]]], np.float32)
    made = dataclasses.replace(
        result(boxes=boxes, matches=[ANN]), faces=Faces(boxes, np.ones(1, np.float32), eyes_apart)
    )
    plain = Annotator().annotate(made)
    for pose, right, up in ((HeadPose(60, 0, 0), 1, 0), (HeadPose(-60, 0, 0), -1, 0), (HeadPose(0, 60, 0), 0, 1)):
        known = dataclasses.replace(made, attributes=(FaceAttributes(pose=pose),))
        rows, columns = np.nonzero((Annotator().annotate(known) != plain).any(axis=2))
        assert np.sign(np.round((columns.mean() - 140) / 10)) == right
        assert np.sign(np.round((95 - rows.mean()) / 10)) == up


def test_a_stranger_has_the_number_as_a_label_and_an_ignored_one_none():
    assert label_texts(STRANGER, "stranger-7") == ("stranger-7", "")
    assert label_texts(ANN, "stranger-7")[0] == "Ann"
    assert label_texts(Match(None, Reason.IGNORED), None) == ("ignored", "")
    assert style_of(Match(None, Reason.IGNORED)) == NOT_COMPARED
