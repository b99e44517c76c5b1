"""GStreamer in a process of its own, with software elements in the places of NVIDIA's: read, killed and stopped for
real."""

import contextlib
import dataclasses
import functools
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from handles import held, require_no_more_than
from local_process import is_running
from real_sources import frame_number
from shipped import ROOT
from waiting import PATIENT_S, until

from app.capture import opening
from app.capture.capture import Channels
from app.capture.gstreamer import JetsonGeneration, Taker, csi_pipeline, file_pipeline, rtsp_pipeline, usb_pipeline
from app.capture.opening import gstreamer_taker, open_reader
from app.capture.pipeline_capture import FrameFormat, PipelineCapture, bgr_of
from app.capture.reader_process import ProcessReader, start_reader
from app.capture.readers import PipelineReader, StreamReader
from app.capture.uri import Source, SourceKind, parse_source
from app.errors import SourceError
from app.gstreamer.process import PipelineError, PipelineProcess, PipelineTimeoutError, find_elements, path_of_child
from app.settings import CaptureSettings
from app.tools.soak.stamp import age_s, read_stamp

SETTINGS = CaptureSettings(
    backend="gstreamer-process",
    open_timeout_s=PATIENT_S,
    read_timeout_s=PATIENT_S,
    retry_min_s=0.05,
    retry_max_s=0.2,
)
NEEDED = ("appsink", "videotestsrc", "videoconvert", "decodebin", "avdec_h264", "avdec_mpeg4", "rtspsrc", "jpegenc")
JPEG = (
    "videoconvert ! video/x-raw,format=RGB ! videoconvert ! video/x-raw,format=I420,colorimetry=1:4:0:0 ! "
    "jpegenc quality=100 ! jpegdec ! "
)
RESTARTS = int(os.environ.get("RESTARTS", "50"))
PASSWORD = "s3cret \"p@ss:w#rd'"


@functools.lru_cache(maxsize=None)
def missing():
    try:
        return ", ".join(find_elements(NEEDED).missing)
    except PipelineError as error:
        return str(error)


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"GStreamer: {missing()}; tests/install_system_packages.sh")


