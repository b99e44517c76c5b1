"""From a network's file to its results: app/inference on our module, with a double of TensorRT in C++ behind it."""

import re

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test compiles


def test_a_network_is_built_and_run(board, tmp_path):
    """The double's result is the mean of each picture x 2, + 0 to 3."""
    made = board.answer(f"""
result = build({str(tmp_path)!r})
plan = describe_plan(result.path)
engine = TensorRTEngine(result.path)
feeds = np.random.default_rng(1).normal(0, 1, (3, 3, 64, 96)).astype(np.float32)
results = engine.run({{"data": feeds}})["output"]
expected = feeds.reshape(3, -1).mean(axis=1)[:, None] * 2 + np.arange(4)
np.testing.assert_allclose(results, expected, rtol=1e-5, atol=1e-6)
try:
    engine.run({{"data": np.zeros((9, 3, 80, 96), np.float32)}})
except ModelError as error:
    refused = str(error)
facts = [list(spec.shape) for spec in (*engine.inputs, *engine.outputs)] + [engine.max_batch, engine.gpu_bytes > 4096]
engine.close()
del engine, results
answer([facts, [vars(layer) for layer in plan.layers], refused, live()])
""")
    facts, layers, refused, left = made
    assert facts == [[None, 3, None, None], [None, 4], 8, True]
    assert layers == [{"name": "mean", "kind": "Reduce", "precision": "FP32"}]
    assert "9 x 3 x 80 x 96" in refused and "8 x 3 x 80 x 96" in refused
    assert left == [0, 0]


def test_fp16_is_asked_for(board, tmp_path):
    layers, text = board.answer(f"""
result = build({str(tmp_path)!r}, "fp16")
answer([describe_plan(result.path).layers_by_precision, result.plan.decode()])
""")
    assert layers == {"FP16": 1}
    assert "Half detailed 67108864 2" in text


def test_the_timing_cache_grows_and_a_damaged_one_is_replaced(board, tmp_path):
    caches = board.answer(f"""
import logging
warnings = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger().addHandler(handler)
caches = []
for damaged in (False, False, True):
    result = build({str(tmp_path)!r})
    (cache,) = result.by_products
    caches.append(result.by_products[cache].decode())
    if len(caches) == 2:
        cache.write_bytes(b"damaged")
answer([caches, cache.name, warnings, live()])
""")
    contents, name, warnings, left = caches
    assert contents == ["double-timing tactic", "double-timing tactic tactic", "double-timing tactic"]
    assert name == "tensorrt-8.2.1-sm87.timing"
    assert len(warnings) == 1 and name in warnings[0]
    assert left == [0, 0]


def test_int8_is_calibrated_from_a_thread_of_tensorrt(board, tmp_path):
    """Its calls need Python's lock, which the build must have released."""
    threads, names, ranges, again, left = board.answer(f"""
import threading
from app.inference import int8
threads = set()
next_batch = int8.Calibration.next_batch
def noted(self):
    threads.add(threading.get_ident())
    return next_batch(self)
int8.Calibration.next_batch = noted
taken = pictures()
result = build({str(tmp_path)!r}, "int8", taken)
shown = pictures()
largest = max(float(np.abs(shown()).max()) for _ in range(5))
(ranges,) = [content.decode() for path, content in result.by_products.items() if path.suffix == ".calibration"]
assert abs(float(ranges.split()[1]) - largest) < 1e-4, (ranges, largest)
again = build({str(tmp_path)!r}, "int8").plan.decode()
own = threading.get_ident() in threads
del taken
answer([[len(threads), own], sorted(path.name for path in result.by_products), ranges, again, live()])
""")
    assert threads == [1, False]
    assert any(name.endswith("8.2.1.calibration") for name in names)
    assert ranges.endswith("batches 1") and again.strip().endswith(ranges), "known ranges are used without pictures"
    assert left == [0, 0]


def test_errors_while_calibrating_reach_the_caller(board, tmp_path):
    none, broken, left = board.answer(f"""
errors = []
def broken():
    raise ModelError("the picture cannot be read")
for next_picture in (lambda: None, broken):
    try:
        build({str(tmp_path)!r}, "int8", next_picture)
    except ModelError as error:
        errors.append(str(error))
answer([*errors, live()])
""")
    assert "none of the calibration pictures" in none and "the picture cannot be read" in broken
    assert left[1] == 0


