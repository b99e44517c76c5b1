"""Recordings and pictures, read for real: every frame once, at its time."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from real_sources import frame_number

from app.capture.opening import open_reader
from app.capture.readers import StallError, StreamReader
from app.capture.uri import parse_source
from app.errors import SourceError
from app.settings import CaptureSettings

SETTINGS = CaptureSettings()


def opened(path):
    return open_reader(parse_source(str(path)), SETTINGS)


def read_all(reader):
    frames = []
    while True:
        raw = reader.read()
        if raw is None:
            reader.close()
            return frames
        frames.append(raw)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("99% of: a video #1?.avi", "MJPG")]
)
def test_every_frame_once_in_order_with_its_time(recording, name, codec):
    reader = opened(recording(name, frames=20, fps=12.5, codec=codec))
    assert (reader.live, reader.fps, reader.total_frames) == (False, 12.5, 20)
    frames = read_all(reader)
    assert [frame_number(raw.image) for raw in frames] == list(range(20))
    assert [raw.position for raw in frames] == pytest.approx([number / 12.5 for number in range(20)], abs=0.002)
    assert all(raw.continues and raw.image.shape == (48, 64, 3) for raw in frames)


def write_with_times(path, times_ms):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 + 10 * number, np.uint8), "bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path, suffix):
    times_ms = [0, 40, 80, 1080, 1120, 3000, 3500]
    write_with_times(tmp_path / f"phone.{suffix}", times_ms)
    frames = read_all(opened(tmp_path / f"phone.{suffix}"))
    assert [frame_number(raw.image) for raw in frames] == list(range(7))
    assert [raw.position for raw in frames] == pytest.approx([ms / 1000 for ms in times_ms], abs=0.002)


def test_a_recording_that_does_not_begin_at_zero_counts_from_its_first_frame(tmp_path):
    write_with_times(tmp_path / "late.mkv", [5000, 5040, 5080])
    assert [raw.position for raw in read_all(opened(tmp_path / "late.mkv"))] == pytest.approx(
        [0, 0.04, 0.08], abs=0.002
    )


def test_the_rotation_in_a_phones_video_is_applied(recording):
    if not hasattr(cv2, "CAP_PROP_ORIENTATION_AUTO"):
        pytest.skip("this OpenCV does not turn recordings")
    path = recording(frames=3)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    one = (1 << 16).to_bytes(4, "big")
    minus_one = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    data[matrix : matrix + 20] = zero + one + zero + minus_one + zero
    path.write_bytes(bytes(data))
    assert read_all(opened(path))[0].image.shape == (64, 48, 3)


def test_an_incomplete_recording_is_read_to_its_end_with_a_warning(recording, caplog):
    path = recording("clip.avi", frames=100, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reader = opened(path)
    frames = read_all(reader)
    assert [frame_number(raw.image) for raw in frames[:20]] == list(range(20))
    assert 30 <= len(frames) < 70
    if reader.total_frames and reader.total_frames > 80:
        assert "incomplete or damaged" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"I am no video\n" * 50, "not a video"),
    ],
)
def test_files_that_are_not_recordings_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name}.*{said}"):
        opened(tmp_path / name)


def test_an_mp4_without_its_index_is_refused(recording):
    path = recording(frames=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="damaged or incomplete"):
        opened(path)


def test_a_missing_recording_is_reported_with_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=f"gone.mp4.*{tmp_path}"):
        opened("videos/gone.mp4")


@pytest.mark.parametrize("address", ["camera0", "/etc/webcam-1", "usb0"])
def test_a_camera_given_as_a_file_is_an_error_with_the_right_form(address):
    with pytest.raises(SourceError, match="camera:0"):
        opened(address)


def test_pictures_come_in_order_and_do_not_continue_each_other(tmp_path, caplog):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((5, 6, 3), number, np.uint8))
    (tmp_path / "3.jpg").write_bytes(b"\xff\xd8 no picture")
    reader = opened(tmp_path)
    frames = read_all(reader)
    assert [int(raw.image[0, 0, 0]) for raw in frames] == [1, 2, 10]
    assert all(raw.position is None and not raw.continues for raw in frames)
    assert (reader.live, reader.fps, reader.total_frames, reader.unreadable) == (False, None, 4, 1)
    assert "skipped" in caplog.text and "3.jpg" in caplog.text


def test_it_is_an_error_if_no_picture_can_be_read(tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    reader = opened(tmp_path)
    with pytest.raises(SourceError, match=r"b\.png"):
        reader.read()
    assert reader.unreadable == 2


class SlowCapture:
    """What OpenCV's capture does on a frozen stream: waits for its time-out, then hands out an old frame."""

    def __init__(self, took_s):
        self.now = 0.0
        self.took_s = took_s

    def get(self, _):
        return 90000.0

    def grab(self):
        self.now += self.took_s
        return True

    def retrieve(self):
        return True, np.zeros((4, 4), np.uint16)


@pytest.mark.parametrize(("took_s", "stalls"), [(0.1, False), (3.9, False), (4.1, True), (30.0, True)])
def test_a_frame_that_comes_after_the_time_out_is_a_stall(took_s, stalls):
    capture = SlowCapture(took_s)
    reader = StreamReader(capture, 5.0, clock=lambda: capture.now)
    assert reader.fps is None, "90000 is a time base, not a frame rate"
    if stalls:
        with pytest.raises(StallError, match=f"no frame for {took_s:.1f} s"):
            reader.read()
    else:
        assert reader.read().image.shape == (4, 4, 3)
