"""One file that tells how the program does on a board: checks, engines, their accuracy and speed.

Every step is a command of this program in a process of its own, so that a step that is killed, or that takes its
process down, costs only itself. The report is saved anew after each step: what was found out stays, whatever comes.
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
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from app import __version__
from app.capture.gstreamer import l4t_release
from app.credentials import masked
from app.tools.doctor.jetpack import jetpack_of

FAILED = "FAILED"
MINUTE_S = 60
KEPT_CHARACTERS = 20_000
"""Of what a step prints, the end."""


@dataclass(frozen=True)
class Step:
    """One command of this program."""

    title: str
    words: Tuple[str, ...]
    timeout_s: float
    needs: str = ""
    """`tensorrt`: left out where there is no GPU with TensorRT."""
    data: str = ""
    """`printed`: what it prints is JSON; `written`: it takes `--json FILE`."""


@dataclass(frozen=True)
class StepResult:
    """What became of a step."""

    title: str
    command: str
    exit_code: Optional[int]
    """None for a step that was left out or ran out of time."""
    seconds: float
    output: str
    errors: str
    remark: str = ""
    data: Any = None
    """The same as data, for programs."""

    @property
    def failed(self) -> bool:
        return self.exit_code not in (0, None) or self.remark.startswith(FAILED)

    @property
    def outcome(self) -> str:
        if self.remark:
            return self.remark
        return "done" if self.exit_code == 0 else f"{FAILED}, exit code {self.exit_code}"


def steps(detector: str, embedder: str) -> Tuple[Step, ...]:
    """In their order: what the later ones need comes first."""
    models = (detector, embedder)
    return (
        Step("checks", ("doctor", "--json"), 3 * MINUTE_S, data="printed"),
        Step("building engines", ("engines", "build"), 60 * MINUTE_S, needs="tensorrt"),
        Step("checks with engines", ("doctor",), 3 * MINUTE_S),
        *(Step(f"what is in {name}", ("engines", "show", name), MINUTE_S) for name in models),
        *(Step(f"layers of {name}", ("engines", "inspect", name, "--layers"), 3 * MINUTE_S) for name in models),
        *(
            Step(
                f"{name}: what the program takes, against ONNX Runtime",
                ("engines", "compare", name),
                20 * MINUTE_S,
                data="written",
            )
            for name in models
        ),
        Step("speed of the networks", ("bench", "engines", "--batch", "1,4,16"), 30 * MINUTE_S, data="written"),
        Step(
            "speed of the networks, TensorRT and ONNX Runtime in turns",
            ("bench", "engines", "--batch", "1,16", "--backend", "tensorrt,onnx"),
            30 * MINUTE_S,
            needs="tensorrt",
            data="written",
        ),
        Step("speed of the whole program", ("bench", "--frames", "100"), 15 * MINUTE_S, data="written"),
    )


def make_report(
    todo: Sequence[Step], config: Optional[Path], save: Callable[[str], None], tell: Callable[[str], None]
) -> bool:
    """Makes all steps and saves the report; whether all of them succeeded. Ctrl-C keeps what is there."""
    done: List[StepResult] = []
    save(report_text(done, len(todo)))
    has_tensorrt = True
    for number, step in enumerate(todo, 1):
        tell(f"{number} of {len(todo)}: {step.title} …")
        if step.needs and not has_tensorrt:
            result = StepResult(step.title, _shown(step.words), None, 0.0, "", "", "left out: no GPU with TensorRT")
        else:
            result = run_step(step, config)
        done.append(result)
        if number == 1:
            has_tensorrt = finds_tensorrt(result.data)
        tell(f"   {result.outcome}, {result.seconds:.0f} s")
        save(report_text(done, len(todo)))
    return not any(result.failed for result in done)


def run_step(step: Step, config: Optional[Path]) -> StepResult:
    """Runs it to its end, or until its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "app", *step.words]
        command += ["--config", str(config)] if config else []
        command += ["--json", str(written)] if step.data == "written" else []
        result = _run(step, command)
        if step.data == "written" and written.is_file():
            return replace(result, data=_parsed(without_private(written.read_text(encoding="utf-8"))))
    if step.data == "printed":
        data = _parsed(result.output)
        return replace(result, data=data, output="" if data is not None else result.output)
    return result


