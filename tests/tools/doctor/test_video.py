"""GStreamer's elements are listed and a decoder decodes; a board's programs are stood in for by scripts."""

import shutil

import pytest
from waiting import PATIENT_S

from app.tools.doctor import video
from app.tools.doctor.checks import Status
from app.tools.doctor.video import ELEMENTS, JETSON_ELEMENTS, check_decoder, check_elements, check_video, list_elements

needs_gstreamer = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(video, "DECODE_TIMEOUT_S", PATIENT_S)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Programs of this machine are replaced by shell scripts."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(name, script):
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)

    return put


def listing(names):
    return "cat << END\n" + "\n".join(f"plugin:  {name}: What it is" for name in names) + "\nEND"


@needs_gstreamer
def test_elements_of_this_machine_are_listed():
    assert {"fakesink", "videotestsrc", "queue"} <= list_elements()


@needs_gstreamer
def test_a_decoder_of_this_machine_decodes():
    if not {"x264enc", "h264parse", "avdec_h264"} <= list_elements():
        pytest.skip("GStreamer's plugins for H.264 are not installed")
    finding = check_decoder("avdec_h264")
    assert finding.status is Status.OK and "30 frames" in finding.text


@needs_gstreamer
def test_a_decoder_that_is_not_there_is_a_warning_with_its_error():
    finding = check_decoder("no_such_decoder")
    assert finding.status is Status.WARNING and "no_such_decoder" in finding.text and finding.advice


def test_a_board_with_everything(programs):
    programs("gst-inspect-1.0", listing([*ELEMENTS, *JETSON_ELEMENTS]))
    programs("gst-launch-1.0", 'case "$*" in *"nvv4l2decoder ! nvvidconv"*) exit 0 ;; *) exit 1 ;; esac')
    findings = check_video(is_jetson=True)
    assert [finding.status for finding in findings] == [Status.OK] * 3
    assert "nvarguscamerasrc" in findings[0].text and "nvv4l2decoder decodes" in findings[2].text


def test_a_decoder_that_hangs_is_a_warning(programs, monkeypatch):
    monkeypatch.setattr(video, "DECODE_TIMEOUT_S", 0.2)
    programs("gst-launch-1.0", "exec sleep 60")
    finding = check_decoder("nvv4l2decoder")
    assert finding.status is Status.WARNING and "nvv4l2decoder" in finding.text


@pytest.mark.parametrize(("is_jetson", "status"), [(True, Status.WARNING), (False, Status.NOTE)])
def test_missing_elements_matter_on_a_jetson_only(is_jetson, status):
    finding = check_elements({"rtspsrc"}, {"rtspsrc": "network cameras", "h264parse": "H.264"}, is_jetson, "install it")
    assert finding.status is status
    assert "h264parse" in finding.text and "rtspsrc" not in finding.text


@pytest.mark.parametrize(("is_jetson", "status"), [(True, Status.WARNING), (False, Status.NOTE)])
def test_without_gstreamer(monkeypatch, tmp_path, is_jetson, status):
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = check_video(is_jetson)
    assert finding.status is status
