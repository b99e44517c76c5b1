"""Videos, written for real and read back."""

import contextlib
import errno
import logging
import shutil
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import ANN, frame, picture, result
from noise_camera import NoiseCamera
from waiting import PATIENT_S

from app.assembly import open_outputs
from app.errors import OutputError
from app.output import video_encoders
from app.output.annotate import Annotator
from app.output.layout import fit_into, inner_box
from app.output.paths import channel_path, safe_name
from app.output.video import RETRY_S, VideoOutput, video_size
from app.output.video_encoders import open_video_writer
from app.output.video_writers import PICTURE_SECONDS, ConstantRateWriter
from app.settings import OutputSettings, Settings

av = pytest.importorskip("av", reason="PyAV is not installed (pip install av)")


def write_video(path, frames, **options):
    video = VideoOutput(path, Annotator(), **options)
    for made in frames:
        video.handle(result(made, [(100, 60, 160, 130)], [ANN]))
    video.close()
    return video


def read_video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, [(decoded.time, decoded.to_ndarray(format="bgr24")) for decoded in container.decode(stream)]


def playable_frames(path):
    """As a player would: until a frame cannot be decoded."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_a_video_is_h264_that_browsers_play_with_the_times_of_the_recording(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, [frame(i, position=3 + i / 24) for i in range(60)])
    stream, shown = read_video(path)
    context = stream.codec_context
    assert (context.name, context.pix_fmt, context.profile) == ("h264", "yuv420p", "Main")
    assert [time for time, _ in shown] == pytest.approx([i / 24 for i in range(60)], abs=1e-4)
    assert float(stream.duration * stream.time_base) == pytest.approx(60 / 24, abs=1e-3)
    content = path.read_bytes()
    assert content[4:8] == b"ftyp" and content.count(b"moof") >= 3, "it is in fragments"


def test_a_stall_of_the_camera_is_in_the_video(tmp_path):
    times = [50 + i / 25 + (4 if i >= 10 else 0) for i in range(20)]
    write_video(tmp_path / "video.mp4", [frame(i, captured_at=t) for i, t in enumerate(times)])
    _, shown = read_video(tmp_path / "video.mp4")
    assert [time for time, _ in shown] == pytest.approx([t - 50 for t in times], abs=1e-4)


def test_the_video_contains_what_was_drawn_in_the_right_colours(tmp_path):
    reds = np.zeros((180, 320, 3), np.uint8)
    reds[...] = (30, 60, 200)
    write_video(tmp_path / "video.mp4", [frame(i, position=i / 25, image=reds) for i in range(5)])
    _, shown = read_video(tmp_path / "video.mp4")
    assert np.abs(shown[-1][1][150:, 250:].astype(int).mean(axis=(0, 1)) - (30, 60, 200)).max() < 6
    assert np.abs(shown[-1][1][60:130, 100:102].astype(int).mean(axis=(0, 1)) - (108, 124, 0)).max() < 60


def test_each_picture_of_a_folder_is_shown_for_a_second_including_the_last(tmp_path):
    write_video(tmp_path / "video.mp4", [frame(i, continues=False) for i in range(3)])
    stream, shown = read_video(tmp_path / "video.mp4")
    assert [time for time, _ in shown] == pytest.approx([0, PICTURE_SECONDS, 2 * PICTURE_SECONDS])
    assert float(stream.duration * stream.time_base) == pytest.approx(3 * PICTURE_SECONDS, abs=1e-3)


def test_frames_with_equal_timestamps_are_all_written(tmp_path):
    write_video(tmp_path / "video.mp4", [frame(i, position=1.0) for i in range(5)])
    assert len(read_video(tmp_path / "video.mp4")[1]) == 5


@pytest.mark.parametrize(("width", "height"), [(321, 181), (17, 31), (5, 3), (1, 1)])
def test_odd_and_tiny_sizes_work(tmp_path, width, height):
    image = picture(width, height)
    video = VideoOutput(tmp_path / "video.mp4", Annotator())
    for i in range(3):
        video.handle(result(frame(i, image=image)))
    video.close()
    _, shown = read_video(tmp_path / "video.mp4")
    assert shown[0][1].shape[1::-1] == video_size(width, height) and len(shown) == 3


def test_frames_of_another_size_are_fitted_into_the_first_size(tmp_path):
    video = VideoOutput(tmp_path / "video.mp4", Annotator())
    for i, (width, height) in enumerate([(320, 180), (180, 320), (640, 360)]):
        video.handle(result(frame(i, image=picture(width, height, grey=220))))
    video.close()
    _, shown = read_video(tmp_path / "video.mp4")
    assert [image.shape for _, image in shown] == [(180, 320, 3)] * 3
    assert shown[1][1][90, 10].max() < 40 < shown[1][1][90, 160].min(), "bars at the sides, picture in the middle"


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 80), st.integers(8, 80))
def test_fitting_gives_exactly_the_size_and_keeps_the_shape(width, height, video_width, video_height):
    assert fit_into(picture(width, height), (video_width, video_height)).shape == (video_height, video_width, 3)
    x, y, inner_width, inner_height = inner_box((width, height), (video_width, video_height))
    assert x >= 0 and y >= 0 and x + inner_width <= video_width and y + inner_height <= video_height
    assert inner_width == video_width or inner_height == video_height


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from made_results import frame, result
    from app.output.annotate import Annotator
    from app.output.video import VideoOutput

    video = VideoOutput(Path(sys.argv[1]), Annotator())
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    for i in range(int(sys.argv[2])):
        video.handle(result(frame(i, position=i / 25, image=np.roll(noise, i, axis=1))))
    print("written", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_script(source, *arguments, **options):
    paths = [path for path in sys.path if path]
    setup = f"import sys; sys.path[:0] = {paths!r}\n"
    return subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(source), *map(str, arguments)],
        capture_output=True,
        timeout=PATIENT_S,
        check=False,
        **options,
    )


def test_after_kill_9_all_but_the_last_second_is_there(tmp_path):
    path = tmp_path / "video.mp4"
    run = run_script(KILLED, path, 130)
    assert run.returncode == -9 and b"written" in run.stdout, run.stderr.decode()
    _, shown = read_video(path)
    assert shown[-1][0] >= 130 / 25 - 1.1
    assert [time for time, _ in shown] == pytest.approx([i / 25 for i in range(len(shown))], abs=1e-4)


FILE_TOO_LARGE = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from made_results import frame, result
    from app.output.annotate import Annotator
    from app.output.outputs import Outputs, OutputThread
    from app.output import video

    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    video.RETRY_S = 0.0
    written = OutputThread(video.VideoOutput(Path(sys.argv[1]), Annotator()), 4)
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    with Outputs([written]) as outputs:
        for i in range(200):
            outputs.handle(result(frame(i, position=i / 25, image=np.roll(noise, i, axis=1))))
    assert (written.handled, written.failed) == (200, 0), (written.handled, written.failed)
    print(*(path.name for path in outputs.written))
    print(*outputs.lost)
"""


