"""Doctor names what decodes and encodes, and why, on this machine and on pretended boards."""

import dataclasses
import functools
import shutil

import cv2
import pytest

from app.capture import opening
from app.capture.gstreamer import JetsonGeneration
from app.gstreamer.process import PipelineError, find_elements
from app.output import video_encoders
from app.settings import Settings
from app.tools.doctor import checks, decoding
from app.tools.doctor.checks import Status, run_checks
from app.tools.doctor.decoding import check_decoding
from app.tools.doctor.video import JETSON_PACKAGES


def settings_with(backend="auto", encoder="auto"):
    settings = Settings()
    return dataclasses.replace(
        settings,
        capture=dataclasses.replace(settings.capture, backend=backend),
        output=dataclasses.replace(settings.output, video_encoder=encoder),
    )


@pytest.fixture
def board(monkeypatch, tmp_path):
    """Pretends to be this board, with an OpenCV that has GStreamer or has not."""

    def pretend(generation, has_it):
        monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"  GStreamer:   {has_it}\n")
        for module in (opening, decoding):
            monkeypatch.setattr(module, "this_jetson", lambda: JetsonGeneration[generation])
        release = tmp_path / "nv_tegra_release"
        if generation != "NONE":
            release.touch()
        for module in (video_encoders, decoding):
            monkeypatch.setattr(module, "RELEASE_OF_JETSON", release)

    return pretend


@functools.lru_cache(maxsize=None)
def has_gstreamer():
    try:
        return not find_elements(("rtspsrc", "appsink", "videoconvert")).missing
    except PipelineError:
        return False


@pytest.mark.parametrize(
    ("generation", "has_it", "backend", "words"),
    [
        ("NONE", "NO", "auto", ["FFmpeg", "auto", "not a Jetson"]),
        ("R36", "YES", "ffmpeg", ["FFmpeg", "capture.backend ffmpeg"]),
        ("R36", "YES", "auto", ["GStreamer within OpenCV", cv2.__version__]),
    ],
)
def test_the_decoder_is_named_with_the_reason(board, generation, has_it, backend, words):
    board(generation, has_it)
    finding = check_decoding(settings_with(backend))[0]
    assert finding.status is Status.OK
    assert all(word in finding.text for word in words)


@pytest.mark.skipif(not has_gstreamer(), reason="GStreamer is not installed; tests/install_system_packages.sh")
def test_a_process_of_its_own_is_named_with_the_version_of_gstreamer(board):
    board("NONE", "NO")
    finding = check_decoding(settings_with("gstreamer"))[0]
    assert finding.status is Status.OK
    assert f"GStreamer {find_elements(()).version} in a process" in finding.text
    assert "this OpenCV has no GStreamer" in finding.text


@pytest.mark.skipif(not has_gstreamer(), reason="GStreamer is not installed; tests/install_system_packages.sh")
@pytest.mark.parametrize(("backend", "otherwise"), [("auto", "FFmpeg"), ("gstreamer-process", "no camera")])
def test_a_board_without_its_elements_says_which_and_what_happens_then(board, backend, otherwise):
    if not find_elements(("nvv4l2decoder",)).missing:
        pytest.skip("this machine has NVIDIA's elements")
    board("R32", "NO")
    finding, videos = check_decoding(settings_with(backend))
    assert finding.status is Status.WARNING and finding.advice
    assert otherwise in finding.text
    assert videos.status is Status.NOTE and "nvvidconv" in videos.text


@pytest.mark.skipif(not has_gstreamer(), reason="GStreamer is not installed; tests/install_system_packages.sh")
@pytest.mark.parametrize("has_programs", [True, False])
def test_what_is_missing_is_listed_once_and_its_packages_as_well(board, settings, monkeypatch, tmp_path, has_programs):
    if not find_elements(("nvv4l2decoder",)).missing:
        pytest.skip("this machine has NVIDIA's elements")
    board("R32", "NO")
    monkeypatch.setattr(checks, "l4t_release", lambda: (32, 7))
    if has_programs and shutil.which("gst-inspect-1.0") is None:
        pytest.skip("gst-inspect-1.0 is not installed")
    if not has_programs:
        monkeypatch.setenv("PATH", str(tmp_path))
    sections = {section.title: section for section in run_checks(settings, None, "a file", cameras=False)}
    findings = [*sections["Video"].findings, *sections["Decoding and encoding"].findings]
    assert sum("nvv4l2decoder" in finding.text for finding in findings) == 1
    assert sum(finding.advice == JETSON_PACKAGES for finding in findings) == 1


def test_without_gstreamers_library_the_finding_names_it(board, monkeypatch, tmp_path):
    (tmp_path / "libgstreamer-1.0.so.0").write_bytes(b"nothing")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    board("R32", "NO")
    finding = check_decoding(settings_with())[0]
    assert finding.status is Status.WARNING and "libgstreamer-1.0.so.0" in finding.text


@pytest.mark.parametrize(
    ("generation", "encoder", "words"),
    [("NONE", "auto", ["processor", "not a Jetson"]), ("R32", "software", ["processor", "software"])],
)
def test_the_encoder_is_named_with_the_reason(board, generation, encoder, words):
    board(generation, "NO")
    finding = check_decoding(settings_with(encoder=encoder))[1]
    assert finding.status is Status.OK
    assert all(word in finding.text for word in words)
