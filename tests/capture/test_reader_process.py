"""Live and remote sources are read by processes of their own, which are killed, stopped and orphaned here for real."""

import contextlib
import dataclasses
import functools
import http.server
import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from handles import held, require_no_more_than
from hypothesis import given
from hypothesis import strategies as st
from local_process import is_running
from real_sources import frame_number
from shipped import ROOT
from waiting import PATIENT_S, until

from app.capture.capture import Channels
from app.capture.opening import open_reader
from app.capture.reader_child import MAX_LAG_S, LiveSource, RateLimit
from app.capture.reader_process import EarlyReaders, ProcessReader, SharedMemory, start_reader
from app.capture.readers import RecordingReader
from app.capture.uri import Source, SourceKind, parse_source
from app.errors import SourceError
from app.settings import CaptureSettings
from app.tools.soak.stamp import age_s, read_stamp
from app.types import ChannelState

SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S, retry_min_s=0.05, retry_max_s=0.2)
PASSWORD = "s3cret"


def rtsp(url, name="cam"):
    return Source(name, SourceKind.RTSP, url)


def children():
    """The processes that read sources for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and b"app.capture.reader_child" in command:
            found.append(int(folder.name))
    return found


def child():
    until(lambda: len(children()) == 1)
    return children()[0]


def opened(source):
    reader = start_reader(source, SETTINGS)
    try:
        reader.finish_opening()
    except SourceError:
        reader.close()
        raise
    return reader


@pytest.fixture
def web(tmp_path):
    """The address of a web server for the files of the test's folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def black_hole():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam"


def test_only_what_may_hang_is_read_by_another_process(recording, rtsp_server):
    local = start_reader(parse_source(str(recording())), SETTINGS)
    assert isinstance(local, RecordingReader)
    local.close()
    live = start_reader(rtsp(rtsp_server().url), SETTINGS)
    assert isinstance(live, ProcessReader)
    live.close()
    assert children() == []


@pytest.fixture
def early():
    made = []

    def start(*sources, **hold):
        made.append(EarlyReaders([(source, SETTINGS) for source in sources], **hold))
        return made[-1]

    yield start
    for readers in made:
        readers.close()
    assert children() == []


def test_a_source_is_opened_before_anybody_reads_it(rtsp_server, early):
    """Its frames until then are neither kept nor counted as lost."""
    source = rtsp(rtsp_server().url)
    readers = early(source)
    until(lambda: len(children()) == 1)
    with contextlib.closing(readers.start_reader(source, SETTINGS)) as reader:
        assert len(children()) == 1, "it is the one that was started early"
        reader.finish_opening()
        time.sleep(0.5)  # frames come meanwhile, which nobody takes
        first, second = reader.read(), reader.read()
        assert first.replaced == 0
        assert second.captured_at > first.captured_at
    assert children() == []
    with contextlib.closing(readers.start_reader(source, SETTINGS)) as again:
        again.finish_opening()
        assert again.read() is not None


