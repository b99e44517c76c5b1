"""The whole program on a video, started like a user would, and its results."""

import json
import shutil
import signal
import time

import cv2
import numpy as np
import pytest
from json_schema import require_event
from made_galleries import copy_photos
from shipped import CATALOG
from waiting import PATIENT_S, until


def events_of(path):
    """The events of a log without its headers."""
    return events_in(path.read_text(encoding="utf-8"))


def events_in(text):
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        require_event(line)
    return [line for line in lines if line["event"] != "log"]


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = video.read()
        if not ok:
            return frames, video.get(cv2.CAP_PROP_FPS)
        frames.append(frame)


@pytest.fixture
def at_noon(monkeypatch):
    """It is about noon for the programs of this test, so that a date does not change while they run."""
    monkeypatch.setenv("TZ", f"TST{time.gmtime().tm_hour - 12:+d}")


@pytest.mark.usefixtures("at_noon")
def test_a_video_becomes_an_annotated_video_and_a_list_of_events(completed, people_video, people_gallery, tmp_path):
    code, out, err = completed(
        "--video", people_video, "--gallery", people_gallery, "--save", "out.mp4", "--events", "made/{date}.jsonl"
    )
    assert code == 0, err
    (events_path,) = (tmp_path / "made").iterdir()
    assert "folder made" in err
    assert set(out.splitlines()[-2:]) == {"written: out.mp4", f"written: made/{events_path.name}"}
    frames, fps = frames_of(tmp_path / "out.mp4")
    assert (len(frames), round(fps)) == (40, 25)
    original, _ = frames_of(people_video)
    assert frames[20].shape == original[20].shape
    # Something was drawn, but only around the faces and in the corner.
    changed = np.abs(frames[20].astype(int) - original[20]).max(axis=2) > 60
    assert 0.001 < changed.mean() < 0.2

    events = events_of(events_path)
    named = {event["name"] for event in events if event["event"] == "identified"}
    assert named == {"Eileen Collins", "Grace Hopper"}
    assert [event["event"] for event in events].count("enter") == 3
    assert [event["event"] for event in events].count("left") == 3
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    stranger = {event["track"] for event in events} - {event["track"] for event in events if event["name"]}
    assert len(stranger) == 1

    assert "40 frames" in out
    assert "Eileen Collins" in out and "Grace Hopper" in out
    assert "no window" in err


def test_recognised_faces_keep_their_names_to_the_end(completed, people_video, people_gallery, tmp_path):
    completed("--video", people_video, "--gallery", people_gallery, "--events", "out.jsonl")
    left = [event for event in events_of(tmp_path / "out.jsonl") if event["event"] == "left"]
    assert sorted(str(event["name"]) for event in left) == ["Eileen Collins", "Grace Hopper", "None"]


def test_head_pose_is_in_the_events_when_enabled(completed, people_video, people_gallery, tmp_path):
    code, _, err = completed(
        "--video",
        people_video,
        "--gallery",
        people_gallery,
        "--head-pose",
        "--save",
        "out.mp4",
        "--events",
        "out.jsonl",
    )
    assert code == 0, err
    entered = [event for event in events_of(tmp_path / "out.jsonl") if event["event"] == "enter"]
    yaw = {event["name"]: event["pose"]["yaw"] for event in entered}
    assert abs(yaw["Eileen Collins"]) < 20 and abs(yaw["Grace Hopper"]) < 20
    assert yaw[None] > 40, "he looks to the right, at his camera"


