"""One file that shows how the program works on a board: checks, engines, their accuracy and speed.

Every step is a command of this program in a process of its own: a step that is killed or crashes does not affect the
others. The report is saved after each step, so that nothing is lost when the program is interrupted.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from app import __version__
from app.capture.gstreamer import l4t_release
from app.credentials import masked
from app.tools.doctor.hardware import jetpack_of
from app.types import MessageCallback

FAILED = "FAILED"
MINUTE_S = 60
MAX_CHARACTERS = 20_000
"""Of a step's output, the end is kept."""


@dataclass(frozen=True)
class ReportStep:
    """One command of this program."""

    title: str
    words: Tuple[str, ...]
    timeout_s: float
    needs: str = ""
    """`tensorrt`: skipped without a GPU and TensorRT."""
    data: str = ""
    """`printed`: it prints JSON; `written`: it has an option `--json FILE`."""


@dataclass(frozen=True)
class StepResult:
    """The output of a step."""

    title: str
    command: str
    exit_code: Optional[int]
    """None for a step that was skipped or timed out."""
    seconds: float
    output: str
    errors: str
    remark: str = ""
    data: Any = None
    """The output as parsed JSON."""

    @property
    def failed(self) -> bool:
        return self.exit_code not in (0, None) or self.remark.startswith(FAILED)

    @property
    def outcome(self) -> str:
        if self.remark:
            return self.remark
        return "done" if self.exit_code == 0 else f"{FAILED}, exit code {self.exit_code}"


def report_steps(detector: str, embedder: str) -> Tuple[ReportStep, ...]:
    """All steps, in an order in which each finds what it needs."""
    models = (detector, embedder)
    return (
        ReportStep("checks", ("doctor", "--json"), 3 * MINUTE_S, data="printed"),
        ReportStep("building engines", ("engines", "build"), 60 * MINUTE_S, needs="tensorrt"),
        ReportStep("checks with engines", ("doctor",), 3 * MINUTE_S),
        *(ReportStep(f"content of {name}", ("engines", "show", name), MINUTE_S) for name in models),
        *(ReportStep(f"layers of {name}", ("engines", "inspect", name, "--layers"), 3 * MINUTE_S) for name in models),
        *(
            ReportStep(
                f"{name}: accuracy compared with ONNX Runtime",
                ("engines", "compare", name),
                20 * MINUTE_S,
                data="written",
            )
            for name in models
        ),
        ReportStep("speed of the networks", ("bench", "engines", "--batch", "1,4,16"), 30 * MINUTE_S, data="written"),
        ReportStep(
            "speed of the networks, TensorRT and ONNX Runtime in turns",
            ("bench", "engines", "--batch", "1,16", "--backend", "tensorrt,onnx"),
            30 * MINUTE_S,
            needs="tensorrt",
            data="written",
        ),
        ReportStep("speed of the whole program", ("bench", "--frames", "100"), 15 * MINUTE_S, data="written"),
        ReportStep(
            "memory with two cameras",
            ("bench", "memory", "--channels", "2", "--limits", "1200m"),
            5 * MINUTE_S,
            data="written",
        ),
    )


def make_report(
    steps: Sequence[ReportStep],
    config: Optional[Path],
    save: Callable[[str], None],
    on_message: MessageCallback,
) -> bool:
    """Runs all steps and saves the report after each. Returns whether all of them succeeded."""
    done: List[StepResult] = []
    save(report_text(done, len(steps)))
    has_tensorrt = True
    for number, step in enumerate(steps, 1):
        on_message(f"{number} of {len(steps)}: {step.title} …")
        if step.needs and not has_tensorrt:
            result = StepResult(step.title, _command(step), None, 0.0, "", "", "skipped: no GPU with TensorRT")
        else:
            result = run_step(step, config)
        done.append(result)
        if number == 1:
            has_tensorrt = finds_tensorrt(result.data)
        on_message(f"   {result.outcome}, {result.seconds:.0f} s")
        save(report_text(done, len(steps)))
    return not any(result.failed for result in done)


