"""GStreamer pipelines as text, and what of them runs without a Jetson for real."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_sources import SYSTEM_PYTHON, gstreamer_opencv_missing, server_missing
from waiting import PATIENT_S

from app.capture.gstreamer import (
    JetsonGeneration,
    csi_pipeline,
    file_pipeline,
    jetson_generation,
    l4t_release,
    rtsp_pipeline,
    usb_pipeline,
)
from app.text import gstreamer_quoted, opencv_has_gstreamer

ROOT = Path(__file__).parents[2]
NEWEST = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


def test_rtsp_on_a_jetson():
    assert rtsp_pipeline("rtsp://h/x", codec="h264", jetson=JetsonGeneration.R36) == (
        'rtspsrc location="rtsp://h/x" protocols=tcp latency=100 drop-on-latency=true tcp-timeout=5000000 ! '
        "rtph264depay ! h264parse ! nvv4l2decoder enable-max-performance=1 ! nvvidconv ! video/x-raw,format=BGRx ! "
        + NEWEST
    )


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_rtsp_in_software(codec):
    pipeline = rtsp_pipeline("rtsp://h/x", codec=codec, transport="udp", latency_ms=50, open_timeout_s=2.5)
    assert "protocols=udp latency=50 drop-on-latency=true tcp-timeout=2500000" in pipeline
    assert f"rtp{codec}depay ! {codec}parse ! avdec_{codec} ! {NEWEST}" in pipeline
    assert "nvv" not in pipeline


@pytest.mark.parametrize("jetson", list(JetsonGeneration))
def test_rtsp_of_any_codec(jetson):
    pipeline = rtsp_pipeline("rtsp://h/x", jetson=jetson)
    assert " ! decodebin ! " in pipeline
    assert ("nvvidconv" in pipeline) == jetson.is_jetson


def test_user_and_password_are_properties_and_not_part_of_the_location():
    pipeline = rtsp_pipeline('rtsp://me:a"b ! c@h/x')
    assert 'location="rtsp://h/x"' in pipeline
    assert 'user-id="me" user-pw="a\\"b ! c"' in pipeline


def test_csi():
    assert csi_pipeline(1, width=1280, height=720, fps=30, flip=2) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1,format=NV12 ! "
        f"nvvidconv flip-method=2 ! video/x-raw,format=BGRx ! {NEWEST}"
    )


def test_usb_cameras():
    size = {"width": 1280, "height": 720, "fps": 30}
    raw = usb_pipeline("/dev/video0", **size)
    assert raw == (
        f'v4l2src device="/dev/video0" io-mode=2 ! video/x-raw,width=1280,height=720,framerate=30/1 ! {NEWEST}'
    )
    decoders = {
        jetson: usb_pipeline("/dev/video0", **size, motion_jpeg=True, jetson=jetson).split(" ! ")[2]
        for jetson in JetsonGeneration
    }
    assert decoders == {
        JetsonGeneration.NONE: "jpegdec",
        JetsonGeneration.R32: "nvv4l2decoder mjpeg=1",
        JetsonGeneration.R35: "nvv4l2decoder mjpeg=1",
        JetsonGeneration.R36: "nvv4l2decoder mjpeg=1",
        JetsonGeneration.R38: "jpegdec",
    }


def test_a_recording_loses_no_frame():
    assert file_pipeline("a b.mp4").startswith('filesrc location="a b.mp4" ! decodebin ! videoconvert')
    assert file_pipeline("a.mp4").endswith("appsink drop=false max-buffers=4 sync=false")


@pytest.mark.parametrize(
    ("fps", "fraction"), [(30, "30/1"), (29.97, "30000/1001"), (59.94, "60000/1001"), (7.5, "7500/1000")]
)
def test_frame_rates_are_fractions(fps, fraction):
    assert f"framerate={fraction}" in usb_pipeline("/dev/video0", width=640, height=480, fps=fps)


@pytest.mark.parametrize(
    ("text", "release", "generation"),
    [
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "32.7.1", JetsonGeneration.R32),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1", JetsonGeneration.R35),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "36.4.3", JetsonGeneration.R36),
        ("# R38 (release), REVISION: 2.0, GCID: 1, BOARD: generic", "38.2.0", JetsonGeneration.R38),
        ("# R39 (release), REVISION: 1.0, GCID: 1, BOARD: generic", "39.1.0", JetsonGeneration.R38),
        ("something else", None, JetsonGeneration.NONE),
    ],
)
def test_the_release_of_jetson_linux(tmp_path, text, release, generation):
    file = tmp_path / "nv_tegra_release"
    file.write_text(text)
    assert l4t_release(file) == release
    assert jetson_generation(release) is generation


def test_no_release_file_no_jetson(tmp_path):
    assert l4t_release(tmp_path / "absent") is None


def test_opencv_with_and_without_gstreamer():
    assert opencv_has_gstreamer("  Video I/O:\n    GStreamer:                   YES (1.22.0)\n")
    assert not opencv_has_gstreamer("  Video I/O:\n    GStreamer:                   NO\n    v4l/v4l2: YES\n")


@given(st.text(max_size=30))
def test_quotes_end_where_the_value_ends(value):
    inside = gstreamer_quoted(value)[1:-1]
    assert '"' not in inside.replace("\\\\", "").replace('\\"', "")


@pytest.mark.skipif(bool(server_missing()), reason=server_missing())
def test_gstreamer_itself_reads_back_quoted_values():
    values = ['"', '"x', 'a"b', "\\", 'x\\" ! fakesink', "! fakesink", " a b ", "'", "ä张", "a=b;c,d", "$(x)", "%", "`"]
    code = (
        "import sys, json, gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None)\n"
        "for text in json.load(sys.stdin):\n"
        "    made = Gst.parse_launch('rtspsrc user-pw=%s latency=7' % text)\n"
        "    assert made.get_property('latency') == 7\n"
        "    print(json.dumps(made.get_property('user-pw')))\n"
    )
    asked = json.dumps([gstreamer_quoted(value) for value in values])
    answer = subprocess.run([SYSTEM_PYTHON, "-c", code], input=asked, stdout=subprocess.PIPE, text=True, check=True)
    assert [json.loads(line) for line in answer.stdout.splitlines()] == values


RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from app.capture.opening import open_reader
from app.capture.uri import parse_source
from app.settings import CaptureSettings
settings = CaptureSettings(
    backend="gstreamer", rtsp_codec=sys.argv[3], open_timeout_s=float(sys.argv[4]), read_timeout_s=float(sys.argv[4])
)
reader = open_reader(parse_source(sys.argv[2]), settings)
frames = []
while len(frames) < 20:
    raw = reader.read()
    if raw is None:
        break
    frames.append([list(raw.image.shape), raw.position])
reader.close()
print(json.dumps([reader.live, type(reader).__name__, frames]))
"""


