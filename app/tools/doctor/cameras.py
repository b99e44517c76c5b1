"""Cameras: the configured sources are opened and read once, and the devices that Linux lists are shown."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import threading
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from app.capture.opening import open_reader
from app.capture.uri import Source, name_sources
from app.errors import AppError
from app.settings import CaptureSettings
from app.tools.doctor.checks import CHECK_ERRORS, Finding, note, ok, problem, warning
from app.tools.machine import read_system_file

SOURCE_TIMEOUT_S = 5.0
"""Upper limit for opening a source, and for its first frame."""

HANGING_AFTER_S = 4 * SOURCE_TIMEOUT_S


def check_cameras(sources: Sequence[Tuple[Optional[str], str]], capture: CaptureSettings) -> List[Finding]:
    """The sources of the settings first; without any, the devices alone."""
    return [*check_sources(name_sources(sources), capture), *check_devices(has_sources=bool(sources))]


def check_sources(
    sources: Sequence[Source], capture: CaptureSettings, hanging_after_s: float = HANGING_AFTER_S
) -> List[Finding]:
    """Reads one frame of each source, all at the same time. Some drivers hang, so no source is waited for forever."""
    short = dataclasses.replace(
        capture,
        open_timeout_s=min(capture.open_timeout_s, SOURCE_TIMEOUT_S),
        read_timeout_s=min(capture.read_timeout_s, SOURCE_TIMEOUT_S),
    )
    done: queue.Queue[Tuple[Source, Finding]] = queue.Queue()
    for source in sources:
        threading.Thread(
            target=lambda source=source: done.put((source, _check_source(source, short))), daemon=True
        ).start()
    found: Dict[Source, Finding] = {}
    with contextlib.suppress(queue.Empty):
        while len(found) < len(sources):
            source, finding = done.get(timeout=hanging_after_s)
            found[source] = finding
    return [
        found.get(source)
        or problem(f"{source}: no answer in {hanging_after_s:g} s", "restart the camera or its driver")
        for source in sources
    ]


def _check_source(source: Source, capture: CaptureSettings) -> Finding:
    try:
        with contextlib.closing(open_reader(source, capture)) as reader:
            frame = reader.read()
    except AppError as error:
        return problem(str(error))
    except CHECK_ERRORS as error:
        return problem(f"{source} cannot be opened: {type(error).__name__}: {error}")
    if frame is None:
        return problem(f"{source} opens, but has no frames")
    height, width = frame.image.shape[:2]
    return ok(f"{source}: {width} x {height}")


def check_devices(root: Path = Path("/"), has_sources: bool = False) -> List[Finding]:
    """USB and CSI cameras as Linux lists them."""
    devices = sorted((root / "dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    findings = []
    for device in devices:
        name = read_system_file(root / "sys/class/video4linux" / device.name / "name")
        text = f"/dev/{device.name}" + (f": {name}" if name else "")
        if os.access(device, os.R_OK | os.W_OK):
            findings.append(ok(text))
        else:
            findings.append(warning(f"{text}: no permission", "sudo usermod -aG video $USER, and log in again"))
    if findings or has_sources:
        return findings
    return [note("no camera on USB or CSI (network cameras and video files do not need one)")]