def run_step(step: ReportStep, config: Optional[Path]) -> StepResult:
    """Runs the command until it ends or times out."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "app", *step.words]
        command += ["--config", str(config)] if config else []
        command += ["--json", str(written)] if step.data == "written" else []
        result = _run(step, command)
        if step.data == "written" and written.is_file():
            return replace(result, data=_parse_json(without_private(written.read_text(encoding="utf-8"))))
    if step.data == "printed":
        data = _parse_json(result.output)
        return replace(result, data=data, output="" if data is not None else result.output)
    return result


def _run(step: ReportStep, command: Sequence[str]) -> StepResult:
    exit_code: Optional[int] = None
    output: Union[str, bytes, None]
    errors: Union[str, bytes, None]
    output = errors = remark = ""
    started = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=step.timeout_s, encoding="utf-8", errors="replace")
        exit_code, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        # These are bytes or None, whatever the encoding.
        output, errors = error.stdout, error.stderr
        remark = f"{FAILED}: timed out after {time.monotonic() - started:.0f} s"
    except OSError as error:
        remark = f"{FAILED}: cannot be started: {error}"
    output, errors = (
        without_private(text.decode("utf-8", "replace") if isinstance(text, bytes) else text or "")[-MAX_CHARACTERS:]
        for text in (output, errors)
    )
    return StepResult(step.title, _command(step), exit_code, time.monotonic() - started, output, errors, remark)


def _parse_json(text: str) -> Any:
    """None for text that is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def finds_tensorrt(checks: Any) -> bool:
    """Whether the checks, as `doctor --json` prints them, found a GPU and a TensorRT that can be imported."""
    try:
        sections = {section["title"]: section["findings"] for section in checks["sections"]}
        gpu = any(finding["status"] == "OK" for finding in sections["GPU"])
        return gpu and any(re.match(r"TensorRT [\d.]+$", finding["text"]) for finding in sections["Packages"])
    except (KeyError, TypeError):
        return False


def report_text(done: Sequence[StepResult], planned: int) -> str:
    """Markdown for people, with the same content as JSON at its end for programs."""
    release = l4t_release()
    jetpack = jetpack_of(release) if release else None
    facts: Dict[str, Any] = {
        "program": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "jetson_linux": release or "none: this machine is not a Jetson",
        "jetpack": jetpack.name if jetpack else "-",
    }
    lines = ["# Report of a board", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    if len(done) < planned:
        lines += [f"**Not complete: {len(done)} of {planned} steps.**", ""]
    lines += ["| step | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {result.title} | {result.outcome} | {result.seconds:.0f} |" for result in done]
    for result in done:
        if result.data is not None and not result.output:
            continue
        lines += ["", f"## {result.title}", "", f"    {result.command}", ""]
        lines += [f"{result.outcome}, {result.seconds:.1f} s"]
        for heading, text in (("", result.output), ("messages", result.errors)):
            if text.strip():
                lines += ["", f"{heading}:"] if heading else []
                lines += ["", "```text", text.strip().replace("```", "'''"), "```"]
    as_json = json.dumps({**facts, "steps": [asdict(result) for result in done]}, indent=1)
    return "\n".join([*lines, "", "## For programs", "", "```json", as_json, "```", ""])


def without_private(text: str) -> str:
    """The text without passwords and without the names of the user, of the machine and of their folders."""
    text = masked(text)
    names = [(str(Path.cwd()), "."), (str(Path.home()), "~"), (socket.gethostname(), "this-machine")]
    # In a container the user's number may have no name.
    with contextlib.suppress(KeyError, OSError):
        names.append((getpass.getuser(), "user"))
    for private, public in names:
        if private not in ("", "/", "root", "user", "app", "localhost"):
            text = re.sub(rf"(?<![A-Za-z0-9_]){re.escape(private)}(?![A-Za-z0-9_])", public, text)
    return text


def _command(step: ReportStep) -> str:
    return " ".join(["python -m app", *step.words])