def pipelines(parent=None):
    """The processes that run GStreamer for this one, or below it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            ancestor = int(folder.name)
            while ancestor not in (0, parent or os.getpid()):
                stat = (Path("/proc") / str(ancestor) / "stat").read_text(encoding="utf-8")
                ancestor = int(stat.rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if ancestor and str(path_of_child()).encode() in words:
            found.append(int(folder.name))
    return found


def pipeline_pid(parent=None):
    found = []
    # One that starts another program is there twice for a moment.
    until(lambda: len(found) == 1, lambda: found.__setitem__(slice(None), pipelines(parent)))
    return found[0]


def made_up(size="width=64,height=48"):
    """A live source without a camera."""
    end = Taker.PROCESS.from_memory("max-buffers=1 sync=false")
    return f"videotestsrc is-live=true ! video/x-raw,{size},framerate=25/1 ! {end}"


def opened(pipeline, **timeouts):
    return PipelineCapture(pipeline, **{"open_timeout_s": PATIENT_S, "read_timeout_s": PATIENT_S, **timeouts})


def of(url, settings=SETTINGS):
    return Channels([Source("cam", SourceKind.RTSP, url)], settings)


def take_stamp(channels):
    frame = channels.take(PATIENT_S)
    assert frame is not None
    return read_stamp(frame.image), frame


@pytest.mark.parametrize("size", [(320, 240), (322, 182), (161, 91), (163, 94), (166, 93)])
@pytest.mark.parametrize("coding", ["", JPEG], ids=["limited", "full"])
def test_the_colours_are_those_of_the_picture_whatever_its_size(size, coding):
    width, height = size
    capture = opened(
        "videotestsrc num-buffers=1 pattern=smpte75 ! "
        f"video/x-raw,format=I420,width={width},height={height} ! {coding}appsink name=sink"
    )
    found, image = capture.read()
    capture.release()
    assert found and image.shape == (height, width, 3)
    bars = image[: height // 2].astype(int)
    assert np.abs(bars - bars[:1])[:, : int(6.5 * width / 7)].max() <= 12, "the bars are upright"
    middles = [bars[0, int((number + 0.5) * width / 7)] for number in range(7)]
    # White, yellow, cyan, green, magenta, red, blue, as BGR.
    expected = [(191,) * 3, (0, 191, 191), (191, 191, 0), (0, 191, 0), (191, 0, 191), (0, 0, 191), (191, 0, 0)]
    assert np.abs(np.array(middles) - expected).max() <= 12


def test_frames_that_are_not_as_their_format_says_are_refused():
    with pytest.raises(SourceError, match="10 bytes"):
        bgr_of(memoryview(bytes(10)), FrameFormat(64, 48, 25.0, False))
    with pytest.raises(SourceError, match="NV12"):
        FrameFormat.parsed("video/x-raw, format=(string)NV12, width=(int)64, height=(int)48")


def test_a_recording_comes_complete_and_in_order(recording):
    reader = start_reader(parse_source(str(recording('a "b".mp4', frames=30))), SETTINGS)
    assert (reader.fps, reader.total_frames) == (25.0, 30)
    frames = list(iter(reader.read, None))
    reader.close()
    assert [frame_number(raw.image) for raw in frames] == [number % 20 for number in range(30)]
    assert [raw.position for raw in frames] == pytest.approx([number / 25 for number in range(30)], abs=0.002)
    assert pipelines() == []


def test_a_file_that_is_no_video_is_refused_with_the_reason_of_gstreamer(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(SourceError, match=r"GStreamer: .*type"):
        open_reader(parse_source(str(path)), SETTINGS)
    assert pipelines() == []


@pytest.fixture
def nothing_is_late(monkeypatch):
    """A busy machine hands on packets late. Those that are later than this are dropped, with parts of pictures."""
    monkeypatch.setitem(rtsp_pipeline.__kwdefaults__, "latency_ms", 20_000)


@pytest.mark.usefixtures("nothing_is_late")
def test_of_a_pause_of_the_reader_only_the_frames_on_the_way_are_left(rtsp_server):
    source = Source("cam", SourceKind.RTSP, rtsp_server("--clock", "h264").url)
    with contextlib.closing(open_reader(source, SETTINGS)) as reader:
        assert isinstance(reader, PipelineReader)

        def is_up_to_date_after_a_pause():
            before = read_stamp(reader.read().image)
            time.sleep(1.0)
            # One frame is in the pipe, and one waits at the end of the pipeline.
            later = [read_stamp(reader.read().image) for _ in range(4)]
            assert later == sorted(later)
            return age_s(before, later[-1]) > 0.9

        # On a busy machine, the server may pause as well. Frames that wait would be older after each pause.
        until(is_up_to_date_after_a_pause)


def test_frames_carry_the_time_at_which_they_came(rtsp_server):
    with of(rtsp_server("--clock", "h264").url) as channels:
        frames = [channels.take(PATIENT_S) for _ in range(30)]
    assert all(frame.clock_s <= time.monotonic() for frame in frames)
    stamps = [(read_stamp(frame.image), int(frame.clock_s * 1000)) for frame in frames]
    # On a busy machine, some frames may be damaged.
    ages = [age_s(stamp, clock_ms) for stamp, clock_ms in stamps if stamp is not None]
    assert min(ages) < 10, "seconds after it was drawn, and not before it, which would be 49 days"
    assert [frame.clock_s for frame in frames] == sorted(frame.clock_s for frame in frames)


@pytest.mark.slow
def test_a_new_size_in_mid_stream_gives_whole_frames(rtsp_server):
    server = rtsp_server("--clock", "h264")
    with of(server.url) as channels:
        for size in ((320, 240), (640, 480), (480, 240)):
            server.resize(*size)
            while take_stamp(channels)[1].image.shape[1::-1] != size:
                pass
            until(lambda: take_stamp(channels)[0] is not None)
        assert channels.status()[0].counters.reconnects == 0


def test_a_server_that_is_killed_or_freezes_is_read_again(rtsp_server):
    server = rtsp_server("--clock", "h264")
    with of(server.url, dataclasses.replace(SETTINGS, read_timeout_s=2.0)) as channels:
        until(lambda: take_stamp(channels)[0] is not None)
        first = pipeline_pid()
        server.kill()
        server.start()
        until(lambda: channels.status()[0].counters.reconnects >= 1, lambda: channels.take(0.05))
        until(lambda: take_stamp(channels)[0] is not None)
        assert not is_running(first)
        reconnects, second = channels.status()[0].counters.reconnects, pipeline_pid()
        server.freeze()
        until(lambda: not is_running(second), lambda: channels.take(0.05))
        server.thaw()
        until(lambda: channels.status()[0].counters.reconnects > reconnects, lambda: channels.take(0.05))
        until(lambda: take_stamp(channels)[0] is not None)
    assert pipelines() == []


@pytest.mark.slow
def test_gstreamer_is_killed_and_a_new_process_reads_on(rtsp_server):
    with of(rtsp_server().url) as channels:
        assert channels.take(PATIENT_S) is not None
        os.kill(pipeline_pid(), signal.SIGKILL)
        until(lambda: channels.status()[0].counters.reconnects == 1, lambda: channels.take(0.05))
        assert channels.take(PATIENT_S) is not None
        assert "signal 9" in channels.status()[0].last_error


def test_a_pipeline_that_hangs_is_killed():
    capture = opened(made_up(), read_timeout_s=0.2)
    pid = pipeline_pid()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: not capture.grab())
    capture.release()
    assert not is_running(pid)


def test_gstreamer_ends_when_the_program_is_killed_even_while_nobody_reads(tmp_path):
    code = (
        "import sys, time; from app.capture.pipeline_capture import PipelineCapture\n"
        "capture = PipelineCapture(sys.argv[1], open_timeout_s=60, read_timeout_s=60); capture.read()\n"
        "print(capture._process.pid, flush=True); time.sleep(600)"
    )
    large = made_up("width=1280,height=720")
    program = subprocess.Popen([sys.executable, "-c", code, large], cwd=ROOT, stdout=subprocess.PIPE)
    pid = int(program.stdout.readline())
    assert is_running(pid)
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not is_running(pid))


def test_the_first_look_at_all_plugins_is_finished_even_if_nobody_waits_for_it(tmp_path):
    """It takes many seconds on a small board; if it ended with a camera's time-out, each try would begin it again."""
    code = (
        "import sys; from app.capture.pipeline_capture import PipelineCapture\n"
        "print('here', flush=True); PipelineCapture(sys.argv[1], open_timeout_s=60, read_timeout_s=60)"
    )
    registry = tmp_path / "registry.bin"
    program = subprocess.Popen(
        [sys.executable, "-c", code, made_up()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "GST_REGISTRY": str(registry), "GST_REGISTRY_1_0": str(registry)},
    )
    program.stdout.readline()
    pid = pipeline_pid(program.pid)
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not is_running(pid))
    assert registry.stat().st_size > 1000