def test_a_calibrator_that_misbehaves_ends_the_build_and_not_the_process(board, tmp_path):
    done = board.run(f"""
from app.inference import int8
def wrong(self, trt):
    class Calibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
        def get_batch_size(self):
            raise KeyError("size")
        def get_batch(self, names):
            return [1, 2, 3]
        def read_calibration_cache(self):
            return 5
    return Calibrator()
int8.Calibration.calibrator = wrong
try:
    build({str(tmp_path)!r}, "int8", pictures())
except ModelError as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    assert "no batch to calibrate with" in done.stdout
    assert "KeyError: 'size'" in done.stderr and "3 addresses for 1 inputs" in done.stderr
    assert "read_calibration_cache" in done.stderr


def test_a_nano_without_int8_refuses_it(board, tmp_path):
    assert "int8" in board.answer(f"""
control().set_fast_int8(0)
try:
    build({str(tmp_path)!r}, "int8", pictures())
except ModelError as error:
    answer(str(error))
""")


def test_a_file_that_is_no_network_is_refused_with_the_parsers_words(board, tmp_path):
    assert "layer 3: this is no double-network" in board.answer(f"""
try:
    build({str(tmp_path)!r}, network="something else")
except ModelError as error:
    answer(str(error))
""")


def test_a_damaged_engine_is_refused_with_tensorrts_words(board, tmp_path):
    path = tmp_path / "net.engine"
    path.write_bytes(b"damaged")
    message = board.answer(f"""
from pathlib import Path
try:
    TensorRTEngine(Path({str(path)!r}))
except ModelError as error:
    answer([type(error).__name__, str(error)])
""")
    assert message[0] == "UnreadablePlanError" and "magic tag does not match" in message[1]


def test_any_refused_call_is_an_error_with_its_reason_and_leaves_nothing(board, tmp_path):
    """TensorRT refuses one call after the other; what was made until then is freed."""
    outcomes, left = board.answer(f"""
def everything():
    result = build({str(tmp_path)!r}, "int8", pictures())
    plan = describe_plan(result.path)
    engine = TensorRTEngine(result.path)
    try:
        for size in (80, 64):
            engine.run({{"data": np.ones((2, 3, size, size), np.float32)}})
    finally:
        engine.close()

control().refuse_call(-1)
everything()
outcomes, left = [], [live()]
for number in range(control().calls_made()):
    control().refuse_call(number)
    try:
        everything()
        outcomes.append("worked")
    except ModelError as error:
        outcomes.append(str(error))
    left.append(live())
answer([outcomes, left])
""")
    assert all(freed == [0, 0] for freed in left), left
    worked = [number for number, outcome in enumerate(outcomes) if outcome == "worked"]
    assert len(outcomes) >= 20 and len(worked) == 2, "only the timing cache can be replaced"
    silent = [each for each in outcomes if not re.search("worked|was refused|cannot read this network", each)]
    assert not silent


def test_ten_thousand_runs_do_not_grow(board, tmp_path):
    growth, objects = board.answer(f"""
def resident_kb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

engine = TensorRTEngine(build({str(tmp_path)!r}).path)
feeds = [np.full((batch, 3, 64, 64), batch, np.float32) for batch in (1, 2, 8)]
def run(times):
    for number in range(times):
        batch = feeds[number % 3]
        output = engine.run({{"data": batch}})["output"]
        assert output[-1, 3] == 2 * len(batch) + 3
run(1000)
before, objects = resident_kb(), live()
run(10_000)
answer([resident_kb() - before, [objects, live()]])
""")
    assert growth < 1024 and objects[0] == objects[1]


def test_objects_live_as_long_as_something_needs_them(board, tmp_path):
    """The parser has the network's weights, and every object needs the one that made it."""
    assert board.answer("""
import tensorrt
from app.inference.tensorrt_api import make_logger
logger = make_logger(tensorrt)
builder = tensorrt.Builder(logger)
network = builder.create_network(1)
assert tensorrt.OnnxParser(network, logger).parse(b"double-network input data -1 3 -1 -1 scale 3")
config, profile = builder.create_builder_config(), builder.create_optimization_profile()
config.clear_flag(tensorrt.BuilderFlag.TF32)
config.set_timing_cache(config.create_timing_cache(b""), False)
profile.set_shape("data", *[(1, 3, 4, 4)] * 3)
config.add_optimization_profile(profile)
tensor = network.get_input(0)
del builder, profile
plan = builder_plan = None
plan = bytes(memoryview(tensorrt.Builder(logger).build_serialized_network(network, config)))
del network, config
name = tensor.name
context = tensorrt.Runtime(logger).deserialize_cuda_engine(plan).create_execution_context()
shape = context.get_binding_shape(1)
before = live()
del context, tensor
answer([name, list(shape), before[0] > 2, live()])
""") == ["data", [-1, 4], True, [0, 0]]


def test_tensorrt_8_0_builds_and_runs_without_its_inspector(older_board, tmp_path):
    """JetPack 4.6.0."""
    version, layers, results, left = older_board.answer(f"""
import tensorrt
result = build({str(tmp_path)!r}, "fp16")
plan = describe_plan(result.path)
engine = TensorRTEngine(result.path)
output = engine.run({{"data": np.ones((1, 3, 64, 96), np.float32)}})["output"].tolist()
engine.close()
del engine
answer([tensorrt.__version__, plan.layers, output, live()])
""")
    assert version == "8.0.1" and layers == [] and left == [0, 0]
    assert results == [[2, 3, 4, 5]]
