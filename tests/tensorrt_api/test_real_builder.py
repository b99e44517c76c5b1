"""Our builder, through its ordinary code path, on NVIDIA's real parser and builder: TensorRT-RTX needs no GPU to build.

`make test-tensorrt` gets it; without it these tests are skipped. Its engines are for RTX cards and run nowhere else.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from environments import ROOT

RTX = ROOT / "build" / "tensorrt-api" / "tensorrt-rtx"
SHAPES = {"mobilefacenet": (16, 3, 112, 112), "retinaface_mnet025": (1, 3, 640, 640)}

PROGRAM = """
import hashlib, json, logging, os, sys
from pathlib import Path

import numpy as np

from app.errors import ModelError
from app.inference.build import build_engine, find_engine
from app.inference.engine import NetworkSpec
from app.inference.tensorrt_api import TensorRTTarget
from app.inference.tensorrt_builder import BuildOptions
from app.inference.tensorrt_plan import read_plan

logging.basicConfig(level=logging.INFO, stream=sys.stdout)
target = TensorRTTarget("1.7.1.116", "a GPU", "8.6", 4 << 30)

def pictures_like(shape):
    noise = np.random.default_rng(0)
    return lambda: iter(noise.normal(0, 1, (4, 1, *shape[1:])).astype(np.float32))

if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    path = Path(order["path"])
    network = NetworkSpec(
        path.stem, path, hashlib.sha256(path.read_bytes()).hexdigest(), tuple(order["shape"]), order["precision"],
        pictures=pictures_like(order["shape"]) if order["pictures"] else None,
    )
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in order["options"].items()}
    steps = []
    answer = {"steps": steps}
    try:
        made = build_engine(network, BuildOptions(**options), target, steps.append)
        found, unusable = find_engine(network, target)
        answer.update(path=str(made.path), is_new=made.is_new, remark=made.remark)
        answer.update(found=str(found and found.path))
        if order["read"]:
            import tensorrt
            from app.inference.tensorrt_api import called, make_logger
            runtime = called(tensorrt.Runtime, make_logger(tensorrt), what="starting")
            read_plan(tensorrt, runtime, made.path)
    except ModelError as error:
        answer["error"] = str(error)
    print("ANSWER" + json.dumps(answer))
"""


COMMAND = """
import ctypes, sys, types
import gpu_double

real = ctypes.CDLL
ctypes.CDLL = lambda name, *rest, **more: gpu_double.Driver() if name == "libcuda.so.1" else real(name, *rest, **more)
pycuda = types.ModuleType("pycuda")
pycuda.driver = gpu_double.pycuda_driver(gpu_double.Gpu())
sys.modules.update({"pycuda": pycuda, "pycuda.driver": pycuda.driver})

from app.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def environment():
    """Where `import tensorrt` gives TensorRT-RTX."""
    if not (RTX / "surface.json").exists():
        pytest.skip("TensorRT-RTX is not here; make test-tensorrt gets it")
    python = (RTX / "python").read_text(encoding="utf-8").strip()
    version = [python, "-c", "import sys; print(sys.version_info[:2])"]
    if subprocess.run(version, capture_output=True, text=True).stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("TensorRT-RTX is here for another Python")
    tests = ROOT / "tests"
    places = (tests / "tensorrt_api" / "as_tensorrt", RTX / "packages", tests, ROOT)
    return dict(os.environ, PYTHONPATH=":".join(map(str, places)))


