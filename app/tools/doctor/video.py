"""Decoding and encoding with GStreamer: its programs and elements, and whether a decoder decodes."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from typing import AbstractSet, Dict, List, Optional

from app.tools.doctor.checks import Finding, note, ok, warning

LIST_TIMEOUT_S = 60
"""The first time, GStreamer looks at all its plugins."""
DECODE_TIMEOUT_S = 20
FRAMES = 30

JETSON_ELEMENTS = {
    "nvv4l2decoder": "the hardware decoder",
    "nvvidconv": "its pictures for the program",
    "nvarguscamerasrc": "CSI cameras",
    "nvv4l2h264enc": "the hardware encoder, which the Orin Nano lacks",
}
ELEMENTS = {
    "rtspsrc": "network cameras",
    "rtph264depay": "network cameras",
    "h264parse": "H.264",
    "v4l2src": "USB cameras",
    "avdec_h264": "H.264 on the processor",
    "videoconvert": "frames for the program",
    "appsink": "frames for the program",
    "x264enc": "encoding on the processor",
}
JETSON_PACKAGES = "sudo apt-get install nvidia-l4t-gstreamer; in a container: --runtime nvidia"
PACKAGES = (
    "sudo apt-get install gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)


def check_video(is_jetson: bool) -> List[Finding]:
    """GStreamer is needed on a Jetson; elsewhere FFmpeg does the same."""
    missing = warning if is_jetson else note
    if not can_list_elements():
        text = "GStreamer's programs are not installed"
        return [missing(text, "sudo apt-get install gstreamer1.0-tools" if is_jetson else "")]
    elements = list_elements()
    if elements is None:
        return [missing("gst-inspect-1.0 does not list GStreamer's elements", "gst-inspect-1.0")]
    findings = [check_elements(elements, ELEMENTS, is_jetson, PACKAGES)]
    if is_jetson:
        findings.insert(0, check_elements(elements, JETSON_ELEMENTS, True, JETSON_PACKAGES))
    hardware = "nvv4l2decoder" in elements
    if {"x264enc", "h264parse", "nvvidconv" if hardware else "avdec_h264"} <= elements:
        findings.append(check_decoder("nvv4l2decoder" if hardware else "avdec_h264"))
    return findings


def can_list_elements() -> bool:
    """Otherwise, this check cannot say which ones are missing."""
    return shutil.which("gst-inspect-1.0") is not None and shutil.which("gst-launch-1.0") is not None


def list_elements() -> Optional[AbstractSet[str]]:
    """The names of all elements, or None if they cannot be listed."""
    try:
        done = subprocess.run(
            ["gst-inspect-1.0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=LIST_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = frozenset(re.findall(r"^\S+:\s+([\w-]+): ", done.stdout, re.MULTILINE))
    return names or None


def check_elements(there: AbstractSet[str], wanted: Dict[str, str], is_jetson: bool, packages: str) -> Finding:
    missing = [f"{name} ({purpose})" for name, purpose in wanted.items() if name not in there]
    if not missing:
        return ok(f"GStreamer has {', '.join(wanted)}")
    text = f"GStreamer has no {', '.join(missing)}"
    return warning(text, packages) if is_jetson else note(text)


def check_decoder(name: str) -> Finding:
    """Decodes a picture that is encoded at the same time."""
    advice = JETSON_PACKAGES if name == "nvv4l2decoder" else PACKAGES
    decoder = f"{name} ! nvvidconv ! video/x-raw,format=I420" if name == "nvv4l2decoder" else name
    pipeline = (
        f"videotestsrc num-buffers={FRAMES} ! video/x-raw,width=1280,height=720 ! "
        f"x264enc tune=zerolatency speed-preset=ultrafast ! h264parse ! {decoder} ! fakesink"
    )
    began = time.monotonic()
    try:
        done = subprocess.run(
            ["gst-launch-1.0", "-q", *pipeline.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DECODE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return warning(f"{name} has not decoded {FRAMES} frames in {DECODE_TIMEOUT_S} s", advice)
    if done.returncode != 0:
        why = next((line for line in done.stderr.splitlines() if "ERROR" in line), done.stderr.strip())
        return warning(f"{name} does not decode: {why}", advice)
    return ok(f"{name} decodes: {FRAMES} frames of 1280x720 in {time.monotonic() - began:.1f} s")