def test_no_password_is_in_the_list_of_processes_or_in_a_message(rtsp_server):
    server = rtsp_server("basic", "user", PASSWORD)
    with of(server.url.replace("://", f"://user:{PASSWORD}@")) as channels:
        assert channels.take(PATIENT_S) is not None
        pipeline = pipeline_pid()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = path.read_bytes()
                assert PASSWORD.encode() not in words or b"rtsp_server.py" in words
        assert PASSWORD.encode() not in Path(f"/proc/{pipeline}/environ").read_bytes()
        assert b"rtsp://" not in Path(f"/proc/{pipeline}/cmdline").read_bytes()
        server.kill()
        until(lambda: "refused" in (channels.status()[0].last_error or ""), lambda: channels.take(0.05))
        assert "p@ss" not in channels.status()[0].last_error


@pytest.mark.slow
@pytest.mark.timeout(600 + RESTARTS)
def test_nothing_is_left_behind_by_restarts():
    """Every third process is killed from outside, every third one hangs and is killed by `release`."""

    def once(number):
        capture = opened(made_up())
        assert capture.read()[0]
        if number % 3 == 1:
            os.kill(capture._process.pid, signal.SIGKILL)
        elif number % 3 == 2:
            os.kill(capture._process.pid, signal.SIGSTOP)
            capture._read_timeout_s = 0.0
            until(lambda: not capture.grab())
        began = time.perf_counter()
        capture.release()
        took_ms[number % 3].append((time.perf_counter() - began) * 1000)

    took_ms = [[], [], []]
    once(0)
    before = held()
    for number in range(RESTARTS):
        once(number)
    require_no_more_than(before)
    assert pipelines() == []
    ended, killed, hung = (statistics.median(times) for times in took_ms)
    sys.stdout.write(
        f"{RESTARTS} restarts; to end a process that runs {ended:.0f} ms, that was killed {killed:.0f} ms, "
        f"that hangs {hung:.0f} ms (medians); open files, threads: {before}\n"
    )


