"""One channel recorded in segments, written for real and read back."""

import contextlib
import logging
import subprocess
import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from handles import held, require_no_more_than
from made_results import ANN, frame, picture, result, track
from waiting import PATIENT_S, until

from app.output import recorder as module
from app.output import recordings as folder_module
from app.output.annotate import Annotator
from app.output.outputs import OutputThread
from app.output.recorder import RETRY_S, Recorder, recorders
from app.output.recordings import Recordings
from app.settings import RecordSettings, Settings

av = pytest.importorskip("av", reason="PyAV is not installed (pip install av)")

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc).timestamp()
FPS = 10


class Camera:
    """A live camera whose frames are recorded, with the clocks that they carry."""

    def __init__(self, folder, wall=NOON, annotator=None, post_roll_s=1.0, **settings):
        self.settings = RecordSettings(**{"folder": folder, "min_free_gb": 0.0, "segment_minutes": 0.1, **settings})
        self.wall, self.clock, self.frames = wall, 5000.0, 0
        self.recordings = Recordings(folder, self.settings)
        self.recorder = Recorder(
            self.recordings, "door", self.settings, annotator, post_roll_s, clock=lambda: self.clock
        )

    def show(self, seconds, people=False, image=None):
        for _ in range(round(seconds * FPS)):
            made = frame(self.frames, captured_at=self.wall, clock_s=self.clock, image=image)
            self.recorder.handle(result(made, tracks=[track(1, ANN)] if people else []))
            self.frames += 1
            self.wall = round(self.wall + 1 / FPS, 3)
            self.clock = round(self.clock + 1 / FPS, 3)

    def close(self):
        self.recorder.close()
        self.recordings.close()
        return segments(self.settings.folder)


@pytest.fixture(autouse=True)
def enough_room(monkeypatch):
    monkeypatch.setattr(folder_module, "MIN_FREE_BYTES", 0)


def segments(folder):
    """Of each segment: the time in its name, in seconds after noon, and the seconds at which frames are shown."""
    found = []
    for path in sorted(folder.rglob("*.mp4")):
        began = datetime.strptime(path.stem[-20:], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=timezone.utc).timestamp()
        times = []
        with av.open(str(path)) as container, contextlib.suppress(av.error.InvalidDataError):  # its end may be missing
            for shown in container.decode(container.streams.video[0]):
                times.append(round(shown.time, 2))
        found.append((round(began - NOON), times))
    return found


def seconds(count, begin=0.0):
    return pytest.approx([begin + index / FPS for index in range(count)], abs=0.011)


def test_segments_are_cut_at_multiples_of_their_length_and_no_frame_is_lost(tmp_path):
    camera = Camera(tmp_path, wall=NOON + 2)
    camera.show(14)
    assert camera.close() == [(2, seconds(40)), (6, seconds(60)), (12, seconds(40))]
    assert camera.recordings.written == (tmp_path,)
    assert camera.recorder.lost == []


def test_a_clock_that_is_corrected_makes_no_segment_of_a_frame(tmp_path):
    camera = Camera(tmp_path, wall=NOON + 2)
    camera.show(3)
    camera.wall -= 0.01
    camera.show(8)
    assert camera.close() == [(2, seconds(40)), (5, seconds(61)), (12, seconds(9))]


def test_a_segment_can_be_played_while_it_is_written(tmp_path):
    camera = Camera(tmp_path, segment_minutes=10.0)
    camera.show(5)
    ((_, times),) = segments(tmp_path)
    assert times == seconds(len(times)) and times[-1] >= 3.0
    camera.close()


def test_midnight_is_the_beginning_of_another_folder(tmp_path):
    camera = Camera(tmp_path, wall=NOON + 12 * 3600 - 3)
    camera.show(6)
    camera.close()
    assert sorted(path.parent.name for path in tmp_path.rglob("*.mp4")) == ["2026-11-30", "2026-12-01"]


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_is_set_changes_no_duration_and_overwrites_nothing(tmp_path, step_s):
    camera = Camera(tmp_path, segment_minutes=0.1)
    camera.show(3)
    camera.wall += step_s
    camera.show(6)
    recorded = camera.close()
    assert sorted(begin for begin, _ in recorded) == sorted([0, 6 + step_s])
    assert sorted(len(times) for _, times in recorded) == [30, 60]
    assert all(times == seconds(len(times)) for _, times in recorded)