def test_a_video_that_reaches_the_file_size_limit_continues_in_another_file(tmp_path):
    pytest.importorskip("resource", reason="limits of file sizes are a Unix thing")
    run = run_script(FILE_TOO_LARGE, tmp_path / "video.mp4")
    assert run.returncode == 0, run.stderr.decode()
    written, lost = run.stdout.decode().splitlines()
    parts = [tmp_path / "video.mp4", *sorted(tmp_path.glob("video-?.mp4"))]
    assert len(parts) >= 2
    assert written == parts[-1].name, "the others are not complete"
    assert "File too large" in lost or str(errno.EFBIG) in lost
    # Each part but the last one lacks less than its last second and the frame that did not fit.
    frames = [playable_frames(part) for part in parts]
    assert all(count >= 20 for count in frames[:-1])
    assert sum(frames) >= 200 - 26 * (len(parts) - 1)


NO_BYTES_LEFT = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from made_results import frame, result
    from app.output.annotate import Annotator
    from app.output.video import VideoOutput

    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    now = 0.0
    video = VideoOutput(Path(sys.argv[1]), Annotator(), clock=lambda: now)
    for i in range(2000):
        now += 1.0
        video.handle(result(frame(i, position=i / 25, image=np.zeros((64, 64, 3), np.uint8))))
    print(len(list(Path(sys.argv[1]).parent.glob("*.mp4"))), len(video.lost), flush=True)