def test_the_reader_process_takes_gstreamer_with_it(rtsp_server):
    source = Source("cam", SourceKind.RTSP, rtsp_server().url)
    for _ in range(2):
        reader = start_reader(source, SETTINGS)
        assert isinstance(reader, ProcessReader)
        reader.finish_opening()
        assert reader.read() is not None
        pid = pipeline_pid()
        os.kill(reader._process.pid, signal.SIGKILL)
        until(lambda pid=pid: not is_running(pid))
        reader.close()


def test_what_elements_print_is_not_taken_for_frames_and_is_in_the_message_when_they_die():
    # fakesink with a dump prints each buffer to the standard output, as NVIDIA's camera element does with its text.
    noisy = "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48 ! tee name=t"
    capture = opened(noisy + " ! queue ! appsink name=sink t. ! queue ! fakesink dump=true")
    for _ in range(20):
        assert capture.grab() and capture.retrieve()[1].shape == (48, 64, 3)
    os.kill(capture._process.pid, signal.SIGKILL)
    with pytest.raises(SourceError, match=r"signal 9\); it printed last: \d"):
        while capture.grab():
            pass
    capture.release()


def test_the_software_decoders_grey_frames_before_the_first_key_frame_are_left_out():
    class Damaged:
        """Two frames before the key frame, then a whole one, a damaged one and a whole one."""

        is_damaged = False

        def __init__(self):
            self.damaged = [True, True, False, True, False]

        def get(self, number):
            return 25.0

        def grab(self):
            self.is_damaged = self.damaged.pop(0) if self.damaged else False
            return True

    reader = PipelineReader(Damaged(), PATIENT_S)
    seen = [reader.grab() and reader.is_damaged for _ in range(3)]
    assert seen == [False, True, False]
    assert not reader.uses_damaged and StreamReader.uses_damaged


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_is_late")
def test_a_stream_that_is_joined_between_two_key_frames_begins_with_a_whole_picture(rtsp_server):
    server = rtsp_server()
    for _ in range(4):  # each at another place between two key frames
        with contextlib.closing(open_reader(Source("cam", SourceKind.RTSP, server.url), SETTINGS)) as reader:
            assert reader.read().image.mean() < 20, "a white ball on black; without its key frame it is grey"


def test_a_missing_element_is_named_with_what_to_install(monkeypatch):
    # All programs of a machine share their claims of cameras, also those of other runs of the tests.
    camera = f"csi:{os.getpid() % 1000}"
    with pytest.raises(SourceError, match=r"nvarguscamerasrc.*only on a Jetson"):
        open_reader(parse_source(camera), SETTINGS)
    monkeypatch.setattr(opening, "this_jetson", lambda: JetsonGeneration.R32)
    with pytest.raises(SourceError, match=r"nvarguscamerasrc.*apt-get install nvidia-l4t-gstreamer"):
        open_reader(parse_source(camera), SETTINGS)


