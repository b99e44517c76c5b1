"""What a check found, and how it is told."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterable, List, Tuple


class Status(str, enum.Enum):
    """How much a finding matters. The values are what is printed."""

    OK = "OK"
    NOTE = "-"
    """Neither good nor bad: something optional that is not there."""
    WARNING = "warning"
    """It runs, but not as well as it could."""
    PROBLEM = "PROBLEM"
    """The program cannot run like this."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    status: Status
    text: str
    advice: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class Section:
    """The findings of one subject."""

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
    """The last line."""
    found: List[Status] = [finding.status for section in sections for finding in section.findings]
    problems, warnings = found.count(Status.PROBLEM), found.count(Status.WARNING)
    if problems:
        return f"The program cannot run yet: {problems} to mend, marked PROBLEM."
    return "The program can run." + (f" {warnings} could be better, marked warning." if warnings else "")


def sections_json(sections: Iterable[Section]) -> List[Dict[str, Any]]:
    return [asdict(section) for section in sections]