def test_with_an_empty_gallery_everyone_is_unknown_which_is_logged_once(completed, people_video, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = completed("--video", people_video, "--gallery", "empty", "--max-frames", "10")
    assert code == 0
    assert err.count("no one is enrolled") == 1
    assert "3 visits" in out


def test_a_folder_of_pictures_is_processed_despite_a_broken_one(completed, portraits, people_gallery, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    cv2.imwrite(str(album / "1 collins.jpg"), portraits[0].image)
    (album / "2 broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    cv2.imwrite(str(album / "10 hopper.png"), portraits[1].image[: 333 * 2 - 1 : 1, :509])
    cv2.imwrite(str(album / "11 grey.png"), portraits[2].image[:, :, 0])
    code, out, err = completed("--images", "album", "--gallery", people_gallery, "--events", "out.jsonl")
    assert code == 0, err
    assert "2 broken.jpg" in err
    assert "3 frames" in out
    events = events_of(tmp_path / "out.jsonl")
    entered = [(event["file"], event["name"]) for event in events if event["event"] == "enter"]
    assert entered == [
        ("album/1 collins.jpg", "Eileen Collins"),
        ("album/10 hopper.png", "Grace Hopper"),
        ("album/11 grey.png", None),
    ]
    assert [(event["file"], event["name"]) for event in events if event["event"] == "left"] == entered


def test_a_source_that_does_not_open_is_named_and_the_others_continue(completed, people_video, people_gallery):
    code, out, err = completed(
        "--video",
        f"good={people_video}",
        "--video",
        "bad=nowhere.mp4",
        "--gallery",
        people_gallery,
        "--max-frames",
        "60",
    )
    assert code == 2
    assert "nowhere.mp4" in err
    assert "40 frames" in out


def test_a_password_is_never_shown(completed, people_gallery):
    address = "rtsp://admin:s3cr@t/#@127.0.0.1:9/stream"
    code, out, err = completed("--rtsp", f"door={address}", "--gallery", people_gallery, "--no-wait")
    assert code == 2
    assert "127.0.0.1:9" in err
    assert "s3cr" not in out + err


def test_two_channels_write_one_video_each(completed, people_video, people_gallery, tmp_path):
    code, _, err = completed(
        "--video",
        f"left={people_video}",
        "--video",
        f"right={people_video}",
        "--gallery",
        people_gallery,
        "--save",
        "out.mp4",
    )
    assert code == 0, err
    assert [len(frames_of(tmp_path / f"out-{name}.mp4")[0]) for name in ("left", "right")] == [40, 40]


@pytest.mark.slow
def test_an_existing_video_is_overwritten_only_with_overwrite(completed, people_video, people_gallery, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    words = ("--video", people_video, "--gallery", people_gallery, "--save", "out.mp4")
    code, _, err = completed(*words)
    assert code == 2 and "--overwrite" in err
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    code, _, _ = completed(*words, "--overwrite")
    assert code == 0
    assert len(frames_of(tmp_path / "out.mp4")[0]) == 40


@pytest.mark.slow
def test_an_output_that_fails_is_reported_in_the_summary_and_by_the_exit_code(completed, people_video, people_gallery):
    code, out, err = completed("--video", people_video, "--gallery", people_gallery, "--events", "/dev/full")
    assert code == 1
    assert "40 frames" in out and "NOT COMPLETE: events /dev/full" in out
    assert err.count("WARNING") == err.count("ERROR") == 1, "logged once that it failed, and once what is lost"


@pytest.mark.parametrize("style", ["blur", pytest.param("pixelate", marks=pytest.mark.slow)])
def test_nobody_is_recognised_in_a_video_with_covered_faces(completed, people_video, people_gallery, tmp_path, style):
    words = (
        "--gallery",
        copy_photos(people_gallery, tmp_path / "people"),
    )
    run = completed("--video", people_video, *words, "--save", "covered.mp4", "--cover", "all", "--cover-style", style)
    assert run[0] == 0, run[2]
    assert not (tmp_path / "people" / ".strangers").exists()
    code, _, err = completed("--video", "covered.mp4", *words, "--events", "covered.jsonl", "--summary-json", "s.json")
    assert code == 0, err
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["frames"] == 40
    assert not [event for event in events_of(tmp_path / "covered.jsonl") if event["name"]]


def test_a_mistyped_name_to_cover_is_refused_before_anything_is_shown(
    completed, people_video, people_gallery, tmp_path
):
    code, _, err = completed(
        "--video", people_video, "--gallery", people_gallery, "--save", "out.mp4", "--cover", "Grace Hoper"
    )
    assert code != 0
    assert "'Grace Hoper'" in err
    assert not (tmp_path / "out.mp4").exists()


def test_events_on_standard_output_are_all_that_is_there(completed, people_video, people_gallery):
    code, out, err = completed("--video", people_video, "--gallery", people_gallery, "--events", "-")
    assert code == 0, err
    assert [event["event"] for event in events_in(out)].count("left") == 3
    assert "40 frames" in err


def test_the_summary_is_also_a_json_file(completed, people_video, people_gallery, tmp_path):
    code, out, err = completed("--video", people_video, "--gallery", people_gallery, "--summary-json", "summary.json")
    assert "written: summary.json" in out.splitlines()
    assert code == 0, err
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (summary["schema"], summary["frames"], summary["unknown_visits"], summary["stopped"]) == (1, 40, 1, False)
    assert {person["name"] for person in summary["people"]} == {"Eileen Collins", "Grace Hopper"}
    assert summary["channels"][0]["processed"] == 40 and summary["not_complete"] == []
    code, _, err = completed("--video", people_video, "--gallery", people_gallery, "--summary-json", "no/summary.json")
    assert code == 2 and "no/summary.json" in err and "frames" not in err, "before the run"


@pytest.mark.slow
@pytest.mark.usefixtures("at_noon")
def test_after_a_kill_the_same_command_continues_the_log(program, completed, people_video, people_gallery, tmp_path):
    words = ("--video", people_video, "--gallery", people_gallery, "--events", "visits-{date}.jsonl")
    process = program(*(word for _ in range(30) for word in words[:2]), *words[2:])
    until(lambda: [event for log in tmp_path.glob("visits-*.jsonl") for event in events_of(log)])
    process.kill()
    process.wait()
    (log,) = tmp_path.glob("visits-*.jsonl")
    killed_with = len(events_of(log))
    code, _, err = completed(*words)
    assert code == 0, err
    events = events_of(log)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert {event.get("reason") for event in events[:killed_with]} & {"restart", "run_ended"} == set()
    assert events[killed_with]["reason"] == "restart"
    kinds = [event["event"] for event in events]
    assert kinds.count("enter") == kinds.count("left")


def test_limits_end_the_run(completed, people_video, people_gallery):
    code, out, _ = completed("--video", people_video, "--gallery", people_gallery, "--max-frames", "7")
    assert code == 0 and "7 frames in" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly(program, people_video, people_gallery, tmp_path, number):
    process = program(
        *(word for _ in range(30) for word in ("--video", people_video)),
        "--gallery", people_gallery, "--save", "out.mp4", "--events", "out.jsonl", "--log-level", "info",
    )  # fmt: skip
    # The first event shows that frames are being processed, so the signal comes in the middle.
    events = tmp_path / "out.jsonl"
    until(lambda: process.poll() is not None or (events.is_file() and events_of(events)))
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    assert "frames in" in out and "Traceback" not in err
    videos = sorted(tmp_path.glob("out-*.mp4"))
    assert videos and len(frames_of(videos[0])[0]) > 0
    assert {event["reason"] for event in events_of(events) if event["event"] == "left"} >= {"run_ended"}


def test_without_a_source_the_message_names_an_option(completed):
    code, _, err = completed()
    assert code == 2
    assert "--camera 0" in err and "python -m app demo" in err


def test_settings_are_shown_with_their_origin(completed, tmp_path):
    code, out, _ = completed("--threshold", "0.5", "--rtsp", "rtsp://u:pw@host/1", "--show-settings")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["recognition.threshold", "0.5", "--threshold"] in rows
    assert any(row[0] == "models.catalog" and row[-1].endswith("test.yaml:2") for row in rows)
    assert "pw@" not in out


@pytest.mark.slow
def test_the_demo_recognises_two_people_but_not_the_stranger(completed, tmp_path):
    code, out, err = completed("demo")
    assert code == 0, out + err
    frames, fps = frames_of(tmp_path / "demo.mp4")
    assert (len(frames), round(fps)) == (300, 25)
    assert {event["name"] for event in events_of(tmp_path / "demo.events.jsonl")} == {
        "Eileen Collins",
        "Grace Hopper",
        None,
    }


def test_the_demo_names_a_missing_model(program, tmp_path):
    catalog = tmp_path / "engines" / "catalog.yaml"
    catalog.parent.mkdir()
    shutil.copy(CATALOG, catalog)
    (tmp_path / "test.yaml").write_text(f"models:\n  catalog: {catalog}\n", encoding="utf-8")
    process = program("demo")
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 2
    assert "'retinaface_mnet025' is missing" in err and "git checkout -- engines" in err