def run_with_the_systems_opencv(*arguments):
    words = [SYSTEM_PYTHON, "-c", RUN, str(ROOT), *arguments, str(PATIENT_S)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENT_S)
    assert done.returncode == 0, done.stderr
    return (*json.loads(done.stdout.splitlines()[-1]), done.stderr)


@pytest.mark.skipif(bool(gstreamer_opencv_missing()), reason=gstreamer_opencv_missing())
@pytest.mark.parametrize("codec", ["auto", "h264"])
def test_a_real_rtsp_stream_in_software_with_a_password_of_special_characters(rtsp_server, codec):
    server = rtsp_server("digest", "me@home", 'p@s:s/w#o?r d%"!')
    url = server.url.replace("://", '://me@home:p@s:s/w#o?r d%"!@')
    live, reader, frames, said = run_with_the_systems_opencv(url, codec)
    assert (live, reader, len(frames)) == (True, "GStreamerReader", 20)
    assert frames[0] == [[240, 320, 3], None]
    assert "p@s:s" not in said and "p%40s" not in said


@pytest.mark.skipif(bool(gstreamer_opencv_missing()), reason=gstreamer_opencv_missing())
def test_a_real_recording_in_software(recording):
    live, reader, frames, _ = run_with_the_systems_opencv(str(recording("a b.mp4", frames=12)), "auto")
    assert (live, reader, len(frames)) == (False, "RecordingReader", 12)
    assert frames[0] == [[48, 64, 3], 0.0]
    assert frames[-1][1] == pytest.approx(11 / 25, abs=0.001)
