"""Archives on a Ray cluster: three nodes on this machine, in a network namespace (`make test-ray`)."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from held_pictures import HeldPicture, alive, few_pictures_in
from shipped import ROOT
from waiting import until

from app.errors import ExitCode

pytest.importorskip("ray", reason="make test-ray installs Ray")
pytestmark = pytest.mark.slow


class Cluster:
    """`ray start` of a head without work and of two nodes that work."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        token = folder / "token"
        token.write_text("a-token-of-this-test-0123456789abcdef")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(folder),
        }
        self._logs = folder
        port = self.address.rpartition(":")[2]
        self.head = self._start("--head", "--port", port, "--num-cpus", 0, "--include-dashboard", "false")
        # One after the other: nodes that start on one machine at once take the same ports now and then.
        self.nodes = [self._start("--address", self.address, "--num-cpus", 1) for _ in range(2)]

    def _start(self, *words):
        words = ["--node-ip-address", "127.0.0.1", "--object-store-memory", 100_000_000, *words, "--block"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *map(str, words)]
        log = self._logs / f"{uuid.uuid4().hex}.log"
        with log.open("w") as output:
            node = subprocess.Popen(command, env=self.environment, cwd="/", stdout=output, stderr=output)
        until(lambda: node.poll() is not None or "Ray runtime started" in log.read_text())
        assert node.poll() is None, log.read_text()
        return node

    def kill_node_of(self, process):
        """Kills the node that this process belongs to, with everything that it has started."""
        (node,) = [node for node in self.nodes if process in descendants(node.pid)]
        self.nodes.remove(node)
        kill_all(node)

    def close(self):
        for node in [*self.nodes, self.head]:
            kill_all(node)


def descendants(process):
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield int(child)
            yield from descendants(int(child))


def kill_all(process):
    for one in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One for all tests: each needs a node, and only one test kills one."""
    # Ray's sockets need short paths.
    cluster = Cluster(tmp_path_factory.mktemp("r"))
    yield cluster
    cluster.close()


def test_killed_nodes_and_programs_leave_no_trace(cluster, program, completed, portraits, tmp_path):
    held = HeldPicture(few_pictures_in(tmp_path / "pictures", portraits) / "held.png", portraits[0].image)
    words = ("batch", held.path.parent, "--shard-size", 2)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    held.give()
    code, _, err = completed(*words, "--out", undisturbed)
    assert code == ExitCode.INCOMPLETE, err

    run = program(*words, "--out", out, "--ray", cluster.address, **variables(cluster))
    until(lambda: len(list(out.glob("part-*.parquet"))) == 4)  # all but the one with the held picture
    reader = held.stopped_reader()
    cluster.kill_node_of(reader)
    until(lambda: not alive(reader))

    reader, end = held.reader()  # on the other node
    run.kill()
    run.wait()
    until(lambda: not alive(reader))
    os.close(end)
    assert not (out / "manifest.json").exists()

    held.give()
    run = program("batch", "--out", out, "--ray", cluster.address, **variables(cluster))
    text, err = run.communicate()
    assert run.returncode == ExitCode.INCOMPLETE, err
    assert "14 faces in 10 pictures" in text
    assert (out / "manifest.json").read_bytes() == (undisturbed / "manifest.json").read_bytes()


def test_a_cluster_is_not_entered_without_the_token(cluster, program, portraits, tmp_path):
    pictures = few_pictures_in(tmp_path / "pictures", portraits)
    words = ("batch", pictures, "--out", tmp_path / "out", "--ray", cluster.address)
    (tmp_path / "wrong").write_text("another-token-0123456789abcdef0123456789")
    for other in ({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}, {"HOME": str(tmp_path)}):
        run = program(*words, **other)
        _, err = run.communicate()
        assert run.returncode == ExitCode.USER_ERROR and "oken" in err
    assert not list((tmp_path / "out").glob("part-*"))


def variables(cluster):
    return {name: value for name, value in cluster.environment.items() if name.startswith("RAY_")}


def test_a_part_that_cannot_be_made_is_said(cluster, program, portraits, tmp_path):
    pictures = few_pictures_in(tmp_path / "pictures", portraits)
    out = tmp_path / "out"
    run = program("batch", pictures, "--out", out, "--ray", cluster.address, **variables(cluster))
    run.communicate()
    for part in out.glob("part-*"):
        part.unlink()
    (out / "manifest.json").unlink()
    job = json.loads((out / "job.json").read_text())
    (out / "job.json").write_text(json.dumps({**job, "root": str(tmp_path / "gone")}))
    run = program("batch", "--out", out, "--ray", cluster.address, **variables(cluster))
    _, err = run.communicate()
    assert run.returncode == ExitCode.USER_ERROR and str(tmp_path / "gone") in err