def test_a_gap_of_the_camera_is_shown(tmp_path):
    camera = Camera(tmp_path, segment_minutes=1.0)
    camera.show(1)
    camera.wall += 7
    camera.clock += 7
    camera.show(1)
    camera.wall += 60
    camera.clock += 60
    camera.show(1)
    first, second = camera.close()
    assert first == (0, pytest.approx([*(i / FPS for i in range(10)), *(8 + i / FPS for i in range(10))], abs=0.011))
    assert second == (69, seconds(10))
    with av.open(str(min(tmp_path.rglob("*.mp4")))) as container:
        (stream,) = container.streams.video
        assert float(stream.duration * stream.time_base) < 10.5, "the last picture is not shown for a minute"


def test_only_visits_are_recorded_with_what_was_before_and_after(tmp_path):
    camera = Camera(tmp_path, when="visits", segment_minutes=10.0, pre_roll_s=2.0, post_roll_s=3.0)
    camera.show(10)
    camera.show(4, people=True)
    camera.show(2)
    camera.show(1, people=True)
    camera.show(20)
    camera.show(1, people=True)
    (first, shown), (second, again) = camera.close()
    assert (first, second) == (8, 35)
    assert shown[-1] == pytest.approx(2 + 7 + 3, abs=0.3), "the two visits are one recording, with 3 s after them"
    before = [time for time in shown if time < 2.0]
    assert 8 <= len(before) <= 11, "5 frames/s"
    assert again[-1] == pytest.approx(3.0, abs=0.3)


def test_before_a_visit_a_slow_camera_is_recorded_with_all_its_frames(tmp_path):
    camera = Camera(tmp_path, when="visits", segment_minutes=10.0, pre_roll_s=2.0)
    for number in range(11):
        made = frame(number, captured_at=NOON + number / 5, clock_s=5000 + number / 5 + 0.004 * (number % 2))
        camera.recorder.handle(result(made, tracks=[track(1, ANN)] if number == 10 else []))
    ((_, times),) = camera.close()
    assert len(times) == 11


def test_nothing_is_written_while_no_one_is_there(tmp_path):
    camera = Camera(tmp_path, when="visits")
    camera.show(30)
    assert camera.close() == []
    assert camera.recordings.written == ()


