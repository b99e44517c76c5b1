"""The TensorRT engine on a simulated GPU, with the names of each real version (gpu_double.py, tensorrt_double.py)."""

import gc
import re
import sys
import threading

import gpu_double
import numpy as np
import pytest
import tensorrt_double
from tensorrt_double import Plan, Tensor

from app.errors import ModelError
from app.inference import cuda
from app.inference.cuda import NoGpuError
from app.inference.engine import run_in_batches
from app.inference.tensorrt import TensorRTEngine
from app.inference.tensorrt_plan import describe_plan
from app.tools.benchmark.stopwatch import StopwatchEngine

PACKAGES = ("cudart", "pycuda")
NEWEST = "11.4.0"

# Doubles what it gets, and sums it up by row: two outputs, of which the shapes follow the input's.
DOUBLING = Plan(
    tensors=(
        Tensor("picture", (-1, 3, -1, -1), ((1, 3, 4, 4), (2, 3, 8, 8), (4, 3, 8, 16))),
        Tensor("doubled", (-1, 3, -1, -1), is_input=False, shape_for=lambda shapes: shapes["picture"]),
        Tensor("sums", (-1, 1), is_input=False, shape_for=lambda shapes: (shapes["picture"][0], 1)),
    ),
    compute=lambda given: {
        "doubled": given["picture"] * 2,
        "sums": given["picture"].sum(axis=(1, 2, 3))[:, None],
    },
    layers=('"conv1"', '"conv2"'),
)
FIXED = Plan(
    tensors=(Tensor("data", (2, 5)), Tensor("out", (2, 5), is_input=False)),
    compute=lambda given: {"out": given["data"] + 1},
)


class Bench:
    """A simulated machine that opens engines."""

    def __init__(self, monkeypatch, tmp_path, version=NEWEST, package="cudart", failing_call=None):
        self.gpu = gpu_double.Gpu(failing_call)
        self._plans, self._folder = {}, tmp_path
        gpu_double.install_driver(monkeypatch, gpu_double.Driver())
        gpu_double.install_memory(monkeypatch, package, self.gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_double.tensorrt(version, self.gpu, self._plans))

    def file(self, plan, name="network.engine"):
        path = self._folder / name
        path.write_bytes(name.encode())
        self._plans[name.encode()] = plan
        return path

    def open(self, plan=DOUBLING, name="network.engine"):
        return TensorRTEngine(self.file(plan, name))


@pytest.fixture(
    params=[(version, package) for version in tensorrt_double.VERSIONS for package in PACKAGES], ids="-".join
)
def bench(request, monkeypatch, tmp_path):
    version, package = request.param
    bench = Bench(monkeypatch, tmp_path, version, package)
    yield bench
    assert cuda._Shared.gpu is None, "a test left its engine open"
    assert bench.gpu.clean


@pytest.fixture
def newest(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


def pictures(count, height=8, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, height, width)).astype(np.float32)


def check(outputs, given):
    np.testing.assert_array_equal(outputs["doubled"], given * 2)
    np.testing.assert_allclose(outputs["sums"], given.sum(axis=(1, 2, 3))[:, None], rtol=1e-5, atol=1e-4)


def test_an_engine_computes_and_describes_its_tensors(bench):
    engine = bench.open()
    assert [str(spec) for spec in engine.inputs] == ["picture ? x 3 x ? x ? float32"]
    assert [str(spec) for spec in engine.outputs] == ["doubled ? x 3 x ? x ? float32", "sums ? x 1 float32"]
    assert engine.max_batch == 4
    given = pictures(2)
    check(engine.run({"picture": given}), given)
    engine.close()


def test_batch_and_size_may_change_with_every_run(bench):
    engine = bench.open()
    for count, height, width in ((4, 8, 16), (1, 4, 4), (3, 8, 8), (3, 8, 8), (1, 4, 16)):
        given = pictures(count, height, width, seed=width)
        check(engine.run({"picture": given}), given)
    engine.close()


