"""The files of the page as they are served."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from http_client import Client

from app.service.page.routes import FOLDER

MAX_LINES = 200


@pytest.fixture(scope="module")
def start(served):
    return served.get("/").body.decode()


def addresses(text):
    return re.findall(r"/static/\w+/[\w./-]+", text)


def test_every_file_that_the_page_loads_is_served(served, start):
    waiting, seen = addresses(start), set()
    assert len(waiting) == 5
    waiting += addresses(served.get("/docs").body.decode())
    while waiting:
        path = waiting.pop()
        reply = served.get(path)
        assert reply.status == 200, path
        assert "immutable" in reply.headers["cache-control"]
        seen.add(path)
        for name in re.findall(r'(?:from |import\()"(\./|\.\./)([\w./-]+)"', reply.body.decode()):
            folder = path.rpartition("/")[0] if name[0] == "./" else path.rpartition("/")[0].rpartition("/")[0]
            waiting += {f"{folder}/{name[1]}"} - seen
    modules = {path.partition("/static/")[2].partition("/")[2] for path in seen if path.endswith(".js")}
    assert modules == {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js")}


def test_a_known_file_is_not_sent_again(served, start):
    for path in ("/", addresses(start)[0]):
        first = served.get(path)
        again = served.get(path, **{"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert served.get(path, **{"If-None-Match": '"other"'}).body == first.body


def test_parts_of_a_file_are_not_cut_out(served):
    reply = served.get("/", Range="bytes=0-3,0-3,0-3")
    assert reply.status == 200
    assert len(reply.body) > 4


def test_the_page_runs_no_scripts_but_its_own(served, start):
    headers = served.get("/").headers
    policy = dict(item.strip().split(" ", 1) for item in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", start)


@pytest.mark.parametrize(
    "path",
    [
        "vendor/README.md",
        "vendor/LICENSE.htm",
        "../routes.py",
        "..%2froutes.py",
        "%2e%2e/routes.py",
        "//etc/passwd",
        "",
    ],
)
def test_nothing_else_is_served(served, start, path):
    version = addresses(start)[0].split("/")[2]
    assert served.get(f"/static/{version}/{path}").status == 404
    assert served.get("/static/0000000000000000/main.js").status == 404


def test_browsers_find_an_icon(served):
    reply = served.get("/favicon.ico")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")


def test_pages_of_other_names_are_refused(served):
    assert Client(served.port, Host="evil.example").get("/").status == 421


def test_pure_logic_of_the_page():
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else "v0.0"
    if tuple(map(int, version[1:].split(".")[:2])) < (20, 19):
        pytest.skip("needs Node.js 20.19 or newer, which knows modules by their contents")
    test = Path(__file__).with_name("page") / "logic.test.mjs"
    ran = subprocess.run([node, "--test", str(test)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_libraries_are_the_files_that_their_readme_names():
    vendor = FOLDER / "vendor"
    listed = dict(re.findall(r"^\| `([\w.-]+)` \|.*`([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(), re.M))
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*.js")}


def test_modules_are_short():
    for path in FOLDER.rglob("*.js"):
        if path.parent.name != "vendor" and path.name != "strings.js":
            assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path
