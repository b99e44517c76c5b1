"""The Debian package is really installed, into a copy of this system that is gone afterwards, and removed again.

`make test-deb` builds it. Only the Python packages from PyPI are not installed: this environment stands in for them.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from shipped import ROOT

from app import __version__

PACKAGE = os.environ.get("DEB", "")
"""The file; set by `make test-deb`, which has just built it."""
FOLDER = "opt/face-recognition-l4t"

pytestmark = pytest.mark.skipif(
    not PACKAGE or shutil.which("dpkg-deb") is None, reason="only in `make test-deb`, on Debian and Ubuntu"
)

IN_A_COPY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
exec chroot "$1/root" bash -c "$2" - "$3" "$4"
"""


@pytest.fixture
def copy_of_the_system(tmp_path):
    """Runs a script as root in a copy of this system; nothing of it stays."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")

    def run(script):
        words = [tmp_path, script, PACKAGE, Path(sys.executable).parent.parent]
        command = ["unshare", "--mount", "bash", "-c", IN_A_COPY, "-", *map(str, words)]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    if run("true").returncode != 0:
        pytest.skip("no overlay can be mounted here")
    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The package's members by name."""
    folder = tmp_path_factory.mktemp("deb")
    with (folder / "data.tar").open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", PACKAGE], stdout=file, check=True)
    with tarfile.open(folder / "data.tar") as archive:
        return {member.name.lstrip("./"): member for member in archive.getmembers()}


def test_it_has_what_git_knows_and_no_photo(files):
    known = subprocess.run(
        ["git", "ls-files", "app", "engines", "gallery"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parts = {name[len(FOLDER) + 1 :] for name, member in files.items() if member.isfile() and name.startswith(FOLDER)}
    assert {name for name in parts if name.startswith(("app/", "engines/", "gallery/"))} == set(known)
    assert not [name for name in files if "__pycache__" in name or ".venv" in name]


def test_only_root_can_change_it(files):
    assert {(member.uname, member.gname) for member in files.values()} == {("root", "root")}
    assert not [name for name, member in files.items() if member.mode & 0o022]
    assert files["etc/face-recognition/config.yaml"].mode & 0o777 == 0o640


INSTALLED = f"""
set -e
export PYTHONPATH=/{FOLDER}
dpkg --install --force-depends "$1"
echo "user $(id -nG face)"
stat -c 'owner %U %n' /{FOLDER}/gallery /{FOLDER}/engines /{FOLDER}/queue /{FOLDER}/app
stat -c 'config %U:%G %a' /etc/face-recognition/config.yaml
code=0; face-recognition --version 2>/dev/null || code=$?; echo "without packages $code"
ln -s "$2" /{FOLDER}/.venv
cd /
echo "version $(face-recognition --version)"
face-recognition engines list | grep -q retinaface_mnet025 && echo models
face-recognition --show-settings --config /etc/face-recognition/config.yaml | grep -o '/{FOLDER}/gallery' | sort -u
setpriv --reuid=face --regid=face --init-groups bash -c '
  touch /{FOLDER}/gallery/Ann.jpg && ! touch /{FOLDER}/app/x 2>/dev/null && test -r /etc/face-recognition/config.yaml'
echo '# mine' >> /etc/face-recognition/config.yaml
dpkg --install --force-depends "$1" >/dev/null
tail -1 /etc/face-recognition/config.yaml
dpkg --remove face-recognition-l4t >/dev/null 2>&1
ls -A /{FOLDER}
ls /etc/face-recognition
"""


def test_it_is_installed_updated_and_removed(copy_of_the_system):
    done = copy_of_the_system(INSTALLED)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = lines[lines.index("user face video") :]
    assert told == [
        "user face video",
        *(f"owner face /{FOLDER}/{name}" for name in ("gallery", "engines", "queue")),
        f"owner root /{FOLDER}/app",
        "config root:face 640",
        "without packages 2",
        f"version {__version__}",
        "models",
        f"/{FOLDER}/gallery",
        "# mine",
        "gallery",
        "queue",
        "config.yaml",
    ]
    assert any("face-recognition-setup" in line for line in lines)


def test_without_root_or_network_the_setup_says_what_is_wrong(copy_of_the_system):
    done = copy_of_the_system(
        'dpkg --install --force-depends "$1" >/dev/null && '
        "setpriv --reuid=face --regid=face --init-groups face-recognition-setup"
    )
    assert done.returncode == 2 and "as root" in done.stderr
