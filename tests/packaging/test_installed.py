"""The program as pip and pipx install it: in an environment of its own, started from an empty folder."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import ROOT

pytestmark = pytest.mark.slow


def built_in(name):
    return (ROOT / name).read_bytes()


def tracked(*folders):
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not in a clone of the repository")
    return done.stdout.split()


def test_a_wheel_gets_all_models_and_nothing_else_of_their_folder(monkeypatch):
    monkeypatch.chdir(ROOT)
    shipped = runpy.run_path("setup.py")["SHIPPED"]
    assert sorted(shipped) == sorted(tracked("engines", "gallery", "config.yaml"))
    listed = [line.split()[1:] for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    assert sorted(shipped) == sorted(name for names in listed for name in names), "a source distribution has them too"


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    """A copy of the tree (building writes into it), and an environment into which pip has installed it."""
    home = tmp_path_factory.mktemp("installed")
    tree, environment = home / "tree", home / "environment"
    for name in tracked(
        "app", "engines", "gallery", "setup.py", "pyproject.toml", "README.md", "LICENSE", "config.yaml"
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    # The packages that the program needs are those of the environment in which the tests run.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (python,) = environment.glob("lib/python*/site-packages")
    here = next(path for path in map(Path, sys.path) if (path / "numpy").is_dir())
    (python / "packages.pth").write_text(f"{here}\n")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(environment)]
    done = subprocess.run([*pip, "install", "--no-deps", str(tree)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"pip cannot build it here: {done.stderr.strip().splitlines()[-1]}")
    return environment


@pytest.fixture
def installed(install, tmp_path):
    """Runs the command in an empty folder, with an empty home: exit code, standard output, standard error."""
    (tmp_path / "home").mkdir()
    (tmp_path / "empty").mkdir()
    hidden = ("PYTHONPATH", "DISPLAY", "WAYLAND_DISPLAY", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment.update(HOME=str(tmp_path / "home"), PATH=f"{install}/bin:{os.environ['PATH']}")

    def run(*words, **variables):
        done = subprocess.run(
            ["face-recognition", *words],
            cwd=tmp_path / "empty",
            env={**environment, **variables},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_demo_runs_and_leaves_files_where_they_belong(installed, tmp_path):
    code, out, err = installed("demo", "--fps", "2")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["demo", "demo.events.jsonl", "demo.mp4"]
    own = tmp_path / "home" / ".local" / "share" / "face-recognition"
    assert f"{own}/gallery" in out and "face-recognition people check" in out
    assert (own / "config.yaml").read_bytes() == built_in("config.yaml")
    assert (own / "engines" / "mobilefacenet.onnx").read_bytes() == built_in("engines/mobilefacenet.onnx")


def test_people_and_settings_stay_in_the_users_folder(installed, tmp_path):
    own = tmp_path / "elsewhere"
    own.mkdir()
    (own / "config.local.yaml").write_text("recognition:\n  threshold: 0.61\n")
    code, out, err = installed("people", "list", FACE_RECOGNITION_HOME=str(own))
    assert code == 0, err
    assert f"put photos into {own}/gallery" in out and (own / "gallery").is_dir()
    code, out, err = installed("--show-settings", FACE_RECOGNITION_HOME=str(own))
    assert code == 0, err
    assert "0.61" in out


def test_an_update_replaces_models_that_it_changes_and_nothing_of_the_user(installed, tmp_path):
    own = tmp_path / "own"
    assert installed("engines", "list", FACE_RECOGNITION_HOME=str(own))[0] == 0
    (own / "engines" / "catalog.yaml").write_text("of an older version")
    (own / "engines" / "my_models.yaml").write_text("{}\n")
    code, _, err = installed("engines", "list", FACE_RECOGNITION_HOME=str(own))
    assert code == 0, err
    assert (own / "engines" / "catalog.yaml").read_bytes() == built_in("engines/catalog.yaml")
    assert (own / "engines" / "my_models.yaml").read_text() == "{}\n"


def test_help_needs_no_folder_of_its_own(installed, tmp_path):
    code, out, err = installed("--help")
    assert code == 0, err
    assert "face-recognition --camera 0" in out and "python -m app" not in out
    assert not list((tmp_path / "home").iterdir())