@pytest.fixture
def build(tmp_path, environment):
    """Builds an ONNX file in another process and returns the outcome."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")

    def run(path, shape, precision="fp32", pictures=False, read=False, **options):
        order = {"path": str(path), "shape": shape, "precision": precision, "options": options}
        order.update(pictures=pictures, read=read)
        done = subprocess.run(
            [sys.executable, str(program), json.dumps(order)], env=environment, capture_output=True, text=True
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        assert answers, done.stdout + done.stderr
        return {**json.loads(answers[0][len("ANSWER") :]), "log": done.stdout}

    return run


@pytest.fixture(params=sorted(SHAPES))
def model(request, tmp_path):
    path = tmp_path / f"{request.param}.onnx"
    shutil.copy(ROOT / "engines" / path.name, path)
    return path


def metadata(engine):
    return json.loads(Path(engine).with_suffix(".json").read_text(encoding="utf-8"))


def small_network(path, nodes, shape=("n", 3, "h", "w"), weights=()):
    onnx = pytest.importorskip("onnx")
    kinds = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node) for node in nodes],
        "small",
        [onnx.helper.make_tensor_value_info("input", kinds, shape)],
        [onnx.helper.make_tensor_value_info("output", kinds, None)],
        [onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_built_in_models_are_built(build, model, precision):
    shape = SHAPES[model.stem]
    made = build(model, shape, precision)
    written = metadata(made["path"])
    assert Path(made["path"]).stat().st_size == written["file_bytes"] > 1_000_000
    assert (written["precision"], tuple(written["max_shape"]), written["failures"]) == (precision, shape, {})
    assert made["found"] == made["path"] and made["is_new"]
    assert any(" of " in step for step in made["steps"])
    again = build(model, shape, precision)
    assert not again["is_new"] and again["path"] == made["path"]
    assert build(model, shape, precision, force=True)["is_new"]


def test_fp16_halves_the_weights(build, tmp_path):
    path = tmp_path / "mobilefacenet.onnx"
    shutil.copy(ROOT / "engines" / path.name, path)
    sizes = {
        precision: Path(build(path, SHAPES["mobilefacenet"], precision)["path"]).stat().st_size
        for precision in ("fp32", "fp16")
    }
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


def test_int8_goes_through_a_network_with_ranges_which_is_kept(build, model):
    shape = SHAPES[model.stem]
    made = build(model, shape, "int8", pictures=True)
    assert metadata(made["path"])["precision"] == "int8"
    (kept,) = model.parent.glob("*.int8.onnx")
    assert model.stem in kept.name
    again = build(model, shape, "int8", force=True)
    assert metadata(again["path"])["precision"] == "int8", "what was learnt serves later builds without pictures"


def test_int8_without_pictures_becomes_fp16_with_a_remark(build, tmp_path):
    path = tmp_path / "mobilefacenet.onnx"
    shutil.copy(ROOT / "engines" / path.name, path)
    made = build(path, SHAPES["mobilefacenet"], "int8")
    written = metadata(made["path"])
    assert written["precision"] == "fp16" and written["failures"] == {}
    assert "no int8: " in made["remark"]
    assert made["found"] == made["path"], "it is not tried again at every start"


def test_fixed_size_and_batches(build, tmp_path):
    path = tmp_path / "retinaface_mnet025.onnx"
    shutil.copy(ROOT / "engines" / path.name, path)
    made = build(path, SHAPES["retinaface_mnet025"], size=[640, 480], batch=[1, 2, 4])
    written = metadata(made["path"])
    assert written["min_shape"] == [1, 3, 480, 640] and written["best_shape"] == [2, 3, 480, 640]
    assert Path(made["path"]).name == "retinaface_mnet025.fp32.b1-2-4.640x480.engine"


def test_an_engine_that_cannot_be_read_here_is_an_error(build, model):
    made = build(model, SHAPES[model.stem], read=True)
    assert "reading" in made["error"] and "build it again" in made["error"]


def test_an_unknown_layer_is_named(build, tmp_path):
    path = small_network(tmp_path / "odd.onnx", [("Unheard", ["input"], ["output"])])
    made = build(path, (1, 3, 64, 64), "auto")
    assert "Unheard" in made["error"] and "fp16" in made["error"] and "fp32" in made["error"]
    assert not list(tmp_path.glob("*.engine"))


def test_a_file_that_is_not_a_network_is_refused(build, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is no network" * 10)
    assert "not a network" in build(path, (1, 3, 64, 64))["error"]


def test_a_size_that_the_layers_cannot_take_is_an_error(build, tmp_path):
    nodes = [("Flatten", ["input"], ["flat"]), ("MatMul", ["flat", "weights"], ["output"])]
    path = small_network(tmp_path / "tight.onnx", nodes, weights=[("weights", np.ones((3 * 48 * 48, 4)))])
    made = build(path, (1, 3, 640, 640))
    assert "engine of tight" in made["error"]


def test_a_network_with_a_fixed_size_is_not_built_for_another(build, tmp_path):
    path = small_network(tmp_path / "fixed.onnx", [("Relu", ["input"], ["output"])], shape=(1, 3, 64, 64))
    assert "height of 64" in build(path, (1, 3, 640, 640), size=[640, 480])["error"]
    assert "batch size of 1" in build(path, (1, 3, 640, 640), batch=[1, 2, 4])["error"]
    assert metadata(build(path, (1, 3, 640, 640))["path"])["max_shape"] == [1, 3, 64, 64]


def test_a_missing_accelerator_is_an_error(build, model):
    made = build(model, SHAPES[model.stem], "fp16", dla=0)
    assert "DLA core 0" in made["error"]


def test_a_damaged_timing_cache_is_made_again(build, tmp_path):
    path = tmp_path / "mobilefacenet.onnx"
    shutil.copy(ROOT / "engines" / path.name, path)
    cache = tmp_path / "tensorrt-1.7.1.116-sm86.timing"
    cache.write_bytes(b"damaged")
    assert "path" in build(path, SHAPES["mobilefacenet"])
    assert cache.read_bytes() != b"damaged"


@pytest.fixture
def program(tmp_path, environment):
    """`python -m app` on a machine whose driver says that there is a GPU, with its own catalogue."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("catalog.yaml", "mobilefacenet.onnx", "retinaface_mnet025.onnx", "retinaface_mnet025_int8.onnx"):
        shutil.copy(ROOT / "engines" / name, folder / name)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"models:\n  catalog: {folder / 'catalog.yaml'}\ngallery:\n  folder: gallery\n", encoding="utf-8"
    )
    path = tmp_path / "command.py"
    path.write_text(COMMAND, encoding="utf-8")

    def run(*words):
        command = [sys.executable, str(path), *words, "--config", str(settings)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    run.folder = folder
    return run


@pytest.fixture
def command(program):
    def run(*words):
        return program("engines", "build", *words)

    run.folder = program.folder
    return run


def test_the_command_builds_the_models_in_use_once(command):
    first = command()
    assert first.returncode == 0, first.stderr
    names = sorted(path.name for path in command.folder.glob("*.engine"))
    assert names == ["mobilefacenet.fp16.b16.112x112.engine", "retinaface_mnet025.fp16.b1.upto640x640.engine"]
    assert "retinaface_mnet025.fp16.b1.upto640x640.engine, built in" in first.stdout
    written = metadata(command.folder / names[0])
    assert (written["gpu"], written["compute_capability"]) == ("Pretended GPU", "8.7")
    assert command().stdout.count("built earlier") == 2


def test_the_command_with_every_option(command):
    done = command(
        *("retinaface_mnet025", "--precision", "fp32", "--batch", "1,2,4", "--size", "640x480", "--workspace", "128"),
        "--force",
    )
    assert done.returncode == 0, done.stderr
    assert (command.folder / "retinaface_mnet025.fp32.b1-2-4.640x480.engine").is_file()


def test_the_command_calibrates_int8_with_the_given_pictures(command, tmp_path):
    cv2 = pytest.importorskip("cv2")
    photos = tmp_path / "photos" / "of Ann"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    for name in ("a", "b", "c", "d", "e"):
        cv2.imwrite(str(photos / f"{name}.png"), noise)
    done = command("retinaface_mnet025", "--precision", "int8", "--calibration", str(photos.parent))
    assert done.returncode == 0, done.stderr
    assert (command.folder / "retinaface_mnet025.int8.b1.upto640x640.engine").is_file()
    again = command("retinaface_mnet025", "--precision", "int8", "--calibration", str(photos.parent))
    assert "built in" in again.stdout, "--calibration calibrates again, even if ranges exist"
    faceless = command("mobilefacenet", "--precision", "int8", "--calibration", str(photos.parent))
    assert faceless.returncode == 0 and "fp16" in faceless.stdout
    assert "no int8: " in faceless.stdout


@pytest.fixture
def photos(tmp_path, portraits):
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "gallery").mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / "gallery" / f"{number}.png"), portraits[0].image)


@pytest.mark.usefixtures("photos")
def test_a_run_in_int8_is_calibrated_with_the_gallery(program):
    done = program("people", "check", "--precision", "int8", "--gallery", "gallery")
    assert done.returncode == 0, done.stderr
    made = sorted(path.name for path in program.folder.glob("*.engine"))
    assert made == ["mobilefacenet.int8.b16.112x112.engine", "retinaface_mnet025.int8.b1.upto640x640.engine"]


@pytest.mark.usefixtures("photos")
def test_an_evaluation_in_int8_is_calibrated_with_the_gallery(program):
    done = program("evaluate", "label", "--precision", "int8", "--images", "gallery", "--out", "labels.txt")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in program.folder.glob("*.engine")] == ["retinaface_mnet025.int8.b1.upto640x640.engine"]


def test_the_command_names_what_is_missing(command):
    done = command("--precision", "fp16", "--dla", "0")
    assert done.returncode == 2 and "DLA core 0" in done.stderr
