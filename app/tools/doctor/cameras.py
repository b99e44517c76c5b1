"""Cameras: the configured sources are opened and read once, and the devices that Linux lists are shown."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import threading
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.capture.main_stream import small_source
from app.capture.reader_process import start_reader
from app.capture.uri import Source, name_sources
from app.errors import AppError
from app.output.areas import draw_grid, outlines
from app.output.paths import save_snapshot
from app.output.text_renderer import TextRenderer
from app.settings import Settings
from app.tools.doctor.checks import CHECK_ERRORS, Finding, Status, note, ok, problem, warning
from app.tools.machine import read_system_file

SOURCE_TIMEOUT_S = 5.0
"""Upper limit for opening a source, and for its first frame."""

HANGING_AFTER_S = 4 * SOURCE_TIMEOUT_S


def check_cameras(settings: Settings, grid: Optional[Path] = None) -> List[Finding]:
    """The sources of the settings first; without any, the devices alone. `grid` as in `check_sources`."""
    sources = name_sources(settings.sources)
    small = [small_source(source, settings.for_channel(source.name).capture) for source in sources]
    found = check_sources([*sources, *filter(None, small)], settings, grid=grid)
    return [*found, *check_devices(has_sources=bool(settings.sources))]


def check_sources(
    sources: Sequence[Source],
    settings: Settings,
    hanging_after_s: float = HANGING_AFTER_S,
    grid: Optional[Path] = None,
) -> List[Finding]:
    """Reads one frame of each source, all at the same time. Some drivers hang, so no source is waited for forever.

    The frames are written to the folder `grid`, with a grid and what the channel watches and ignores.
    """
    done: queue.Queue[Tuple[Source, Finding]] = queue.Queue()
    for source in sources:
        threading.Thread(
            target=lambda source=source: done.put((source, _check_source(source, settings, grid))), daemon=True
        ).start()
    found: Dict[Source, Finding] = {}
    with contextlib.suppress(queue.Empty):
        while len(found) < len(sources):
            source, finding = done.get(timeout=hanging_after_s)
            found[source] = finding
    unanswered = "restart the camera or its driver"
    findings = [
        found.get(source) or problem(f"{source}: no answer in {hanging_after_s:g} s", unanswered) for source in sources
    ]
    if not any(finding.status is Status.OK for finding in findings):
        return findings
    return [
        warning(finding.text, finding.advice or "meanwhile the others run, and this one is tried again")
        if source.live and finding.status is Status.PROBLEM
        else finding
        for source, finding in zip(sources, findings)
    ]


def _check_source(source: Source, settings: Settings, grid: Optional[Path]) -> Finding:
    capture = settings.for_channel(source.name).capture
    short = dataclasses.replace(
        capture,
        open_timeout_s=min(capture.open_timeout_s, SOURCE_TIMEOUT_S),
        read_timeout_s=min(capture.read_timeout_s, SOURCE_TIMEOUT_S),
    )
    try:
        with contextlib.closing(start_reader(source, short)) as reader:
            reader.finish_opening()
            frame = reader.read()
        if frame is not None and grid is not None:
            path = _write_grid(frame.image, source.name, settings, grid)
    except AppError as error:
        return problem(str(error))
    except CHECK_ERRORS as error:
        return problem(f"{source} cannot be opened: {type(error).__name__}: {error}")
    if frame is None:
        return problem(f"{source} opens, but has no frames")
    height, width = frame.image.shape[:2]
    return ok(f"{source}: {width} x {height}" + ("" if grid is None else f", with a grid in {path}"))


def _write_grid(image: np.ndarray, channel: str, settings: Settings, folder: Path) -> Path:
    image = image.copy()
    for outline in outlines(settings, [channel]).values():
        outline.draw(image)
    draw_grid(image, TextRenderer())
    return save_snapshot(image, folder, channel, time.time())


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
