"""Other batches and sizes for ONNX networks, with what exporters wrote into the middle of the graph."""

import numpy as np
import pytest
from made_networks import graph, run_onnx, small_centerface, small_embedder

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.tools.importing.onnx_file import (
    FREE,
    FREE_SIZE,
    input_shape,
    load_onnx,
    scales_inside,
    with_named_sides,
    with_old_opset,
)
from app.tools.importing.reshaping import is_fixed_to_another, reshaped, with_free_size

onnx = pytest.importorskip("onnx")


def saved(model, path):
    onnx.save(model, str(path))
    return path


def changed(model, folder, batch=None, size=None):
    source = saved(model, folder / "given.onnx")
    original = OnnxEngine(source)
    if is_fixed_to_another(original, size):
        source = with_free_size(source, folder / "free.onnx", original)
        original.close()
        original = OnnxEngine(source)
    target = reshaped(source, folder / "made.onnx", original, batch, size)
    original.close()
    return OnnxEngine(target)


def shapes(engine):
    return engine.inputs[0].shape, {output.name: output.shape for output in engine.outputs}


@pytest.mark.parametrize("inner_batch", [None, 1])
def test_a_fixed_batch_becomes_free_even_where_it_is_written_inside(tmp_path, inner_batch):
    engine = changed(small_embedder(1, 32, inner_batch), tmp_path, batch=FREE)
    assert shapes(engine) == ((None, 3, 32, 32), {"embedding": (None, 64)})
    images = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype(np.float32)
    together = engine.run({"input": images})["embedding"]
    singly = [engine.run({"input": image[None]})["embedding"] for image in images]
    np.testing.assert_allclose(together, np.concatenate(singly), rtol=1e-5)


def test_a_fixed_batch_becomes_another_one(tmp_path):
    assert shapes(changed(small_embedder(1, 32, 1), tmp_path, batch=4)) == ((4, 3, 32, 32), {"embedding": (4, 64)})


def detector_map(constant_size):
    """Halves a map and doubles it again, by a constant shape or by a factor, and adds both."""
    weight = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)
    size = ("sizes", np.array([1, 3, 64, 64], np.int64)) if constant_size else ("scales", np.float32([1, 1, 2, 2]))
    resize = ["small", "", "", "sizes"] if constant_size else ["small", "", "scales"]
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        ("Conv", ["input", "weight"], ["small"], {"strides": [2, 2]}),
        ("Resize", resize, ["large"], how),
        ("Add", ["input", "large"], ["map"], {}),
    ]
    return graph(nodes, {"input": [1, 3, 64, 64]}, {"map": [1, 3, 64, 64]}, {"weight": weight, size[0]: size[1]})


@pytest.mark.parametrize("constant_size", [True, False])
def test_a_resize_to_a_constant_shape_does_not_drop_the_other_pictures(tmp_path, constant_size):
    engine = changed(detector_map(constant_size), tmp_path, batch=FREE)
    images = np.random.default_rng(1).standard_normal((3, 3, 64, 64)).astype(np.float32)
    together = engine.run({"input": images})["map"]
    singly = [engine.run({"input": image[None]})["map"] for image in images]
    np.testing.assert_allclose(together, np.concatenate(singly), rtol=1e-5)


def stock_rows(order):
    """Rows of four numbers, all cells below each other and no batch dimension, as SCRFD's stock exports have them."""
    nodes = [
        ("Transpose", ["input"], ["turned"], {"perm": order}),
        ("Reshape", ["turned", "shape"], ["rows"], {}),
    ]
    shape = np.array([-1, 3], np.int64)
    return graph(nodes, {"input": [1, 3, "h", "w"]}, {"rows": ["n", 3]}, {"shape": shape})


def test_rows_without_a_batch_dimension_get_one(tmp_path):
    engine = changed(stock_rows([2, 3, 0, 1]), tmp_path, batch=FREE)
    images = np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype(np.float32)
    rows = engine.run({"input": images})["rows"]
    assert np.array_equal(rows, images.transpose(0, 2, 3, 1).reshape(2, -1, 3))


def test_rows_that_cannot_be_told_apart_are_refused(tmp_path):
    with pytest.raises(ModelError, match="has no batch dimension"):
        changed(stock_rows([3, 2, 0, 1]), tmp_path, batch=2)


def test_a_network_whose_answers_would_change_is_refused(tmp_path):
    """The mean over the batch: pictures influence each other."""
    nodes = [("ReduceMean", ["input"], ["mean"], {"axes": [0]}), ("Add", ["input", "mean"], ["sum"], {})]
    model = graph(nodes, {"input": [1, 3, 8, 8]}, {"sum": [1, 3, 8, 8]})
    with pytest.raises(ModelError, match="Nothing was installed"):
        changed(model, tmp_path, batch=2)


def test_a_free_size_is_fixed(tmp_path):
    engine = changed(stock_rows([2, 3, 0, 1]), tmp_path, size=(6, 4))
    assert shapes(engine) == ((1, 3, 4, 6), {"rows": (24, 3)})


