"""Small networks and weights that several tests import."""

import binascii

import numpy as np

from app.importing.weights import RandomWeights


def random_arrays(architecture, seed=0):
    """Weights of the right names and shapes."""
    weights = RandomWeights(seed)
    return {name: weights.take(name, shape) for name, shape in architecture.weight_shapes().items()}


def write_wts(path, arrays):
    lines = [str(len(arrays))]
    for name, array in arrays.items():
        values = np.asarray(array, ">f4").ravel()
        digits = binascii.hexlify(values.tobytes()).decode()
        lines.append(" ".join([name, str(values.size), *(digits[at : at + 8] for at in range(0, len(digits), 8))]))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def run_onnx(content, images):
    """By ONNX Runtime itself: outputs by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images})))


def graph(nodes, inputs, outputs, constants=(), opset=13):
    """An ONNX model from nodes `(operator, inputs, outputs, attributes)`; shapes by name, None for an unknown one."""
    from onnx import TensorProto, helper, numpy_helper

    def values(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    made = [helper.make_node(kind, taken, given, **attributes) for kind, taken, given, attributes in nodes]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    model = helper.make_model(
        helper.make_graph(made, "made for a test", values(inputs), values(outputs), stored),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    model.ir_version = 7
    return model


def small_embedder(batch=1, side=112, inner_batch=None):
    """A convolution and a mean of everything: 64 numbers. `inner_batch` is written into a Reshape."""
    weight = np.random.default_rng(0).standard_normal((64, 3, 8, 8)).astype(np.float32)
    nodes = [
        ("Conv", ["input", "weight"], ["maps"], {"strides": [8, 8]}),
        ("GlobalAveragePool", ["maps"], ["means"], {}),
        ("Reshape", ["means", "shape"], ["embedding"], {}),
    ]
    shape = np.array([0 if inner_batch is None else inner_batch, 64], np.int64)
    sides = {"input": [batch, 3, side, side]}
    return graph(nodes, sides, {"embedding": [batch, 64]}, {"weight": weight, "shape": shape})
