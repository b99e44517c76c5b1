"""The unit for systemd, checked by systemd's own tool where it is installed."""

import configparser
import re
import shutil
import subprocess

import pytest
from shipped import ROOT

UNIT = ROOT / "install" / "face-recognition.service"
PAGE = ROOT / "docs" / "systemd.md"


@pytest.fixture(scope="module")
def service():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser["Service"]


def test_systemd_accepts_the_unit(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    # The tool looks for the program, which is elsewhere here.
    text = UNIT.read_text(encoding="utf-8").replace("/opt/face-recognition-l4t/.venv/bin/python", "/bin/true")
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    done = subprocess.run([tool, "verify", "--man=no", str(tmp_path / UNIT.name)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert done.returncode == 0 and not complaints, done.stderr


def test_it_is_watched_and_started_again_except_after_a_wrong_setting(service):
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure" and service["RestartPreventExitStatus"] == "2"
    assert int(service["WatchdogSec"]) * 0.8 > 120, "the program ends itself first, see run.end_if_stuck_s"


def test_it_is_not_root_and_writes_only_where_it_must(service):
    assert service["User"] == "face" and service["CapabilityBoundingSet"] == "" and service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    folder = re.match(r"(\S+)/\.venv/", service["ExecStart"]).group(1)
    writable = [path.lstrip("-") for path in service["ReadWritePaths"].split()]
    assert writable == [f"{folder}/{name}" for name in ("gallery", "engines", "queue")]


def test_the_page_installs_what_the_unit_expects(service):
    page = PAGE.read_text(encoding="utf-8")
    config = re.search(r"--config (\S+)", service["ExecStart"]).group(1)
    for expected in (config, f"useradd --system --groups {service['SupplementaryGroups']} {service['User']}"):
        assert expected in page
