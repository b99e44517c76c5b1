"""Videos through GStreamer in a process of its own, with a software encoder in the place of the Jetson's."""

import functools
import logging
import os
import signal
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from handles import held, require_no_more_than
from local_process import is_running
from made_results import picture
from noise_camera import NoiseCamera
from waiting import PATIENT_S, until

from app.errors import OutputError
from app.gstreamer.process import PipelineError, find_elements
from app.output import video_encoders
from app.output.pipeline_writer import (
    HARDWARE,
    SOFTWARE,
    PipelineWriter,
    bit_rate,
    encoder_pipeline,
    why_encoder_fails,
)
from app.output.video import RETRY_S
from app.output.video_encoders import open_video_writer, uses_hardware

av = pytest.importorskip("av", reason="PyAV is not installed (pip install av)")


@functools.lru_cache(maxsize=None)
def missing():
    try:
        return ", ".join(find_elements((SOFTWARE, "appsrc", "h264parse", "mp4mux", "fdsink")).missing)
    except PipelineError as error:
        return str(error)


needs_gstreamer = pytest.mark.skipif(
    bool(missing()), reason=f"GStreamer: {missing()}; tests/install_system_packages.sh"
)


def read_video(path):
    with av.open(str(path)) as container:
        return [(decoded.time, decoded.to_ndarray(format="bgr24")) for decoded in container.decode(video=0)]


