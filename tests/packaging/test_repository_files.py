"""Files that GitHub, pre-commit and CI read."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, List

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def linters_of_make() -> List[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^\tcheck(?:_if_there)? (\w+)", makefile, re.MULTILINE)


def test_the_workflow_runs_what_contributors_run() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML 1.1 reads the key `on` as true
    (job,) = workflow["jobs"].values()
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert job["timeout-minutes"] <= 60


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_every_field_of_an_issue_form_is_complete(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields and all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


@pytest.mark.parametrize("name", ["bug", "question"])
def test_reports_include_the_output_of_doctor(name: str) -> None:
    (doctor,) = [
        field for field in read(ROOT / f".github/ISSUE_TEMPLATE/{name}.yml")["body"] if field.get("id") == "doctor"
    ]
    assert "python -m app doctor" in doctor["attributes"]["description"]
    assert doctor["validations"]["required"]


def test_commits_are_checked_by_the_linters_that_ci_runs() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    programs = [shlex.split(hook["entry"])[0] for hook in repository["hooks"]]
    assert all(program.startswith(".venv/bin/") for program in programs)
    assert {Path(program).name for program in programs} == set(linters_of_make())


def test_a_commit_that_touches_a_shell_script_is_checked() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    (pattern,) = [hook["files"] for hook in repository["hooks"] if hook["id"] == "shellcheck"]
    assert all(re.search(pattern, name) for name in ("jetson_setup.sh", "install/find_python.sh", ".ci/run"))


def test_the_changelog_has_one_line_per_change() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    changes = lines[lines.index("## Unreleased") :]
    sections = [line for line in changes if line.startswith("### ")]
    assert set(sections) <= {
        f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }
    assert len(set(sections)) == len(sections)
    listed = changes[changes.index(sections[0]) :]
    assert [line for line in listed if line and not line.startswith(("- ", "### ", "## "))] == []


def test_no_link_in_the_repository_leads_to_one_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of Git")
    listing = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True)
    entries = [line.split(None, 3) for line in listing.stdout.splitlines()]
    assert [name for mode, _, _, name in entries if mode == "120000"] == []