def test_what_is_kept_from_before_a_visit_is_limited_in_bytes(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    size = len(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    monkeypatch.setattr(module, "PRE_ROLL_BYTES", 4 * size + size // 2)
    camera = Camera(tmp_path, when="visits", pre_roll_s=30.0, segment_minutes=10.0)
    camera.show(30, image=noise)
    camera.show(1, people=True, image=noise)
    ((_, times),) = camera.close()
    assert times[-1] <= 4 / module.PRE_ROLL_FPS + 1


def test_pictures_are_annotated_or_those_of_the_camera(tmp_path):
    grey = picture(grey=128)
    difference = {}
    for name, annotator in (("plain", None), ("annotated", Annotator())):
        camera = Camera(tmp_path / name, annotator=annotator)
        camera.show(0.5, people=True, image=grey)
        camera.close()
        (path,) = (tmp_path / name).rglob("*.mp4")
        _, image = cv2.VideoCapture(str(path)).read()
        difference[name] = np.abs(image.astype(int) - 128).max()
    assert difference["plain"] < 10 < difference["annotated"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from test_recorder import Camera

    camera = Camera(Path(sys.argv[1]))
    camera.show(float(sys.argv[3]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_after(folder, seconds):
    paths = [path for path in sys.path if path]
    setup = f"import sys; sys.path[:0] = {paths!r}\n"
    command = [sys.executable, "-c", setup + textwrap.dedent(KILLED), str(folder), str(Path(__file__).parent), seconds]
    run = subprocess.run(list(map(str, command)), capture_output=True, timeout=PATIENT_S, check=False)
    assert run.returncode == -9, run.stderr.decode()


def test_after_kill_9_all_but_the_last_second_is_there_and_the_next_start_goes_on(tmp_path):
    killed_after(tmp_path, 9)
    (_, first), (_, second) = segments(tmp_path)
    assert first == seconds(60), "it is complete"
    assert second == seconds(len(second)) and second[-1] >= 3.0 - 1.2
    camera = Camera(tmp_path, wall=NOON + 12)
    camera.show(2)
    assert [begin for begin, _ in camera.close()] == [0, 6, 12]


def test_a_segment_of_which_a_kill_left_no_picture_is_removed(tmp_path):
    killed_after(tmp_path, 0.3)
    assert len(list(tmp_path.rglob("*.mp4"))) == 1
    camera = Camera(tmp_path, wall=NOON + 12)
    camera.show(2)
    assert camera.close() == [(12, seconds(20))]


def test_a_segment_whose_last_header_is_incomplete_is_repaired_at_the_next_start(tmp_path):
    camera = Camera(tmp_path)
    camera.show(5)
    camera.close()
    (path,) = tmp_path.rglob("*.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moof") + 40])
    assert cv2.VideoCapture(str(path)).read()[0] is False
    Recordings(tmp_path, camera.settings).close()
    ((_, times),) = segments(tmp_path)
    assert times == seconds(len(times)) and times[-1] >= 2.9


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no rights to mount a disk")
    except FileNotFoundError:
        pytest.skip("no mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_at_once_loses_some_frames_and_recording_goes_on(small_disk, caplog, monkeypatch):
    """It fills faster than it is checked: writing fails, the oldest segments are deleted, and it goes on."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(folder_module, "CHECK_EVERY_S", 3600.0)
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    camera = Camera(small_disk, min_free_gb=0.003, segment_minutes=0.05)
    camera.recordings.start()
    for _ in range(12):
        camera.show(10, image=noise)
        camera.clock += RETRY_S
        camera.wall += RETRY_S
        until(lambda: camera.recordings.paused is None)
    recorded = camera.close()
    assert recorded[0][0] > 0, "the first segment was deleted"
    assert recorded[-1][1][-1] > 0
    assert camera.recorder.lost != []
    assert "No space left" in caplog.text


def test_a_disk_that_is_full_when_recording_ends_is_named_and_what_fits_can_be_played(small_disk, caplog):
    camera = Camera(small_disk)
    camera.show(1.8, image=np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8))
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    ((_, times),) = camera.close()
    assert "No space left" in caplog.text
    assert camera.recorder.lost != []
    assert times[-1] >= 0.8


def test_a_segment_that_is_removed_while_it_is_written_is_followed_by_another(tmp_path):
    camera = Camera(tmp_path, segment_minutes=10.0)
    camera.show(8)
    (path,) = tmp_path.rglob("*.mp4")
    path.unlink()
    camera.show(6)
    assert not camera.recorder.is_working
    camera.clock += RETRY_S
    camera.wall += RETRY_S
    camera.show(3)
    assert camera.recorder.is_working
    assert [len(times) for _, times in camera.close()] == [30]
    assert camera.recorder.lost != []


def test_hundreds_of_segments_leave_no_handle_open(tmp_path):
    camera = Camera(tmp_path, segment_minutes=0.05)
    camera.show(9)
    before = held()
    camera.show(3 * 100)
    require_no_more_than(before)
    assert len(camera.close()) == 103


def test_through_its_thread_a_recorder_names_what_is_lost(tmp_path):
    camera = Camera(tmp_path)
    thread = OutputThread(camera.recorder, 4)
    for index in range(20):
        thread.handle(result(frame(index, position=index / FPS)))
    thread.close()
    assert (thread.handled, thread.written, thread.lost) == (20, (), ())
    camera.recordings.close()


def test_channels_are_recorded_as_their_own_settings_say(tmp_path):
    own = (("yard", (("record.when", "never"),)), ("hall", (("record.segment_minutes", 0.05),)))
    settings = Settings(record=RecordSettings(folder=tmp_path, min_free_gb=0.0), channels=own)
    recordings = Recordings(tmp_path, settings.record)
    made = dict(recorders(recordings, settings, ["door", "yard", "hall", "ha:ll"], Annotator()))
    for recorder in made.values():
        for index in range(5 * FPS):
            moment = NOON + index / FPS
            recorder.handle(result(frame(index, captured_at=moment, clock_s=moment)))
        recorder.close()
    recordings.close()
    assert sorted(made) == ["door", "ha:ll", "hall"]
    assert {path.name: len(list(path.rglob("*.mp4"))) for path in tmp_path.iterdir() if path.is_dir()} == {
        "door": 1,
        "hall": 2,
        "ha_ll": 1,
    }
