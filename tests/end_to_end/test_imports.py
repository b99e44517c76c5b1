"""A run imports only what it needs: on a small board every package costs memory and seconds."""

import pytest

NOT_NEEDED = {
    "IPython",
    "fontTools",
    "hypothesis",
    "matplotlib",
    "mypy",
    "onnx",
    "pandas",
    "paho",
    "pytest",
    "scipy",
    "setuptools",
    "skimage",
    "sklearn",
    "starlette",
    "sympy",
    "tensorflow",
    "torch",
    "uvicorn",
}
ONLY_FOR = {"PIL": "--save", "av": "--save", "prometheus_client": "--metrics-port", "openvino": "--backend openvino"}


def imported(stderr):
    """From what `PYTHONPROFILEIMPORTTIME` prints, also of the processes that the program starts."""
    lines = (line for line in stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def packages(modules):
    return {module.partition(".")[0] for module in modules}


@pytest.fixture
def run(program, people_video, tmp_path):
    def started(*words):
        process = program("run", "--video", str(people_video), "--max-frames", "3", *words, PYTHONPROFILEIMPORTTIME="1")
        (tmp_path / "gallery").mkdir(exist_ok=True)
        _, err = process.communicate()
        assert process.returncode == 0, [line for line in err.splitlines() if not line.startswith("import time")]
        return imported(err)

    return started


def test_a_run_imports_no_package_that_it_does_not_need(run):
    modules = run("--events", "e.jsonl")
    assert {"app.assembly", "cv2", "numpy", "onnxruntime"} <= modules
    assert not packages(modules) & (NOT_NEEDED | set(ONLY_FOR))


def test_a_run_that_writes_a_video_imports_what_that_needs(run):
    pytest.importorskip("av")
    found = packages(run("--save", "out.mp4"))
    assert "av" in found and not found & NOT_NEEDED


def test_a_run_imports_no_tools_and_no_server(run):
    rooms = {module.split(".")[1] for module in run() if module.startswith("app.")}
    assert not rooms & {"tools", "service", "client"}