def test_results_stay_valid_after_the_next_run_and_after_closing(bench):
    engine = bench.open()
    first = pictures(2, seed=1)
    outputs = engine.run({"picture": first})
    engine.run({"picture": pictures(2, seed=2)})
    engine.close()
    check(outputs, first)


def test_any_number_of_items_goes_through_in_batches(bench):
    engine = bench.open()
    given = pictures(11)
    check(run_in_batches(engine, given), given)
    engine.close()


def test_memory_is_allocated_once_for_the_largest_shape(bench):
    engine = bench.open()
    numbers = 2 * 4 * 3 * 8 * 16 + 4
    assert sum(len(memory) for memory in bench.gpu.live.values()) == 2 * numbers * 4, "on the GPU, and page-locked"
    taken = set(bench.gpu.live)
    for count in (1, 4, 2):
        engine.run({"picture": pictures(count)})
    assert set(bench.gpu.live) == taken
    engine.close()


def test_inputs_are_copied_before_the_run_and_results_after_it(bench):
    engine = bench.open()
    engine.run({"picture": pictures(2)})
    del bench.gpu.calls[:]
    engine.run({"picture": pictures(2)})
    kinds = [kind for call in bench.gpu.calls for kind in ("emcpy", "execute", "ynchronize") if kind in call]
    assert kinds == ["emcpy", "execute", "emcpy", "emcpy", "ynchronize"]
    assert len(bench.gpu.calls) == len(kinds), "nothing else is asked for while the shape stays"
    engine.close()


def test_it_is_released_from_the_context_down_to_the_memory(bench):
    engine = bench.open()
    del bench.gpu.calls[:]
    engine.close()
    engine.close()
    first, *calls = bench.gpu.calls
    assert "ynchronize" in first
    assert calls[:3] == ["release IExecutionContext", "release ICudaEngine", "release Runtime"]
    assert sum("ree" in call for call in calls[3:]) == 6, "three tensors, each in two places"
    with pytest.raises(ModelError, match="has been closed"):
        engine.run({"picture": pictures(1)})


def test_two_networks_share_one_context_and_one_stream(bench):
    first, second = bench.open(), bench.open(FIXED, "second.engine")
    assert sum(call in ("cudaStreamCreate", "Stream") for call in bench.gpu.calls) == 1
    given = pictures(1)
    check(first.run({"picture": given}), given)
    first.close()
    data = np.ones((2, 5), np.float32)
    np.testing.assert_array_equal(second.run({"data": data})["out"], data + 1)
    second.close()


def test_a_fixed_batch_is_filled_up(bench):
    engine = bench.open(FIXED)
    assert engine.inputs[0].shape == (2, 5)
    data = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_array_equal(run_in_batches(engine, data)["out"], data + 1)
    engine.close()


def test_a_profile_without_choice_counts_as_fixed(newest):
    only = Plan(
        (
            Tensor("data", (-1, 5), ((8, 5),) * 3),
            Tensor("out", (-1, 5), is_input=False, shape_for=lambda shapes: shapes["data"]),
        ),
        lambda given: {"out": given["data"]},
    )
    engine = newest.open(only)
    assert engine.inputs[0].shape == (8, 5)
    assert len(run_in_batches(engine, np.ones((3, 5), np.float32))["out"]) == 3
    engine.close()


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"picture": pictures(5)}, r"5 x 3 x 8 x 8, .* 1 x 3 x 4 x 4 to 4 x 3 x 8 x 16.*engines build"),
        ({"picture": pictures(1, 2, 8)}, "1 x 3 x 2 x 8"),
        ({"picture": pictures(1)[0]}, "3 x 8 x 8"),
        ({"picture": pictures(1).astype(np.float64)}, "takes float32, not float64"),
        ({"image": pictures(1)}, r"has the inputs \['picture'\], but got \['image'\]"),
        ({}, r"but got \[\]"),
    ],
)
def test_unsupported_shapes_are_refused_and_change_nothing(bench, feeds, message):
    engine = bench.open()
    with pytest.raises(ModelError, match=message):
        engine.run(feeds)
    given = pictures(2)
    check(engine.run({"picture": given}), given)
    engine.close()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((Tensor("x", (1, 2)), Tensor("boxes", (-1, 4), is_input=False)), "'boxes' depends on the input's content"),
        (
            (Tensor("x", (1, 2), location="HOST"), Tensor("y", (1, 2), is_input=False)),
            "'x' must be in the processor's",
        ),
        ((Tensor("x", (1, 2), dtype="BOOL2"), Tensor("y", (1, 2), is_input=False)), "DataType.BOOL2 is not supported"),
    ],
)
def test_unsupported_engines_are_refused_with_the_reason(bench, tensors, message):
    with pytest.raises(ModelError, match=message):
        bench.open(Plan(tensors, dict))