def _run(step: Step, command: Sequence[str]) -> StepResult:
    started = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=step.timeout_s, encoding="utf-8", errors="replace")
    except subprocess.TimeoutExpired as error:
        spent = time.monotonic() - started
        output, errors = _text(error.stdout), _text(error.stderr)
        return StepResult(
            step.title, _shown(step.words), None, spent, output, errors, f"{FAILED}: no end in {spent:.0f} s"
        )
    except OSError as error:
        return StepResult(step.title, _shown(step.words), None, 0.0, "", "", f"{FAILED}: cannot be started: {error}")
    spent = time.monotonic() - started
    return StepResult(step.title, _shown(step.words), done.returncode, spent, _text(done.stdout), _text(done.stderr))


def _parsed(text: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def finds_tensorrt(checks: Any) -> bool:
    """Whether the checks, as `doctor --json` prints them, found a GPU and a TensorRT that loads."""
    try:
        sections = {section["title"]: section["findings"] for section in checks["sections"]}
        gpu = any(finding["status"] == "OK" for finding in sections["GPU"])
        return gpu and any(re.match(r"TensorRT [\d.]+$", finding["text"]) for finding in sections["Packages"])
    except (KeyError, TypeError):
        return False


def report_text(done: Sequence[StepResult], planned: int) -> str:
    """Markdown for people, and the same as JSON at its end for programs."""
    facts = _facts()
    lines = ["# Report of a board", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    if len(done) < planned:
        lines += [f"**Not complete: {len(done)} of {planned} steps.**", ""]
    lines += ["| step | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {result.title} | {result.outcome} | {result.seconds:.0f} |" for result in done]
    for result in done:
        if result.data is not None and not result.output:
            continue
        lines += [
            "",
            f"## {result.title}",
            "",
            f"    {result.command}",
            "",
            f"{result.outcome}, {result.seconds:.1f} s",
        ]
        for heading, text in (("", result.output), ("messages", result.errors)):
            if text.strip():
                lines += [
                    "",
                    *([heading + ":"] if heading else []),
                    "",
                    "```text",
                    text.strip().replace("```", "'''"),
                    "```",
                ]
    whole = {**facts, "steps": [asdict(result) for result in done]}
    return "\n".join([*lines, "", "## For programs", "", "```json", json.dumps(whole, indent=1), "```", ""])


def _facts() -> Dict[str, Any]:
    release = l4t_release()
    jetpack = jetpack_of(release) if release else None
    return {
        "program": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "jetson_linux": release or "none: this machine is no Jetson",
        "jetpack": jetpack.name if jetpack else "-",
    }


def without_private(text: str) -> str:
    """No passwords, and not the names of the user, of the machine and of their folders."""
    text = masked(text)
    for private, public in _private_names():
        text = re.sub(rf"(?<![A-Za-z0-9_]){re.escape(private)}(?![A-Za-z0-9_])", public, text)
    return text


def _private_names() -> List[Tuple[str, str]]:
    names = [(str(Path.cwd()), "."), (str(Path.home()), "~"), (socket.gethostname(), "this-machine")]
    # A container may run as a number that belongs to nobody.
    with contextlib.suppress(KeyError, OSError):
        names.append((getpass.getuser(), "user"))
    common = ("", "/", "root", "user", "app", "localhost")
    return [(private, public) for private, public in names if private not in common]


def _shown(words: Sequence[str]) -> str:
    return " ".join(["python -m app", *words])


def _text(data: Any) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data or "")
    return without_private(text)[-KEPT_CHARACTERS:]
