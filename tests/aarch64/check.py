"""Installs and runs the program in an emulated arm64 system, and compares its results with this machine's.

    make test-aarch64

Every step says what it does. What is made is kept in build/aarch64, so that a second run, or one after Ctrl-C, does
only what is missing; `--clean` starts again. `--demo-fps 25` runs the whole demo.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "aarch64"
SYSTEM = BUILD / "root"
PROJECT = SYSTEM / "face-recognition"
WHEELS = SYSTEM / "opt" / "wheels"
BOARDS = SYSTEM / "opt" / "jetpack4"
DEBIAN = "make,python3,python3-venv,python3-pip,libpython3-dev"
EXTRAS = "demo,metrics,serve,headless"
FOR_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
TESTS = (
    "tests/identity",
    "tests/vision",
    "tests/gallery/test_gallery.py",
    "tests/gallery/test_embedding_cache.py",
    "tests/gallery/test_person_names.py",
    "tests/events/test_event.py",
    "tests/events/test_event_log.py",
    "tests/events/test_presence.py",
    "tests/events/test_visits.py",
)
MODULE_TESTS = ("tests/jetpack4/test_networks_on_jetpack4.py", "tests/jetpack4/test_module.py")
NEEDS_COMPILER = "not header and not pybind11 and not built_again and not refuse and not grow and not link"
"""Tests of the module that compile, and those that take minutes in emulation."""
EMULATED_TIMEOUT_S = 900
CROSS = "aarch64-linux-gnu-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", action="store_true", help="remove build/aarch64 first")
    parser.add_argument(
        "--demo-fps", type=int, default=2, metavar="N", help="frames per second of the demo (default: 2)"
    )
    choices = parser.parse_args()
    if choices.clean:
        shutil.rmtree(BUILD, ignore_errors=True)
    check_tools()
    steps = (
        ("download an arm64 Debian", download_system),
        ("unpack it", unpack_system),
        ("copy the project into it", copy_project),
        ("download wheels for aarch64", download_wheels),
        ("install the program from the wheels (make install)", install),
        ("cross-compile the TensorRT module of JetPack 4", compile_module),
        ("find and name people in the same pictures, here and there", compare_results),
        ("run the demo", lambda: run_demo(choices.demo_fps)),
        ("run tests of the TensorRT module", run_module_tests),
        ("run tests", run_tests),
    )
    started, times = time.monotonic(), []
    for number, (what, step) in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {what}")
        begun = time.monotonic()
        try:
            step()
        except subprocess.CalledProcessError as error:
            sys.exit(f"make test-aarch64: step {number}, {what}, failed with exit code {error.returncode}; see above")
        times.append((time.monotonic() - begun, what))
    for seconds, what in times:
        say(f"{seconds:6.0f} s  {what}")
    say(f"{time.monotonic() - started:6.0f} s  in all; aarch64 does what {platform.machine()} does")


def check_tools():
    missing = [name for name in ("debootstrap", "dpkg-deb", "unshare", f"{CROSS}g++") if shutil.which(name) is None]
    if platform.machine() != "aarch64" and shutil.which("qemu-aarch64-static") is None:
        missing.append("qemu-aarch64-static")
    if missing:
        sys.exit(f"make test-aarch64: {', '.join(missing)} missing; run: sudo bash tests/aarch64/system_packages.sh")


def download_system():
    """debootstrap resolves and downloads, which needs no root; its own installation takes half an hour in emulation."""
    site, codename = debian_archive()
    # Part of the name, so that another list of packages makes another system.
    wanted = f"{codename} {DEBIAN}"
    note = BUILD / "system.txt"
    if note.exists() and note.read_text(encoding="utf-8") == wanted:
        say(f"Debian {codename} is downloaded already")
        return
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    words = ["debootstrap", "--download-only", "--arch=arm64", "--variant=minbase", f"--include={DEBIAN}"]
    log = BUILD / "debootstrap.log"
    with log.open("wb") as stream:
        done = subprocess.run([*words, codename, str(SYSTEM), site], stdout=stream, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        sys.exit(f"make test-aarch64: debootstrap failed:\n{last}")
    note.write_text(wanted, encoding="utf-8")


def debian_archive():
    """The archive and release that this machine's own apt uses, or DEBIAN_ARCHIVE and DEBIAN_RELEASE."""
    if "DEBIAN_ARCHIVE" in os.environ and "DEBIAN_RELEASE" in os.environ:
        return os.environ["DEBIAN_ARCHIVE"], os.environ["DEBIAN_RELEASE"]
    words = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"]
    words += ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    found = [line.split() for line in lines if "-" not in line.split()[-1]]
    if not found:
        sys.exit(
            "make test-aarch64: apt of this machine has no archive of Debian (or no lists: apt-get update). "
            "Set DEBIAN_ARCHIVE to its address and DEBIAN_RELEASE to a release, such as bookworm"
        )
    return found[0][0], found[0][1]