def test_a_jetson_without_its_elements_reads_with_ffmpeg_and_says_why(rtsp_server, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(opening, "this_jetson", lambda: JetsonGeneration.R32)
    source = Source("cam", SourceKind.RTSP, rtsp_server().url)
    with contextlib.closing(open_reader(source, dataclasses.replace(SETTINGS, backend="auto"))) as reader:
        assert type(reader) is StreamReader
        assert reader.read() is not None
    assert "FFmpeg" in caplog.text and "nvvidconv" in caplog.text
    with pytest.raises(SourceError, match=r"cam \(.*\) cannot be opened.*nvvidconv.*apt-get install"):
        open_reader(source, SETTINGS)


def test_without_gstreamers_library_the_message_says_so(monkeypatch, tmp_path):
    """The library's name is looked up by the linker, so a broken one is put in its place."""
    broken = tmp_path / "libgstreamer-1.0.so.0"
    broken.write_bytes(b"nothing")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(PipelineError, match=r"libgstreamer-1\.0\.so\.0") as caught:
        find_elements(["appsink"])
    assert caught.value.is_missing


def test_a_process_that_does_not_answer_is_reported():
    process = PipelineProcess({"do": "read", "pipeline": made_up()})
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(PipelineTimeoutError):
        while process.receive(0.05):
            pass
    process.close(0.0)


@pytest.mark.parametrize(
    ("generation", "has_it", "backend", "expected"),
    [
        ("R32", "NO", "auto", Taker.PROCESS),
        ("R36", "NO", "auto", Taker.PROCESS),
        ("R36", "YES", "auto", Taker.OPENCV),
        ("R36", "YES", "gstreamer-process", Taker.PROCESS),
        ("R36", "NO", "ffmpeg", None),
        ("NONE", "NO", "auto", None),
        ("NONE", "YES", "auto", None),
        ("NONE", "YES", "gstreamer", Taker.OPENCV),
        ("NONE", "NO", "gstreamer", Taker.PROCESS),
    ],
)
def test_who_takes_the_frames(monkeypatch, generation, has_it, backend, expected):
    monkeypatch.setattr(opening.cv2, "getBuildInformation", lambda: f"  GStreamer:   {has_it}\n")
    monkeypatch.setattr(opening, "this_jetson", lambda: JetsonGeneration[generation])
    assert gstreamer_taker(backend) is expected


NEWEST = "appsink name=sink drop=true max-buffers=1 sync=false"


@pytest.mark.parametrize("jetson", list(JetsonGeneration))
def test_the_pipelines_of_each_board(jetson):
    options = {"jetson": jetson, "taker": Taker.PROCESS}
    size = {"width": 1280, "height": 720, "fps": 30}
    end = "video/x-raw,format=I420 ! " + NEWEST
    hardware = jetson.is_jetson
    decoder = "nvv4l2decoder enable-max-performance=1 ! nvvidconv" if hardware else "avdec_h265 ! videoconvert"
    known = rtsp_pipeline("rtsp://h/x", codec="h265", **options)
    assert known.endswith(f" ! rtph265depay ! h265parse ! {decoder} ! {end}")
    converter = "nvvidconv" if hardware else "videoconvert"
    assert rtsp_pipeline("rtsp://h/x", **options).endswith(f" ! decodebin ! {converter} ! {end}")
    every = "appsink name=sink drop=false max-buffers=4 sync=false"
    assert file_pipeline("a.mp4", **options) == (
        f'filesrc location="a.mp4" ! decodebin ! {converter} ! video/x-raw,format=I420 ! {every}'
    )
    pictures = usb_pipeline("/dev/video0", **size, motion_jpeg=True, **options)
    decoder = "nvv4l2decoder mjpeg=1 ! nvvidconv" if jetson.decodes_jpeg else "jpegdec ! videoconvert"
    assert pictures.endswith(f"image/jpeg,width=1280,height=720,framerate=30/1 ! {decoder} ! {end}")
    assert csi_pipeline(1, **size, flip=2, taker=Taker.PROCESS) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1,format=NV12 ! "
        f"nvvidconv flip-method=2 ! {end}"
    )
