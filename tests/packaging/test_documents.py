"""What the documents and the build files say agrees with what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Set

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("*.sh"),
    *ROOT.glob("install/*"),
    *(ROOT / name for name in ("Makefile", "Dockerfile.l4t", "config.yaml", ".ci/run", "gallery/README.md")),
]


def wanted_packages() -> Set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists: List[List[str]] = [project["dependencies"], *project["optional-dependencies"].values()]
    lists.append((ROOT / "install" / "lint.txt").read_text(encoding="utf-8").splitlines())
    names = {re.split(r"[\s\[<>=~!;#]", line, maxsplit=1)[0] for lines in lists for line in lines}
    return names - {"", project["name"]}


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    explained = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for name in row.split(",")}
    assert wanted_packages() <= explained


def test_every_system_package_of_the_tests_is_explained() -> None:
    script = (ROOT / "tests" / "install_system_packages.sh").read_text(encoding="utf-8")
    listed = script[script.index("packages=(") + 10 : script.index("\n)")]
    names = {line.split("#")[0].strip() for line in listed.splitlines()} - {""}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert len(names) > 5
    assert {name for name in names if not re.search(rf"[ ,|]{re.escape(name)}[ ,|]", page)} == set()


def test_every_dependency_is_pinned_for_ci() -> None:
    left_out = {"torch", "onnx", "tensorrt", "pycuda", "cuda-python"}
    for name in ("constraints.txt", "constraints-numpy1.txt"):
        text = (ROOT / "install" / name).read_text(encoding="utf-8").lower()
        pinned = set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))
        assert {package.lower() for package in wanted_packages()} - left_out <= pinned


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_one_machine(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"{path.name} is not there yet")
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"/home/\w\S*|/root/\S*|/Users/\S*", text)
    assert found == []


@pytest.mark.parametrize("path", [path for path in PUBLIC if path.suffix == ".md"], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", [path for path in PUBLIC if path.suffix == ".md"], ids=lambda path: path.name)
def test_commands_to_copy_run_in_the_environment(path: Path) -> None:
    assert re.findall(r"^ *(?:python3? -m app|pip install).*", path.read_text(encoding="utf-8"), re.MULTILINE) == []


def test_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_make_help_lists_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    said = subprocess.run(["make", "-C", str(ROOT)], stdout=subprocess.PIPE, encoding="utf-8").stdout
    listed = set(re.findall(r"^  ([a-z][a-z0-9-]*) ", said, re.MULTILINE))
    assert listed == set(phony.split())


def test_make_targets_named_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    for path in PUBLIC:
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            named = set(re.findall(r"(?:^|`)\s*make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
            assert named <= targets, path.name