def connections(pid):
    """How many sockets the process has open, without the pipe to this one."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(link))
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()
    of_tcp = {line.split()[9] for line in lines[1:]}
    return sum(name[len("socket:[") : -1] in of_tcp for name in names)


def test_a_source_whose_frames_nobody_wants_is_closed_until_somebody_does(rtsp_server, early):
    """While an engine is built, which takes minutes, decoding would take the processor from that."""
    source = rtsp(rtsp_server("--clock", "h264").url)
    readers = early(source, hold_s=0.3)
    with contextlib.closing(readers.start_reader(source, SETTINGS)) as reader:
        until(lambda: reader.wait(0.1))
        until(lambda: connections(child()) == 0)
        reader.finish_opening()
        first, second = reader.read(), reader.read()
        assert connections(child()) == 1
    assert (first.replaced, first.damaged) == (0, 0)
    assert 0 < age_s(read_stamp(first.image), read_stamp(second.image)) < PATIENT_S


def test_a_source_that_is_closed_as_nobody_wants_it_and_then_gone_fails_when_it_is_wanted(rtsp_server, early):
    server = rtsp_server()
    source = rtsp(server.url)
    readers = early(source, hold_s=0.0)
    with contextlib.closing(readers.start_reader(source, SETTINGS)) as reader:
        until(lambda: reader.wait(0.1))
        until(lambda: connections(child()) == 0)
        server.kill()
        reader.finish_opening()
        with pytest.raises(SourceError, match="refused"):
            reader.read()


def test_readers_that_nobody_wants_are_ended(rtsp_server, early):
    readers = early(rtsp(rtsp_server().url), parse_source("clip.mp4", "a recording"))
    until(lambda: len(children()) == 1)
    readers.close()
    assert children() == []


def test_a_source_that_fails_early_says_why_when_it_is_wanted(early):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"rtsp://127.0.0.1:{server.getsockname()[1]}/gone"
    source = rtsp(address)
    reader = early(source).start_reader(source, SETTINGS)
    with contextlib.closing(reader), pytest.raises(SourceError, match="gone"):
        reader.finish_opening()


def test_a_recording_from_the_web_is_not_opened_early(early):
    early(parse_source("http://127.0.0.1:9/film.mp4"))
    assert children() == []


def test_a_reader_that_died_early_is_replaced(rtsp_server, early):
    source = rtsp(rtsp_server().url)
    readers = early(source)
    killed = child()
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    with Channels([source], SETTINGS, readers.start_reader) as channels:
        assert channels.take(PATIENT_S) is not None


def test_a_recording_from_the_web_comes_complete_and_in_order(recording, web):
    recording("clip.mp4", frames=30)
    reader = opened(parse_source(f"{web}/clip.mp4"))
    assert (reader.live, reader.fps, reader.total_frames) == (False, 25.0, 30)
    frames = list(iter(reader.read, None))
    reader.close()
    assert [frame_number(raw.image) for raw in frames] == [number % 20 for number in range(30)]
    assert [raw.position for raw in frames] == pytest.approx([number / 25 for number in range(30)], abs=0.002)
    assert all(raw.captured_at is None for raw in frames)


def test_a_frame_is_not_changed_by_the_next_one(rtsp_server):
    reader = opened(rtsp(rtsp_server().url))
    first = reader.read()
    kept = first.image.copy()
    for _ in range(10):
        following = reader.read()
    reader.close()
    np.testing.assert_array_equal(first.image, kept)
    assert (following.image != kept).any()
    assert following.captured_at > first.captured_at
    assert first.clock_s < following.clock_s <= time.monotonic()
    # Two clocks are read one after the other, and other processes may run in between.
    assert following.clock_s - first.clock_s == pytest.approx(following.captured_at - first.captured_at, abs=1)


def test_shared_memory_grows_with_the_frames():
    writing = SharedMemory(os.memfd_create("test"))
    reading = SharedMemory(os.dup(writing.file))
    for shape in ((2, 3, 3), (200, 300, 3), (4, 5, 3)):
        writing.array(shape)[:] = shape[0]
        assert (reading.array(shape) == shape[0]).all()
    writing.close()
    reading.close()


def test_a_source_that_cannot_be_opened_says_why(web):
    with pytest.raises(SourceError, match="404"):
        opened(parse_source(f"{web}/nothing.mp4"))
    assert children() == []


def test_a_process_that_stops_is_killed_and_replaced(rtsp_server):
    settings = CaptureSettings(open_timeout_s=60, read_timeout_s=1.0, retry_min_s=0.05, retry_max_s=0.2)
    with Channels([rtsp(rtsp_server().url)], settings) as channels:
        assert channels.take(PATIENT_S) is not None
        stopped = child()
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: channels.status()[0].counters.reconnects >= 1)
        assert stopped not in children()
    assert children() == []


def test_a_process_that_is_killed_is_replaced(rtsp_server):
    with Channels([rtsp(rtsp_server().url)], SETTINGS) as channels:
        assert channels.take(PATIENT_S) is not None
        os.kill(child(), signal.SIGKILL)
        until(lambda: channels.status()[0].counters.reconnects == 1)
        assert "signal 9" in channels.status()[0].last_error


def test_no_more_frames_come_than_the_limit_allows_and_the_others_are_counted(rtsp_server):
    url, began, taken = rtsp_server().url, time.monotonic(), []
    with Channels([rtsp(url)], dataclasses.replace(SETTINGS, max_fps=5)) as channels:
        # The server sends 25 frames a second.
        until(
            lambda: len(taken) >= 8 and channels.status()[0].counters.beyond_max_fps > 16,
            lambda: taken.append(channels.take(PATIENT_S)),
        )
    assert taken[-1].index + 1 <= 5 * (time.monotonic() - began) + 2


@given(st.floats(0.2, 60), st.lists(st.floats(0, 0.5), min_size=2, max_size=200))
def test_in_no_span_of_time_are_there_more_frames_than_the_limit_allows(max_fps, pauses):
    limit = RateLimit(max_fps)
    taken = [time_s for time_s in itertools.accumulate(pauses) if limit.takes(time_s)]
    for first, last in itertools.combinations(range(len(taken)), 2):
        assert last - first + 1 <= (taken[last] - taken[first]) * max_fps + 1.5 + 1e-6


@pytest.mark.parametrize(
    ("camera_fps", "max_fps", "expected_fps"), [(25, 10, 10), (30, 7, 7), (10, 10, 10), (5, 10, 5)]
)
def test_a_steady_camera_gives_exactly_the_rate_of_the_limit(camera_fps, max_fps, expected_fps):
    limit = RateLimit(max_fps)
    # 20 % of jitter, back and forth.
    times = [(number + 0.2 * (number % 2)) / camera_fps for number in range(camera_fps * 20)]
    assert sum(map(limit.takes, times)) == pytest.approx(expected_fps * 20, abs=1)


def test_without_a_limit_every_frame_is_taken():
    limit = RateLimit(None)
    assert all(limit.takes(0.0) for _ in range(10))


def paused(reader_pid, seconds):
    """The process does not run for so long, as on a machine that is too slow."""
    os.kill(reader_pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(reader_pid, signal.SIGCONT)


def test_late_frames_carry_the_time_at_which_they_should_have_come(rtsp_server):
    source = rtsp(rtsp_server().url)
    live = LiveSource(
        "cam", open_reader(source, SETTINGS), functools.partial(open_reader, source, SETTINGS), RateLimit(None)
    )

    def age_s():
        captured_at = live.read().captured_at
        return time.time() - captured_at

    def age_after_a_pause_s():
        """This reader does not read for a while, as on a machine that is too slow."""
        time.sleep(MAX_LAG_S / 2)
        return age_s()

    with contextlib.closing(live):
        for _ in range(50):
            age_s()
        until(lambda: age_after_a_pause_s() > MAX_LAG_S / 4)
        until(lambda: age_s() < MAX_LAG_S / 8, lambda: None)


def test_motion_jpeg_with_another_rate_than_25_is_not_taken_for_late(http_camera):
    reader = opened(parse_source(http_camera.address))
    try:
        for _ in range(30):
            raw = reader.read()
            drawn_before_s = age_s(read_stamp(raw.image), int(raw.clock_s * 1000))
            # Earlier than it was drawn would be 49 days.
            assert drawn_before_s < PATIENT_S
    finally:
        reader.close()


@pytest.mark.slow
def test_a_stream_that_has_fallen_behind_is_reopened_to_catch_up(rtsp_server, caplog):
    with Channels([rtsp(rtsp_server().url)], SETTINGS) as channels:
        until(lambda: channels.status()[0].counters.read > 50)
        paused(child(), MAX_LAG_S * 1.5)
        until(lambda: "late" in caplog.text)
        until(lambda: -channels.take(PATIENT_S).captured_at + time.time() < MAX_LAG_S / 4)
        assert channels.status()[0].counters.reconnects == 0


def test_a_camera_that_does_not_answer_does_not_delay_the_others(rtsp_server, black_hole):
    sources = [rtsp(black_hole, "dead"), rtsp(rtsp_server().url, "a"), rtsp(rtsp_server().url, "b")]
    with Channels(sources, SETTINGS) as channels:
        until(lambda: all(status.state is ChannelState.RUNNING for status in channels.status()[1:]))
        assert channels.status()[0].state is ChannelState.OPENING
    assert children() == []


def test_closing_does_not_wait_for_a_camera_that_does_not_answer(black_hole, monkeypatch):
    monkeypatch.setattr("app.capture.capture.CLOSE_WITHIN_S", PATIENT_S)
    channels = Channels([rtsp(black_hole)], SETTINGS)
    child()
    channels.close()
    assert children() == []


def test_no_address_is_in_the_list_of_processes(rtsp_server):
    server = rtsp_server("basic", "user", PASSWORD)
    with Channels([rtsp(server.url.replace("://", f"://user:{PASSWORD}@"))], SETTINGS) as channels:
        assert channels.take(PATIENT_S) is not None
        for name in ("cmdline", "environ"):
            seen = (Path("/proc") / str(child()) / name).read_bytes()
            assert PASSWORD.encode() not in seen
            assert b"rtsp://" not in seen


@pytest.mark.slow
def test_nothing_is_left_behind_by_many_restarts(rtsp_server):
    server = rtsp_server()

    def once():
        reader = opened(rtsp(server.url))
        assert reader.read() is not None
        reader.close()

    once()
    before = held()
    for _ in range(5):
        once()
    require_no_more_than(before)
    assert children() == []


TOO_MANY_FILES = """
    import os, resource
    from app.capture.reader_process import start_reader
    from app.capture.uri import parse_source
    from app.errors import SourceError
    from app.settings import CaptureSettings

    def opened():
        return len(os.listdir("/proc/self/fd"))

    source, before = parse_source("rtsp://127.0.0.1:1/"), opened()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    started = refused = 0
    for limit in range(3, before + 12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            start_reader(source, CaptureSettings()).close()
            started += 1
        except SourceError:
            refused += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert opened() == before, (limit, opened(), before)
    assert started and refused, (started, refused)
"""


def test_where_too_many_files_are_open_a_reader_is_refused_and_leaves_none():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TOO_MANY_FILES)], env=environment, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()


def test_the_process_ends_when_the_program_is_killed(rtsp_server):
    code = (
        "import sys, time; from app.capture.reader_process import ProcessReader; "
        "from app.capture.uri import parse_source; from app.settings import CaptureSettings; "
        "reader = ProcessReader(parse_source(sys.argv[1]), CaptureSettings()); reader.finish_opening(); reader.read(); "
        "print(reader._process.pid, flush=True); time.sleep(600)"
    )
    program = subprocess.Popen([sys.executable, "-c", code, rtsp_server().url], cwd=ROOT, stdout=subprocess.PIPE)
    pid = int(program.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not is_running(pid))
