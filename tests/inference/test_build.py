"""Building without TensorRT: which engine is found, which precisions are tried, and how a builder ends."""

import dataclasses
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from local_process import is_running
from waiting import PATIENT_S, until

from app.errors import ModelError
from app.inference.build import build_engine, find_engine
from app.inference.engine import NetworkSpec
from app.inference.engine_files import CannotStoreError, EngineFile, store_engine
from app.inference.tensorrt_api import TensorRTTarget
from app.inference.tensorrt_builder import BuildOptions

ROOT = Path(__file__).parent.parent.parent
TARGET = TensorRTTarget("10.3.0", "Orin", "8.7", 4 << 30)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"network")
    return NetworkSpec("net", path, hashlib.sha256(b"network").hexdigest(), (1, 3, 640, 640))


def put_engine(network, name, **fields):
    engine = EngineFile(
        path=network.path.with_name(name),
        target=TARGET,
        precision="fp16",
        shapes=((1, 3, 32, 32), (1, 3, 640, 640), (1, 3, 640, 640)),
        onnx_sha256=network.sha256,
        file_bytes=4,
        build_seconds=1,
        program="0.1.0",
        built_at="2026-01-31T12:00:00+00:00",
    )
    store_engine(dataclasses.replace(engine, **fields), b"plan")
    return engine.path


def found(network, precision):
    return find_engine(dataclasses.replace(network, precision=precision), TARGET)


def test_the_first_precision_is_used_and_of_several_the_newest_engine(network):
    put_engine(network, "net.fp32.engine", precision="fp32", built_at="2026-03-01T00:00:00+00:00")
    put_engine(network, "net.fp16.old.engine", built_at="2026-01-01T00:00:00+00:00")
    newest = put_engine(network, "net.fp16.new.engine", built_at="2026-02-01T00:00:00+00:00")
    engine, unusable = found(network, "auto")
    assert engine.path == newest and not unusable


def test_int8_is_used_only_on_request(network):
    path = put_engine(network, "net.int8.engine", precision="int8")
    engine, unusable = found(network, "auto")
    assert engine is None and "precision is int8" in unusable["net.int8.engine"]
    assert found(network, "int8")[0].path == path


def test_a_requested_precision_is_not_replaced_unless_it_could_not_be_built(network):
    put_engine(network, "net.fp32.engine", precision="fp32")
    assert found(network, "fp16")[0] is None
    put_engine(network, "net.fp32.engine", precision="fp32", failures={"fp16": "the parser"})
    engine, _ = found(network, "fp16")
    assert engine.precision == "fp32" and re.search("fp16 .*the parser", engine.remark)


def test_engines_of_other_models_are_not_looked_at(network):
    put_engine(network, "network_two.fp16.engine")
    assert found(network, "auto") == (None, {})


def test_bf16_is_not_for_tensorrt(network):
    with pytest.raises(ModelError, match="bf16"):
        found(network, "bf16")


def test_all_reasons_are_reported_when_nothing_can_be_built(network):
    """TensorRT is not installed where the tests run, or has no GPU: either way the builder, a process of its own, says
    so for each precision."""
    steps = []
    with pytest.raises(ModelError) as refusal:
        build_engine(network, BuildOptions(), TARGET, steps.append)
    assert [line.split(":")[0].strip() for line in str(refusal.value).splitlines()[1:3]] == ["fp16", "fp32"]
    assert sorted(path.name for path in network.path.parent.iterdir()) == ["net.onnx"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_refused_before_building(network):
    folder = network.path.parent
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(CannotStoreError, match="not writable"):
            build_engine(network, BuildOptions(), TARGET, print)
    finally:
        folder.chmod(0o755)


PROGRAM = """
import hashlib, json, logging, sys
from pathlib import Path
from app.errors import ModelError
from app.inference.build import build_engine
from app.inference.engine import NetworkSpec
from app.inference.tensorrt_api import TensorRTTarget
from app.inference.tensorrt_builder import BuildOptions

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout)
    path = Path(sys.argv[1])
    network = NetworkSpec("net", path, hashlib.sha256(path.read_bytes()).hexdigest(), (1, 3, 640, 640), "fp32")
    try:
        build_engine(network, BuildOptions(), TensorRTTarget("1", "a GPU", "8.6", 1 << 30), print)
    except ModelError as error:
        print(error)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def start(network, tmp_path):
    """Starts a build in which importing `tensorrt` runs the given code."""

    def starter(installed_tensorrt):
        package = tmp_path / "site" / "tensorrt"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(installed_tensorrt, encoding="utf-8")
        program = tmp_path / "program.py"
        program.write_text(PROGRAM, encoding="utf-8")
        environment = dict(os.environ, PYTHONPATH=f"{package.parent}:{ROOT}")
        return subprocess.Popen(
            [sys.executable, str(program), str(network.path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return starter


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("import os; os._exit(7)", "exit code 7"),
        ("raise ImportError('libnvinfer.so.10 is missing')", "libnvinfer.so.10 is missing"),
        ("raise ValueError('odd')", "ValueError: odd"),
    ],
)
def test_a_crashed_builder_is_an_error(start, fate, reason):
    with start(fate) as process:
        output, _ = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0 and reason in output


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9 of the parent"])
def test_the_builder_ends_with_its_parent(start, network, tmp_path, how):
    """The builder reports its process number over a pipe and then hangs, like C++ code that handles no signal."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    waiting = f"import os, threading\nwith open({str(pipe)!r}, 'w') as pipe: pipe.write(str(os.getpid()))\n"
    with start(waiting + "threading.Event().wait()") as process:
        builder = int(pipe.read_text())
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
            assert "interrupted" in process.communicate(timeout=PATIENT_S)[0]
        else:
            process.kill()
            process.communicate(timeout=PATIENT_S)  # ends when the builder, too, has closed its output
    until(lambda: not is_running(builder))
    assert not [*network.path.parent.glob("*.engine"), *network.path.parent.glob(".*.part")]


def test_metadata_is_plain_json(network):
    path = put_engine(network, "net.fp16.engine")
    metadata = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert metadata["tensorrt"] == "10.3.0" and metadata["max_shape"] == [1, 3, 640, 640]