def unpack_system():
    done = BUILD / "unpacked"
    if done.exists():
        say("it is unpacked already")
        return
    for folder in ("bin", "sbin", "lib"):
        (SYSTEM / "usr" / folder).mkdir(parents=True, exist_ok=True)
        if not (SYSTEM / folder).is_symlink():
            (SYSTEM / folder).symlink_to(f"usr/{folder}")
    packages = sorted((SYSTEM / "var" / "cache" / "apt" / "archives").glob("*.deb"))
    for package in packages:
        content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        words = ["tar", "--no-same-owner", "--keep-directory-symlink", "-xf", "-", "-C", str(SYSTEM)]
        subprocess.run(words, stdin=content.stdout, check=True)
        if content.wait() != 0:
            sys.exit(f"make test-aarch64: {package} cannot be unpacked; run with --clean")
    done.touch()
    say(f"{len(packages)} packages, Python {python_of_system()}")


def python_of_system():
    """3.11 for Debian 12."""
    return Path(os.readlink(str(SYSTEM / "usr" / "bin" / "python3"))).name[len("python") :]


def copy_project():
    """All files that git would commit."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    names = [name for name in names.decode().split("\0") if name and (ROOT / name).exists()]
    kept = set(names)
    for old in sorted(PROJECT.rglob("*"), reverse=True):
        name = old.relative_to(PROJECT).as_posix()
        if old.is_file() and name not in kept and "__pycache__" not in name:
            old.unlink()
    for name in names:
        copy = PROJECT / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        # With its time, by which make decides what is out of date.
        shutil.copy2(ROOT / name, copy)


def download_wheels():
    version = python_of_system()
    if version != "{}.{}".format(*sys.version_info[:2]):
        sys.exit(
            f"make test-aarch64: this Python is {platform.python_version()}, that of the arm64 system {version}. "
            "Versions of packages depend on it, so the results could not be compared. Run: "
            f"make test-aarch64 VENV=.venv-{version} PYTHON=/usr/bin/python{version}"
        )
    glibc = next((SYSTEM / "var/cache/apt/archives").glob("libc6_*")).name.split("_")[1].split("-")[0].split(".")[1]
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(int(glibc), 16, -1)] + ["manylinux2014_aarch64"]
    words = [sys.executable, "-m", "pip", "-qq", "download", "--only-binary=:all:", "--dest", str(WHEELS)]
    words += [word for each in platforms for word in ("--platform", each)]
    words += ["--implementation", "cp", "--python-version", version]
    words += [word for abi in (f"cp{version.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    words += ["--constraint", "install/constraints.txt", f".[{EXTRAS}]", *FOR_TESTS, "pip", "setuptools", "wheel"]
    subprocess.run(words, cwd=ROOT, check=True)
    say(f"{len(list(WHEELS.glob('*.whl')))} wheels")


def install():
    run_there("make", "install", "VENV=/opt/venv")
    run_there("pip", "-qq", "install", "--constraint", "install/constraints.txt", *FOR_TESTS)
    run_there("python", "-m", "app", "--version")


def compile_module():
    """Here, with a compiler for aarch64 and the headers of the arm64 system's Python; the module is imported there."""
    sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("jetpack4", "inference")]
    from jetpack4_board import BUILD as SCRIPT
    from jetpack4_board import Board

    spec = importlib.util.spec_from_file_location("build_jetpack4", SCRIPT)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    version = python_of_system()
    suffix = f".cpython-{version.replace('.', '')}-aarch64-linux-gnu.so"
    # Debian's pyconfig.h of all machines includes this machine's from a folder below.
    usr = SYSTEM / "usr" / "include"
    above = BUILD / "include"
    above.mkdir(exist_ok=True)
    headers = above / "aarch64-linux-gnu"
    if not headers.is_symlink():
        headers.symlink_to(usr / "aarch64-linux-gnu")
    for minor in (2, 0):
        board = Board(BOARDS / f"8.{minor}", minor)
        made = board.site / "tensorrt" / f"_tensorrt{suffix}"
        source = board.site / "source.txt"
        if source.exists() and made.exists() and source.read_text(encoding="utf-8") == build.source_sha256():
            continue
        shutil.rmtree(board.headers.parent, ignore_errors=True)
        board.make_doubles(CROSS)
        includes = [str(board.headers), str(usr / f"python{version}"), str(above), build.pybind11_headers()]
        links = [f"-L{board.libraries}", "-lnvinfer", "-lnvonnxparser"]
        build.compile_module(board.site / "tensorrt", includes, links, f"{CROSS}g++", suffix)
        shutil.copyfile(build.PACKAGE, board.site / "tensorrt" / "__init__.py")
        source.write_text(build.source_sha256(), encoding="utf-8")
    for minor in (2, 0):
        there = f"/opt/jetpack4/8.{minor}"
        words = ["env", f"PYTHONPATH={there}/site", f"LD_LIBRARY_PATH={there}/lib", "python", "-c"]
        run_there(*words, "import platform, tensorrt; print('TensorRT', tensorrt.__version__, platform.machine())")