@pytest.mark.parametrize("enlarged_by", ["weights", "constant", "half constant"])
def test_a_fixed_size_becomes_free_where_every_cell_is_computed_alike(tmp_path, enlarged_by):
    model = small_centerface(enlarged_by=enlarged_by)
    engine = changed(model, tmp_path, batch=FREE, size=FREE_SIZE)
    maps = {"537": 1, "538": 2, "539": 2, "540": 10}
    assert shapes(engine) == ((None, 3, None, None), {name: (None, count, None, None) for name, count in maps.items()})
    wide = small_centerface(2, (64, 96), enlarged_by)
    images = np.random.default_rng(2).standard_normal((2, 3, 64, 96)).astype(np.float32)
    expected = run_onnx(wide.SerializeToString(), images)
    for name, values in engine.run({"input.1": images}).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)


def test_a_fixed_size_becomes_another_one_and_the_batch_stays(tmp_path):
    engine = changed(small_centerface(2), tmp_path, size=(96, 64))
    assert engine.inputs[0].shape == (2, 3, 64, 96)
    assert {output.name: output.shape for output in engine.outputs}["540"] == (2, 10, 16, 24)


def test_the_size_that_a_network_has_already_changes_nothing_else(tmp_path):
    assert shapes(changed(small_embedder(1, 32), tmp_path, size=(32, 32)))[0] == (1, 3, 32, 32)


def test_a_size_that_belongs_to_the_answer_stays(tmp_path):
    """An embedder gives as many numbers for a larger picture, and other ones."""
    with pytest.raises(ModelError, match=r"fixed to 32 x 32 pixels[\s\S]*'embedding'"):
        changed(small_embedder(1, 32), tmp_path, size=(64, 64))


def test_a_size_that_is_written_inside_stays(tmp_path):
    nodes = [("Flatten", ["input"], ["row"], {}), ("MatMul", ["row", "weight"], ["answer"], {})]
    weight = np.ones((3 * 32 * 32, 64), np.float32)
    model = graph(nodes, {"input": [1, 3, 32, 32]}, {"answer": [1, 64]}, {"weight": weight})
    with pytest.raises(ModelError, match="fixed to 32 x 32 pixels"):
        changed(model, tmp_path, size=FREE_SIZE)


def newer(node, constants=()):
    return graph([node], {"input": [1, 4]}, {"x": [1, 4]}, constants, opset=17)


def test_a_newer_opset_is_brought_down_and_so_are_attributes_that_say_nothing():
    shape = {"shape": np.array([1, 4], np.int64)}
    model, remark = with_old_opset(newer(("Reshape", ["input", "shape"], ["x"], {"allowzero": 0}), shape))
    assert [domain.version for domain in model.opset_import] == [13] and "17" in remark and "13" in remark
    assert not model.graph.node[0].attribute


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (("LayerNormalization", ["input", "scale"], ["x"], {}), {"scale": np.ones(4, np.float32)}),
        (("Reshape", ["input", "shape"], ["x"], {"allowzero": 1}), {"shape": np.array([1, 4], np.int64)}),
    ],
)
def test_operators_missing_in_an_old_opset_keep_the_new_one(node, constants):
    model = newer(node, constants)
    same, remark = with_old_opset(model)
    assert same is model and "TensorRT 8.2" in remark


def test_width_and_height_get_names_of_their_own():
    model = graph([("Relu", ["input"], ["x"], {})], {"input": [1, 3, "?", "?"]}, {"x": [1, 3, "?", "?"]})
    dims = with_named_sides(model).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [1, 3, "height", "width"]
    assert with_named_sides(small_embedder()).graph == small_embedder().graph


def test_a_network_that_scales_its_pixels_itself_is_noticed():
    constants = {"mean": np.float32(127.5), "scale": np.float32(0.0078125)}
    nodes = [("Sub", ["data", "mean"], ["centred"], {}), ("Mul", ["centred", "scale"], ["x"], {})]
    assert scales_inside(graph(nodes, {"data": [1, 3, 8, 8]}, {"x": [1, 3, 8, 8]}, constants))
    assert not scales_inside(small_embedder())


def test_weights_in_other_files_are_refused(tmp_path):
    path = tmp_path / "parts.onnx"
    onnx.save(small_embedder(), str(path), save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match=r"net\.onnx: .*whole\.onnx|other files"):
        load_onnx(path)


@pytest.mark.parametrize("content", [b"", b"\x08\x07\xff\xff", b"hello"])
def test_a_file_that_is_not_a_network_is_refused(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx: .*ONNX"):
        load_onnx(path)


def test_weights_listed_among_the_inputs_are_not_taken_for_inputs():
    model = small_embedder()
    model.graph.input.append(onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, [64, 3, 8, 8]))
    assert input_shape(model) == (1, 3, 112, 112)