def test_an_engine_with_an_implicit_batch_is_refused(monkeypatch, tmp_path):
    bench = Bench(monkeypatch, tmp_path, "8.2", "pycuda")
    with pytest.raises(ModelError, match="implicit batch"):
        bench.open(Plan(FIXED.tensors, FIXED.compute, implicit_batch=True))
    assert bench.gpu.clean


def test_an_output_that_is_larger_than_its_buffer_is_refused(newest):
    shapes = iter([(1, 4), (1, 9)])
    engine = newest.open(
        Plan(
            (Tensor("x", (1, 2)), Tensor("y", (1, -1), is_input=False, shape_for=lambda _: next(shapes))),
            lambda given: {},
        )
    )
    with pytest.raises(ModelError, match="'y' is 1 x 9"):
        engine.run({"x": np.ones((1, 2), np.float32)})
    engine.close()


def test_a_foreign_or_damaged_file_is_refused_with_tensorrts_message(bench, tmp_path):
    (tmp_path / "foreign.engine").write_bytes(b"from another machine")
    with pytest.raises(ModelError, match=r"foreign.engine failed: .*magic tag.*engines build --force"):
        TensorRTEngine(tmp_path / "foreign.engine")
    with pytest.raises(ModelError, match=r"missing\.engine .*No such file"):
        TensorRTEngine(tmp_path / "missing.engine")


def test_after_a_shape_was_refused_by_tensorrt_the_former_one_is_set_again(newest):
    engine = newest.open()
    engine.run({"picture": pictures(2)})
    newest.gpu.fail_next()
    with pytest.raises(ModelError, match="shape of 'picture' to 3 x 3 x 8 x 8"):
        engine.run({"picture": pictures(3)})
    del newest.gpu.calls[:]
    given = pictures(2)
    check(engine.run({"picture": given}), given)
    assert newest.gpu.calls[0] == "set_input_shape"
    engine.close()


def test_another_thread_is_refused(bench):
    engine = bench.open()
    messages = []

    def use(call):
        try:
            call()
        except ModelError as error:
            messages.append(str(error))

    for call in (lambda: engine.run({"picture": pictures(1)}), engine.close):
        thread = threading.Thread(target=use, args=(call,), name="webserver")
        thread.start()
        thread.join()
    assert len(messages) == 2
    assert all("'MainThread'" in message and "'webserver'" in message for message in messages)
    given = pictures(1)
    check(engine.run({"picture": given}), given)
    engine.close()


def test_ten_thousand_runs_leak_nothing(newest):
    engine = newest.open(FIXED)
    data = np.zeros((2, 5), np.float32)
    engine.run({"data": data})
    taken, objects = set(newest.gpu.live), None
    for number in range(10_000):
        engine.run({"data": data})
        if number in (100, 9_999):
            del newest.gpu.calls[:]
            gc.collect()
            count = len(gc.get_objects())
            # Threads of other tests may still make some; a leak would make one for each run.
            assert objects is None or count < objects + 1_000
            objects = count
    assert set(newest.gpu.live) == taken
    engine.close()
    assert newest.gpu.clean


def test_transfer_is_timed_only_on_request(newest):
    engine = newest.open()
    engine.run({"picture": pictures(1)})
    assert engine.last_transfer_ms is None
    engine.times_transfer = True
    given = pictures(2)
    check(engine.run({"picture": given}), given)
    assert engine.last_transfer_ms > 0
    engine.close()