def compare_results():
    pictures = PROJECT / "build" / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    program = [sys.executable, str(HERE / "results.py")]
    subprocess.run([*program, "pictures", str(pictures)], check=True)
    here, there = BUILD / "here.json", BUILD / "there.json"
    with here.open("wb") as stream:
        subprocess.run([*program, "found", str(pictures)], stdout=stream, check=True)
    for made in (pictures / "gallery").glob(".*"):  # the embeddings of the photos are computed there as well
        made.unlink()
    with there.open("wb") as stream:
        run_there("python", "tests/aarch64/results.py", "found", "build/pictures", stdout=stream)
    subprocess.run([sys.executable, str(HERE / "differences.py"), str(here), str(there)], check=True)


def run_demo(fps):
    """On both machines; who came and went must be the same. The videos differ slightly, for each makes its own."""
    words = ["-m", "app", "demo", "--fps", str(fps), "--backend", "onnx"]
    run_there("python", *words)
    folder = BUILD / "demo"
    folder.mkdir(exist_ok=True)
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    here, there = (who_came_and_went(path / "demo.events.jsonl") for path in (folder, PROJECT))
    if here != there:
        sys.exit(f"make test-aarch64: the demo's events differ\n{here}\n{there}")
    say(f"the same {len(here)} events: {', '.join(f'{kind} {name}' for kind, name in here)}")


def who_came_and_went(log):
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [(each["event"], each.get("name")) for each in events if each["event"] in ("enter", "identified", "left")]


def run_module_tests():
    run_tests_there(*MODULE_TESTS, "-k", NEEDS_COMPILER)


def run_tests():
    run_tests_there(*TESTS, "-m", "not slow")


def run_tests_there(*words):
    limit = f"--timeout={EMULATED_TIMEOUT_S}"
    run_there("python", "-m", "pytest", "-q", "-n", str(os.cpu_count()), "--dist", "worksteal", limit, *words)


def run_there(*words, stdout=None):
    subprocess.run([str(HERE / "enter.sh"), str(SYSTEM), *words], stdout=stdout, check=True)


def say(text):
    sys.stdout.write(f"==> {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to continue")
