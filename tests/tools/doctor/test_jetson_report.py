"""The report holds what every step said, survives steps that fail, and tells nothing private."""

import json
import socket
from pathlib import Path

import pytest
from shipped import CATALOG
from waiting import PATIENT_S

from app.cli import COMMANDS
from app.tools.doctor.jetson_report import (
    ReportStep,
    StepResult,
    finds_tensorrt,
    make_report,
    report_steps,
    report_text,
    run_step,
    without_private,
)


def json_block(text):
    return json.loads(text.rpartition("```json\n")[2].rpartition("\n```")[0])


def test_failed_step_costs_only_itself():
    saved, told = [], []
    todo = [
        ReportStep("models", ("engines", "list"), PATIENT_S),
        ReportStep("nonsense", ("no-such-command",), PATIENT_S),
        ReportStep("hanging", ("people", "list"), 0),
        ReportStep("with a GPU", ("engines", "list"), PATIENT_S, needs="tensorrt"),
        ReportStep("version", ("--version",), PATIENT_S),
    ]
    assert not make_report(todo, None, saved.append, told.append)
    report = json_block(saved[-1])
    models, nonsense, hanging, with_gpu, version = report["steps"]
    assert models["exit_code"] == 0 and "mobilefacenet" in models["output"]
    assert nonsense["exit_code"] == 2 and "'no-such-command'" in nonsense["errors"]
    assert hanging["exit_code"] is None and "FAILED: timed out" in hanging["remark"]
    assert "skipped" in with_gpu["remark"]
    assert version["exit_code"] == 0
    assert len(saved) == len(todo) + 1
    assert "Not complete: 1 of 5 steps" in saved[1] and "Not complete" not in saved[-1]


def test_report_says_what_machine_it_is():
    facts = json_block(report_text([], 3))
    assert facts["jetson_linux"] and facts["python"]
    assert "Not complete: 0 of 3" in report_text([], 3)


def test_private_names_are_removed():
    home, host = str(Path.home()), socket.gethostname()
    text = without_private(f"rtsp://ann:secret@10.0.0.5/x failed in {home}/clips on {host}, see {Path.cwd()}/engines")
    assert "secret" not in text
    assert f"{home}/clips" not in text or home == "/"
    assert "./engines" in text
    assert host in ("localhost", "app", "user", "root") or host not in text.split()


def test_code_fences_in_what_a_step_said_do_not_break_the_report():
    result = StepResult("odd", "x", 0, 1.0, "```json\nnot mine\n```", "")
    assert json_block(report_text([result], 1))["steps"][0]["output"].startswith("```json")


@pytest.mark.parametrize(
    ("gpu", "package", "answer"),
    [
        ("OK", "TensorRT 10.3.0", True),
        ("-", "TensorRT 10.3.0", False),
        ("OK", "TensorRT is not installed (runs networks on NVIDIA GPUs)", False),
    ],
)
def test_tensorrt_is_there_with_a_gpu_and_a_package_that_loads(gpu, package, answer):
    sections = [
        {"title": "GPU", "findings": [{"status": gpu, "text": "Orin"}]},
        {"title": "Packages", "findings": [{"status": "OK", "text": package}]},
    ]
    assert finds_tensorrt({"sections": sections}) is answer
    assert not finds_tensorrt(None)


def test_every_step_is_a_command_of_this_program():
    assert {step.words[0] for step in report_steps("a", "b")} <= set(COMMANDS)


def test_figures_are_kept_as_data(tmp_path):
    config = tmp_path / "test.yaml"
    config.write_text(f"models:\n  catalog: {CATALOG}\n  backend: onnx\n", encoding="utf-8")
    checks = run_step(ReportStep("checks", ("doctor", "--json"), PATIENT_S, data="printed"), config)
    assert checks.data["can_run"] is True and checks.output == ""
    words = ("bench", "engines", "mobilefacenet", "--batch", "1", "--seconds", "0.01")
    speed = run_step(ReportStep("speed", words, PATIENT_S, data="written"), config)
    assert speed.data["measured"][0]["model"] == "mobilefacenet"
    assert "mobilefacenet" in speed.output
    text = report_text([checks, speed], 2)
    assert "## speed" in text and "## checks" not in text
    assert json_block(text)["steps"][0]["data"]["can_run"] is True
