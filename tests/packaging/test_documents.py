"""Documents and build files agree with the repository: links, paths, settings, options, targets and packages exist.

They are read with regular expressions, so a test that fails here usually means that a page names something that was
renamed or removed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Set

import pytest

from app.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("*.sh"),
    *(path for path in ROOT.glob("install/*") if path.is_file()),
    *(
        ROOT / name
        for name in ("Makefile", "Dockerfile", "Dockerfile.l4t", "config.yaml", ".ci/run", "gallery/README.md")
    ),
]
PAGES = [path for path in PUBLIC if path.suffix == ".md"]
MANUAL = [path for path in PAGES if path.name != "CHANGELOG.md"]
"""Pages that describe the program as it is now."""


SETTINGS = {
    section.name: {key.name for key in dataclasses.fields(getattr(Settings(), section.name))}
    for section in dataclasses.fields(Settings)
    if dataclasses.is_dataclass(getattr(Settings(), section.name))
}


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
    left_out = {"torch", "onnx", "tensorrt", "pycuda", "ray", "pylance"}
    for name in ("constraints.txt", "constraints-numpy1.txt"):
        text = (ROOT / "install" / name).read_text(encoding="utf-8").lower()
        pinned = set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))
        assert {package.lower() for package in wanted_packages()} - left_out <= pinned


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_a_home_folder(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"{path.name} does not exist")
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"/home/\w\S*|/root/\S*|/Users/\S*", text)
    assert found == []


def anchors_of(path: Path) -> Set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_documents_work(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8")):
        page = path.parent / target if target else path
        assert page.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors_of(page), f"{path.name} links to {target}#{anchor}"


@pytest.mark.parametrize("path", MANUAL, ids=lambda path: path.name)
def test_paths_in_documents_exist(path: Path) -> None:
    named = re.findall(r"`((?:app|tests|install|training|docs)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", MANUAL, ids=lambda path: path.name)
def test_settings_in_documents_exist(path: Path) -> None:
    named = re.findall(rf"`({'|'.join(SETTINGS)})\.([a-z][a-z0-9_]*)(?:: [^`]*)?`", path.read_text(encoding="utf-8"))
    files = {"py", "yaml", "md", "mp4"}
    assert [f"{section}.{key}" for section, key in named if key not in SETTINGS[section] | files] == []


@pytest.mark.parametrize("path", MANUAL, ids=lambda path: path.name)
def test_options_in_documents_exist(path: Path) -> None:
    sources = "".join(
        file.read_text(encoding="utf-8")
        for pattern in ("app/*.py", "app/settings/*.py", "app/commands/**/*.py")
        for file in ROOT.glob(pattern)
    )
    options = {*re.findall(r"--[a-z][a-z0-9-]+", sources), "--help"}
    options |= {f"--{key.replace('_', '-')}" for key in SETTINGS["attributes"]}
    calls = re.findall(r"python -m app([^`\n]*)", path.read_text(encoding="utf-8"))
    used = {option for call in calls for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", call)}
    assert used - options == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_to_copy_run_in_the_environment(path: Path) -> None:
    assert re.findall(r"^ *(?:python3? -m app|pip install).*", path.read_text(encoding="utf-8"), re.MULTILINE) == []


def test_classes_named_in_the_architecture_exist() -> None:
    classes = {
        name
        for file in ROOT.glob("app/**/*.py")
        for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([A-Z][a-z]\w+)[.`]", page)) - classes == set()


@pytest.fixture(scope="module")
def drawn() -> Any:
    """The script that draws the diagram."""
    spec = importlib.util.spec_from_file_location("diagram", str(ROOT / "docs" / "diagram.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagram_shows_the_imports(drawn: Any) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawn.BEGIN + drawn.diagram() + drawn.END in page, "run `make diagram`"


def test_arrows_that_follow_from_others_are_not_drawn(drawn: Any) -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert drawn.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


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
    for path in PAGES:
        named = set(re.findall(r"(?:^|`)\s*make ([a-z][a-z0-9-]*)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, path.name