def test_memory_on_the_gpu_is_reported(newest):
    engine = newest.open()
    largest_picture, working = 4 * 3 * 8 * 16 * 4, 4096
    assert engine.gpu_bytes == 2 * largest_picture + 4 * 4 + working
    engine.close()


def test_transfer_shows_in_the_benchmarks_stopwatch(newest):
    watched = StopwatchEngine(newest.open())
    sample = watched.time(lambda: watched.run({"picture": pictures(2)}))
    assert sample.transfer > 0 and sample.inference > 0
    watched.close()


def live_once(monkeypatch, tmp_path, version, package, failing_call):
    """Opens, runs twice with different shapes, and closes; returns the simulated GPU and the error."""
    with monkeypatch.context() as patch:
        bench = Bench(patch, tmp_path, version, package, failing_call)
        message = ""
        engine = None
        try:
            engine = bench.open()
            for count in (1, 2):
                given = pictures(count)
                check(engine.run({"picture": given}), given)
        except ModelError as error:
            message = str(error)
        try:
            if engine is not None:
                engine.close()
        except ModelError as error:
            message = message or str(error)
        return bench.gpu, message


SAID = {
    "Runtime": "starting its runtime failed",
    "deserialize_cuda_engine": "reading .* failed",
    "create_execution_context": "allocating GPU memory",
    "set_input_shape": "shape of 'picture'",
    "set_binding_shape": "shape of 'picture'",
    "set_tensor_address": "the address",
    "execute_async_v2": "running .* failed",
    "execute_async_v3": "running .* failed",
}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("version", ["8.2", NEWEST])
def test_every_failing_call_is_named_and_all_memory_is_released(monkeypatch, tmp_path, request, version, package):
    healthy, message = live_once(monkeypatch, tmp_path, version, package, None)
    assert message == "" and healthy.clean
    fallible = [call for call in healthy.calls if not call.startswith("release")]
    assert len(fallible) > 30
    gc.freeze()  # what other tests hold need not be searched each time
    request.addfinalizer(gc.unfreeze)
    for number, call in enumerate(fallible):
        gpu, message = live_once(monkeypatch, tmp_path, version, package, number)
        gc.collect()
        assert message, f"call {number}, {call}, failed unnoticed"
        assert re.search(SAID.get(call, f"CUDA: {call} failed"), message), (call, message)
        assert cuda._Shared.gpu is None and cuda._Shared.users == 0, (call, message)
        releases = [name for name in gpu.calls if name.startswith("release")]
        assert len(set(releases)) == len(releases) <= 3
        if not call.lower().endswith(("free", "freehost", "destroy", "pop", "detach")):
            assert gpu.clean, f"after {call} failed, something stayed taken"


def test_without_a_gpu_tensorrt_is_not_even_started(monkeypatch, tmp_path):
    bench = Bench(monkeypatch, tmp_path)
    path = bench.file(DOUBLING)
    gpu_double.install_driver(monkeypatch, gpu_double.Driver(status=100))
    for use in (TensorRTEngine, describe_plan):
        with pytest.raises(NoGpuError, match=r"cuInit .*100 \(no CUDA-capable"):
            use(path)
    assert bench.gpu.calls == []


def test_without_cudas_runtime_the_error_has_an_install_command(monkeypatch, tmp_path):
    bench = Bench(monkeypatch, tmp_path, package="none")
    with pytest.raises(ModelError, match=r"libcudart.so.10.2.*install nvidia-cuda-runtime-cu12"):
        bench.open()


def test_an_engine_is_described(bench):
    described = describe_plan(bench.file(DOUBLING))
    picture, doubled, _ = described.tensors
    assert picture.is_input and picture.profile == ((1, 3, 4, 4), (2, 3, 8, 8), (4, 3, 8, 16))
    assert not doubled.is_input and str(doubled.spec) == "doubled ? x 3 x ? x ? float32"
    assert [layer.name for layer in described.layers] == ["conv1", "conv2"]
    assert described.working_memory_bytes == 4096 and described.profiles == 1
    assert "release ICudaEngine" in bench.gpu.calls and "release Runtime" in bench.gpu.calls