"""


def test_a_disk_that_takes_no_bytes_is_not_filled_with_empty_files(tmp_path):
    pytest.importorskip("resource", reason="limits of file sizes are a Unix thing")
    run = run_script(NO_BYTES_LEFT, tmp_path / "video.mp4")
    assert run.returncode == 0, run.stderr.decode()
    files, lost = map(int, run.stdout.split())
    assert files <= 1, "there may be one that is being written"
    assert lost == 1


FULL_AT_ONCE = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from made_results import frame, result
    from app.output.annotate import Annotator
    from app.output.video import VideoOutput

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    video = VideoOutput(Path(sys.argv[1]), Annotator())
    for i in range(40):
        video.handle(result(frame(i, position=i * 0.1, image=np.full((180, 320, 3), i, np.uint8))))
    video.close()
    print(len(video.lost))
"""


def test_a_video_that_was_cut_off_in_its_first_second_is_deleted(tmp_path):
    pytest.importorskip("resource", reason="limits of file sizes are a Unix thing")
    run = run_script(FULL_AT_ONCE, tmp_path / "video.mp4")
    assert run.returncode == 0, run.stderr.decode()
    assert int(run.stdout) >= 1
    assert list(tmp_path.glob("*.mp4")) == []


CUT_OFF_ANYWHERE = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from app.errors import OutputError
    from app.output.video_writers import PyAvWriter

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    def write(path):
        writer = PyAvWriter(path, (64, 64), 23)
        try:
            for number in range(100):
                writer.write(np.roll(noise, number, axis=1), number / 25)
        except OutputError:
            writer.abandon()
        else:
            writer.close(1 / 25)

    folder = Path(sys.argv[1])
    write(folder / "whole.mp4")
    content = (folder / "whole.mp4").read_bytes()
    header = content.index(b"moof", content.index(b"moof", content.index(b"moof") + 4) + 4) - 4  # of the third second
    length = int.from_bytes(content[header : header + 4], "big")
    for cut in (0, 1, 7, 8, 9, length // 2, length - 1, length, length + 1, length + 8, length + 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (header + cut, resource.RLIM_INFINITY))
        write(folder / f"{cut}.mp4")
"""


def test_a_video_that_is_cut_off_at_any_byte_shows_what_came_before(tmp_path):
    pytest.importorskip("resource", reason="limits of file sizes are a Unix thing")
    run = run_script(CUT_OFF_ANYWHERE, tmp_path)
    assert run.returncode == 0, run.stderr.decode()
    frames = {path.stem: playable_frames(path) for path in tmp_path.glob("*.mp4")}
    assert frames.pop("whole") == 100
    assert len(frames) == 11
    assert all(count >= 50 for count in frames.values()), frames


FAILS_OFTEN = """
    import os, resource, sys
    from pathlib import Path
    import numpy as np
    from app.errors import OutputError
    from app.output.video_writers import PyAvWriter

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    path, noise = Path(sys.argv[1]), np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    for turn in range(16):
        writer = PyAvWriter(path, (1280, 720), 23)
        try:
            for number in range(100):
                writer.write(noise, number / 10)
        except OutputError:
            writer.abandon()
        if turn in (5, 15):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000, len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_videos_that_fail_leave_no_memory_and_no_file_open(tmp_path):
    run = run_script(FAILS_OFTEN, tmp_path / "video.mp4")
    assert run.returncode == 0, run.stderr.decode()
    (before_mb, before), (after_mb, after) = (map(int, line.split()) for line in run.stdout.splitlines())
    assert after == before
    assert after_mb - before_mb < 40, "an encoder takes some 20 MB"


def test_a_video_resumes_when_a_full_disk_has_room_again(small_disk, monkeypatch, caplog):
    monkeypatch.setattr("app.output.video.MIN_FREE_BYTES", 1_000_000)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    camera = NoiseCamera(small_disk / "video.mp4")
    camera.show(300)
    assert [path.name for path in sorted(small_disk.iterdir())] == ["ballast", "video.mp4"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    ballast.unlink()
    camera.show(10)
    camera.now += RETRY_S
    camera.show(10)
    camera.video.close()
    assert [path.name for path in camera.video.written] == ["video-2.mp4"]
    assert playable_frames(small_disk / "video.mp4") >= 20
    assert playable_frames(small_disk / "video-2.mp4") == 10
    assert "No space left" in camera.video.lost[0]


def test_a_disk_that_is_full_when_a_video_ends_is_named_and_what_fits_can_be_played(small_disk):
    camera = NoiseCamera(small_disk / "video.mp4")
    camera.show(45)
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    camera.video.close()
    (lost,) = camera.video.lost
    assert "No space left" in lost
    assert playable_frames(small_disk / "video.mp4") >= 20


def test_a_folder_that_is_removed_is_noticed_and_the_video_resumes_when_it_is_back(tmp_path):
    folder = tmp_path / "videos"
    camera = NoiseCamera(folder / "video.mp4")
    camera.show(10)
    shutil.rmtree(folder)
    camera.now += RETRY_S
    camera.show(10)
    assert not folder.exists()
    assert "removed" in camera.video.lost[0]
    assert not camera.video.is_working
    folder.mkdir()
    camera.now += RETRY_S
    camera.show(10)
    assert camera.video.is_working
    camera.video.close()
    assert playable_frames(camera.video.written[0]) == 10


def test_a_video_that_was_removed_shortly_before_the_end_is_not_reported_as_written(tmp_path):
    camera = NoiseCamera(tmp_path / "video.mp4")
    camera.show(1)
    (tmp_path / "video.mp4").unlink()
    camera.video.close()
    assert camera.video.written == []
    assert "removed" in camera.video.lost[0]


def test_frames_that_are_missing_at_the_end_are_reported(tmp_path):
    folder = tmp_path / "videos"
    camera = NoiseCamera(folder / "video.mp4")
    camera.show(10)
    shutil.rmtree(folder)
    camera.now += RETRY_S
    camera.show(10)
    camera.video.close()
    assert camera.video.written == []
    assert "10 frames" in camera.video.lost[-1]


def test_an_existing_video_is_not_touched_without_overwrite(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        VideoOutput(path, Annotator())
    assert path.read_bytes() == b"precious"
    write_video(path, [frame(0)], overwrite=True)
    assert len(read_video(path)[1]) == 1


def test_a_missing_folder_is_created_and_an_impossible_one_refused_at_once(tmp_path):
    write_video(tmp_path / "new" / "folder" / "video.mp4", [frame(0)])
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        VideoOutput(tmp_path / "file" / "video.mp4", Annotator())


def test_no_frame_no_video(tmp_path, caplog):
    VideoOutput(tmp_path / "video.mp4", Annotator()).close()
    assert not (tmp_path / "video.mp4").exists()
    assert "video.mp4 was not written" in caplog.text


def test_each_channel_has_its_video_and_the_event_log_has_all_channels(tmp_path):
    settings = Settings(output=OutputSettings(save=tmp_path / "out.mp4", events=tmp_path / "e.jsonl"))
    outputs, _ = open_outputs(settings, ["front", "yard/2"])
    with outputs:
        for i in range(6):
            outputs.handle(result(frame(i, position=i / 25, source="yard/2" if i % 3 else "front")))
    assert len(read_video(tmp_path / "out-front.mp4")[1]) == 2
    assert len(read_video(tmp_path / "out-yard_2.mp4")[1]) == 4
    assert (tmp_path / "e.jsonl").exists()


def test_outputs_that_cannot_all_be_opened_leave_nothing_behind(tmp_path):
    (tmp_path / "e.jsonl").write_text("old", encoding="utf-8")
    with pytest.raises(OutputError, match=r"e\.jsonl"):
        open_outputs(Settings(output=OutputSettings(save=tmp_path / "out.mp4", events=tmp_path / "e.jsonl")), ["front"])
    assert [path.name for path in tmp_path.iterdir()] == ["e.jsonl"]


def test_names_of_videos(tmp_path):
    out = tmp_path / "out.mp4"
    assert channel_path(out, "front", ["front"]) == out
    channels = ["cam:1", "cam/1", "张伟", "Cam_1", ".."]
    names = [channel_path(out, channel, channels).name for channel in channels]
    assert names == ["out-cam_1.mp4", "out-cam_1-2.mp4", "out-张伟.mp4", "out-Cam_1-3.mp4", "out-_.mp4"]


@given(st.text())
def test_a_safe_name_stays_in_its_folder(name):
    safe = safe_name(name)
    assert safe and not set(safe) & set('/\\:*?"<>|\0') and safe not in (".", "..")


def test_without_pyav_the_video_is_mpeg4_with_a_constant_frame_rate_and_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "av", None)
    times = [i / 10 for i in range(10)] + [3 + i / 50 for i in range(50)]
    path = tmp_path / "video.mp4"
    write_video(path, [frame(i, position=t) for i, t in enumerate(times)], fps=25.0)
    assert "pip install av" in caplog.text
    assert playable_frames(path) == pytest.approx(4.0 * 25, abs=2), "four seconds, as many as the source lasts"


class CountingWriter:
    def __init__(self):
        self.written = []

    def write(self, image):
        self.written.append(int(image[0, 0, 0]))

    def release(self):
        pass


def test_constant_rate_repeats_slow_frames_and_drops_fast_ones(tmp_path):
    counting = CountingWriter()
    writer = ConstantRateWriter(counting, tmp_path / "f.mp4", 10.0)
    for grey, seconds in enumerate([0.0, 0.1, 0.4, 0.42, 0.44, 0.5]):
        writer.write(picture(16, 16, grey), seconds)
    writer.close(0.2)
    assert counting.written == [0, 1, 1, 1, 4, 5, 5]


def test_a_camera_that_is_offline_for_hours_does_not_fill_the_video_with_its_last_picture(tmp_path, caplog):
    counting = CountingWriter()
    writer = ConstantRateWriter(counting, tmp_path / "f.mp4", 10.0)
    for seconds in (0.0, 7200.0, 7200.1):
        writer.write(picture(16, 16), seconds)
    writer.close(0.1)
    assert len(counting.written) == 602
    assert "7140 s" in caplog.text


def test_without_a_hardware_encoder_pyav_writes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    video = open_video_writer(tmp_path / "video.mp4", (320, 180), 23)
    assert type(video).__name__ == ("PipelineWriter" if video_encoders.uses_hardware("auto") else "PyAvWriter")
    video.write(picture(), 0.0)
    video.close(0.04)


def test_a_second_run_is_refused_a_video_that_is_being_written(tmp_path):
    path = tmp_path / "video.mp4"
    first = NoiseCamera(path)
    early = NoiseCamera(path)  # before the first frame of the first run
    first.show(60)
    with pytest.raises(OutputError, match="another run"):
        VideoOutput(path, Annotator(), overwrite=True)
    early.show(5)
    early.now += RETRY_S
    early.show(5)
    first.show(60)
    for run in (early, first):
        run.video.close()
    assert playable_frames(path) == 120 and playable_frames(tmp_path / "video-2.mp4") == 5
    assert "another run" in early.video.lost[0] and not first.video.lost
    VideoOutput(path, Annotator(), overwrite=True).close()
