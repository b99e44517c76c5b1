"""The checks of `doctor` in their order, and what a check reports. A check that fails does not stop the others."""

from __future__ import annotations

import enum
import importlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from app.capture.gstreamer import l4t_release
from app.errors import AppError
from app.settings import Settings

CHECK_ERRORS = (
    AppError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a check may raise on a machine that we have never seen."""


class Status(str, enum.Enum):
    """How important a finding is. The values are what is printed."""

    OK = "OK"
    NOTE = "-"
    """Neither good nor bad, such as an optional package that is not installed."""
    WARNING = "warning"
    """The program runs, but not as well as it could."""
    PROBLEM = "PROBLEM"
    """The program cannot run like this."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    status: Status
    text: str
    advice: str = ""
    """How to fix it."""


@dataclass(frozen=True)
class Section:
    """The findings on one subject."""

    title: str
    findings: Tuple[Finding, ...]


def ok(text: str) -> Finding:
    return Finding(Status.OK, text)


def note(text: str, advice: str = "") -> Finding:
    return Finding(Status.NOTE, text, advice)


def warning(text: str, advice: str = "") -> Finding:
    return Finding(Status.WARNING, text, advice)


def problem(text: str, advice: str = "") -> Finding:
    return Finding(Status.PROBLEM, text, advice)


def run_checks(
    settings: Settings,
    settings_error: Optional[str],
    settings_origin: str,
    grid: Optional[Path] = None,
    cameras: bool = True,
) -> Iterator[Section]:
    """Yields each section as soon as it is complete. `grid` is the folder for a picture of each source, if wanted.
    Without `cameras`, no source is opened: a run has them open.

    The module of each check is imported when the check runs, so that a missing package is a finding of that check.
    """
    is_jetson = l4t_release() is not None
    checks: Tuple[Tuple[str, str, Tuple[Any, ...]], ...] = (
        ("Settings", "program.check_settings", (settings_error, settings_origin)),
        ("Python", "packages.check_python", ()),
        ("Packages", "packages.check_packages", (is_jetson,)),
        ("Board", "hardware.check_board", ()),
        ("GPU", "hardware.check_gpu", (is_jetson,)),
        ("Video", "video.check_video", (is_jetson,)),
        ("Decoding and encoding", "decoding.check_decoding", (settings,)),
        ("Power and clocks", "hardware.check_power", (is_jetson,)),
        ("Memory and disk", "hardware.check_memory_and_disk", (is_jetson, settings.models.catalog.parent)),
        ("Networks", "program.check_networks", (settings,)),
        ("Engines", "program.check_engines", (settings,)),
        ("Gallery", "program.check_gallery", (settings.gallery.folder, settings.recognition)),
        *([] if settings.fleet.database is None else [("Fleet", "fleet.check_fleet", (settings,))]),
        ("Display", "program.check_display", ()),
        ("Cameras", "cameras.check_cameras", (settings, grid)),
    )
    given: Set[str] = set()
    for title, place, arguments in checks if cameras else checks[:-1]:
        module, _, function = place.partition(".")
        try:
            findings = getattr(importlib.import_module(f"app.tools.doctor.{module}"), function)(*arguments)
        except CHECK_ERRORS as error:
            findings = [problem(f"this check failed: {type(error).__name__}: {error}")]
        yield Section(title, tuple(_advised_once(findings, given)))


def _advised_once(findings: Iterable[Finding], given: Set[str]) -> Iterator[Finding]:
    """A long list of packages is given once, however many findings it helps."""
    for finding in findings:
        yield replace(finding, advice="as above") if finding.advice in given else finding
        if finding.advice:
            given.add(finding.advice)


def can_run(sections: Iterable[Section]) -> bool:
    return not any(finding.status is Status.PROBLEM for section in sections for finding in section.findings)


def section_text(section: Section) -> str:
    lines = [section.title]
    for finding in section.findings:
        first, *others = finding.text.splitlines() or [""]
        lines.append(f"  {finding.status!s:<8} {first}")
        lines += [f"           {line.strip()}" for line in others]
        lines += [f"           -> {finding.advice}"] if finding.advice else []
    return "\n".join(lines)


def verdict(sections: Iterable[Section]) -> str:
    """The last line of the report."""
    found: List[Status] = [finding.status for section in sections for finding in section.findings]
    problems, warnings = found.count(Status.PROBLEM), found.count(Status.WARNING)
    if problems:
        return f"The program cannot run yet. To fix: {problems}, marked PROBLEM."
    return "The program can run." + (f" {warnings} could be better, marked warning." if warnings else "")


def findings_of_server(settings: Settings) -> List[Dict[str, Any]]:
    """What a server shows of its machine."""
    return sections_json(list(run_checks(settings, None, "as the server was started", cameras=False)))


def sections_json(sections: Iterable[Section]) -> List[Dict[str, Any]]:
    return [asdict(section) for section in sections]