def playable_frames(path):
    """As a player would: until a frame cannot be decoded."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def grey(number, size=(320, 180)):
    return picture(*size, grey=30 + 10 * (number % 20))


def number_of(image):
    return round((float(image.mean()) - 30) / 10)


def software(path, size=(320, 180), fps=25.0):
    return PipelineWriter(path, size, 23, fps, SOFTWARE)


@needs_gstreamer
@pytest.mark.parametrize("size", [(320, 180), (322, 182), (326, 90), (16, 16)])
def test_every_frame_comes_back_with_its_own_time(tmp_path, size):
    path = tmp_path / 'odd "name" \\.mp4'
    times = [number / 24 + (4 if number >= 30 else 0) for number in range(60)]
    writer = software(path, size)
    for number, seconds in enumerate(times):
        writer.write(grey(number, size), seconds)
    writer.close(1 / 24)
    shown = read_video(path)
    assert [time_s for time_s, _ in shown] == pytest.approx(times, abs=1e-4)
    assert [number_of(image) for _, image in shown] == [number % 20 for number in range(60)]
    assert {image.shape for _, image in shown} == {(size[1], size[0], 3)}
    content = path.read_bytes()
    assert content[4:8] == b"ftyp" and content.index(b"moov") < content.index(b"moof") and content.count(b"moof") >= 3


@needs_gstreamer
@pytest.mark.parametrize("width", [320, 322])
def test_colours_and_places_are_those_of_the_picture(tmp_path, width):
    image = np.zeros((180, width, 3), np.uint8)
    image[:90, : width // 2] = (30, 60, 200)
    image[90:, width // 2 :] = (200, 30, 30)
    writer = software(tmp_path / "video.mp4", (width, 180))
    for number in range(5):
        writer.write(image, number / 25)
    writer.close(0.04)
    shown = read_video(tmp_path / "video.mp4")[-1][1].astype(int)
    for corner in (np.s_[10:80, 10:150], np.s_[100:170, 10:150], np.s_[10:80, 170:310], np.s_[100:170, 170:310]):
        assert np.abs(shown[corner].mean(axis=(0, 1)) - image[corner].mean(axis=(0, 1))).max() < 6


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from app.output.pipeline_writer import SOFTWARE, PipelineWriter

    writer = PipelineWriter(Path(sys.argv[1]), (320, 180), 23, 25.0, SOFTWARE)
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    for number in range(100):
        writer.write(np.roll(noise, number, axis=1), number / 25)
    print(writer._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_gstreamer
def test_after_kill_9_of_the_program_gstreamer_finishes_the_video(tmp_path):
    path = tmp_path / "video.mp4"
    setup = f"import sys; sys.path[:0] = {[entry for entry in sys.path if entry]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(KILLED), str(path)],
        stdout=subprocess.PIPE,
        timeout=PATIENT_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    until(lambda: not is_running(int(done.stdout)))
    assert len(read_video(path)) == 99, "all but the one whose length was not known"


@needs_gstreamer
def test_after_kill_9_of_gstreamer_all_but_the_last_second_is_there_and_the_cause_is_named(tmp_path):
    path = tmp_path / "video.mp4"
    writer = software(path)
    frames = iter(range(10_000))

    def write():
        number = next(frames)
        writer.write(grey(number), number / 25)

    until(lambda: path.stat().st_size > 0 and path.read_bytes().count(b"mdat") >= 3, write)
    whole = path.read_bytes().count(b"mdat")
    os.kill(writer._process.pid, signal.SIGKILL)
    with pytest.raises(OutputError, match=r"video\.mp4: .*signal 9"):
        while True:
            write()
    writer.abandon()
    assert playable_frames(path) >= (whole - 1) * 25 - 1


@needs_gstreamer
def test_the_video_is_finished_although_systemd_asks_all_processes_to_end(tmp_path):
    writer = software(tmp_path / "video.mp4")
    for number in range(50):
        writer.write(grey(number), number / 25)
        os.kill(writer._process.pid, signal.SIGTERM)
    writer.close(0.04)
    assert len(read_video(tmp_path / "video.mp4")) == 50


@needs_gstreamer
def test_an_encoder_that_cannot_be_opened_says_so_at_once_and_leaves_nothing(tmp_path):
    before = held()
    if not find_elements(("nvvidconv",)).missing:
        pytest.skip("this machine has NVIDIA's elements")
    with pytest.raises(OutputError, match="nvvidconv"):
        PipelineWriter(tmp_path / "video.mp4", (320, 180), 23, 25.0, HARDWARE)
    require_no_more_than(before)


@needs_gstreamer
def test_an_encoder_that_hangs_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("app.output.pipeline_writer._TAKE_TIMEOUT_S", 0.2)
    writer = software(tmp_path / "video.mp4")
    pid = writer._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(OutputError, match="does not answer"):
        for number in range(1000):
            writer.write(grey(number), number / 25)
    writer.abandon()
    assert not is_running(pid)


@needs_gstreamer
def test_nothing_is_left_behind_by_many_videos(tmp_path):
    def once(number):
        writer = software(tmp_path / "video.mp4")
        writer.write(grey(number), 0.0)
        if number % 2:
            writer.abandon()
        else:
            writer.close(0.04)

    once(0)
    before = held()
    for number in range(10):
        once(number)
    require_no_more_than(before)


@pytest.fixture
def with_software(monkeypatch):
    """Videos and recordings are encoded by GStreamer, in software."""

    def opened(path, size, crf, fps=None, encoder="auto"):
        return PipelineWriter(path, size, crf, fps or 25.0, SOFTWARE)

    monkeypatch.setattr("app.output.video.open_video_writer", opened)


@needs_gstreamer
def test_a_video_whose_encoder_dies_continues_in_another_file(tmp_path, with_software):
    path = tmp_path / "video.mp4"
    camera = NoiseCamera(path)
    until(lambda: path.exists() and path.read_bytes().count(b"mdat") >= 2, lambda: camera.show(1))
    os.kill(camera.video._writer._process.pid, signal.SIGKILL)
    until(lambda: not camera.video.is_working, lambda: camera.show(1))
    camera.now += RETRY_S
    camera.show(10)
    camera.video.close()
    assert playable_frames(path) >= 24
    assert len(read_video(tmp_path / "video-2.mp4")) == 10
    assert "signal 9" in camera.video.lost[0]


@needs_gstreamer
def test_a_full_disk_is_named_and_what_fits_can_be_played(small_disk, with_software, monkeypatch):
    monkeypatch.setattr("app.output.video.MIN_FREE_BYTES", 1_000_000)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    camera = NoiseCamera(small_disk / "video.mp4")
    until(lambda: not camera.video.is_working, lambda: camera.show(10))
    ballast.unlink()
    camera.now += RETRY_S
    camera.show(10)
    camera.video.close()
    assert playable_frames(small_disk / "video.mp4") >= 20
    assert [path.name for path in camera.video.written] == ["video-2.mp4"]
    assert "space" in camera.video.lost[0].lower()


def test_the_pipeline_for_a_jetson():
    assert encoder_pipeline(7, (1280, 720), 30.0, 23, HARDWARE) == (
        "appsrc name=source format=time max-bytes=0 "
        'caps="video/x-raw,format=I420,width=1280,height=720,framerate=30/1,colorimetry=bt601" ! nvvidconv ! '
        "video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate=2764800 insert-sps-pps=true iframeinterval=30 "
        "idrinterval=30 maxperf-enable=true ! h264parse ! mp4mux fragment-duration=1000 streamable=true "
        "trak-timescale=90000 ! fdsink fd=7 sync=false"
    )


def test_better_quality_takes_more_bits():
    assert bit_rate((1280, 720), 30, 18) == 2 * bit_rate((1280, 720), 30, 23) == 4 * bit_rate((1280, 720), 30, 28)


@pytest.mark.parametrize(
    ("encoder", "is_jetson", "tries"),
    [("auto", True, True), ("auto", False, False), ("hardware", False, True), ("software", True, False)],
)
def test_the_setting_says_which_encoder_is_tried(encoder, is_jetson, tries, tmp_path, monkeypatch, caplog):
    if is_jetson:
        (tmp_path / "release").touch()
    monkeypatch.setattr(video_encoders, "RELEASE_OF_JETSON", tmp_path / "release")
    caplog.set_level(logging.INFO)
    uses_hardware.cache_clear()
    for number in range(2):
        writer = open_video_writer(tmp_path / f"{number}.mp4", (320, 180), 23, encoder=encoder)
        writer.write(picture(), 0.0)
        writer.close(0.04)
    uses_hardware.cache_clear()
    said = [record.message for record in caplog.records if "hardware" in record.message]
    works = why_encoder_fails(HARDWARE) == ""
    assert len(said) == (0 if not tries else 2 if works else 1)
    assert works or not tries or why_encoder_fails(HARDWARE) in said[0]
