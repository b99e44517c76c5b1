"""Small networks and weights that several tests import."""

import binascii

import numpy as np

from app.tools.importing.architectures import retinaface_on_mobilenet
from app.tools.importing.measuring import network_input, overlapping_discs
from app.tools.importing.references import NumpyOperations
from app.tools.importing.weights import RandomWeights, Weights


def random_arrays(architecture, seed=0):
    """Weights of the right names and shapes."""
    weights = RandomWeights(seed)
    return {name: weights.take(name, shape) for name, shape in architecture.weight_shapes().items()}


class Training(NumpyOperations):
    """Normalises with what it sees, and remembers it under the name of the normalisation."""

    def __init__(self, arrays):
        super().__init__(Weights(arrays))
        self.seen = {}

    def _norm_named(self, name, channels):
        norm = super()._norm_named(name, channels)
        self.seen[id(norm.mean)] = name
        self.kept = [*getattr(self, "kept", []), norm]
        return norm

    def _norm(self, maps, norm):
        mean, variance = maps.mean(axis=(0, 2, 3)), maps.var(axis=(0, 2, 3))
        self.seen[self.seen.pop(id(norm.mean))] = (mean, variance)
        return super()._norm(maps, norm._replace(mean=mean, variance=variance))


def trained_arrays(slope):
    """RetinaFace on MobileNet whose normalisations remember what this activation gave them."""
    arrays = random_arrays(retinaface_on_mobilenet())
    training = Training(arrays)
    retinaface_on_mobilenet(slope).run(
        training, network_input(overlapping_discs((320, 320)), "bgr", (104, 117, 123), 1)
    )
    for name, (mean, variance) in training.seen.items():
        arrays[f"{name}.running_mean"] = mean.astype(np.float32)
        arrays[f"{name}.running_var"] = variance.astype(np.float32)
    return arrays


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


def small_centerface(batch=10, sides=(32, 32), enlarged_by="weights"):
    """CenterFace in little: a map at stride 4, one at stride 8 enlarged and added, and the four outputs.

    Like the published file, which is fixed to ten pictures of 32 x 32 pixels, it names all lengths. Maps are enlarged
    by `weights`, or to a shape that is `constant` or `half constant`: the batch asked for, the sides constant.
    """
    generator = np.random.default_rng(0)
    shapes = {"stem": (8, 3, 4, 4), "deep": (8, 8, 2, 2), "up": (8, 8, 2, 2)}
    channels = {"537": 1, "538": 2, "539": 2, "540": 10}
    shapes.update({f"head {name}": (count, 8, 1, 1) for name, count in channels.items()})
    constants = {name: generator.standard_normal(shape).astype(np.float32) / 16 for name, shape in shapes.items()}
    height, width = sides
    enlarge = ("ConvTranspose", ["half", "up"], ["large"], {"strides": [2, 2]})
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    sizes = {
        "first": [0],
        "second": [2],
        "sides": [height // 4, width // 4],
        "sizes": [batch, 8, height // 4, width // 4],
    }
    ask = []
    if enlarged_by != "weights":
        enlarge = ("Resize", ["half", "", "", "sizes"], ["large"], how)
        constants.update({name: np.array(lengths, np.int64) for name, lengths in sizes.items()})
    if enlarged_by == "half constant":
        del constants["sizes"]
        ask = [
            ("Shape", ["half"], ["shape"], {}),
            ("Slice", ["shape", "first", "second"], ["start"], {}),
            ("Concat", ["start", "sides"], ["sizes"], {"axis": 0}),
        ]
    nodes = [
        ("Conv", ["input.1", "stem"], ["fine"], {"strides": [4, 4]}),
        ("Conv", ["fine", "deep"], ["half"], {"strides": [2, 2]}),
        *ask,
        enlarge,
        ("Add", ["fine", "large"], ["map"], {}),
        *(("Conv", ["map", f"head {name}"], [f"raw {name}"], {}) for name in channels),
        ("Sigmoid", ["raw 537"], ["537"], {}),
        *(("Identity", [f"raw {name}"], [name], {}) for name in ("538", "539", "540")),
    ]
    outputs = {name: [batch, count, height // 4, width // 4] for name, count in channels.items()}
    return graph(nodes, {"input.1": [batch, 3, height, width]}, outputs, constants)


def small_scrfd(sides=(None, None)):
    """SCRFD's nine maps, made by strides that leave out what does not fill a cell, as published networks' pooling does.

    `sides`: height and width that it is fixed to.
    """
    generator = np.random.default_rng(0)
    shapes = {"8": (4, 3, 8, 8), "16": (4, 4, 2, 2), "32": (4, 4, 2, 2)}
    channels = {"score": 2, "bbox": 8, "kps": 20}
    shapes.update({f"{role} weight": (count, 4, 1, 1) for role, count in channels.items()})
    constants = {name: generator.standard_normal(shape).astype(np.float32) / 16 for name, shape in shapes.items()}
    nodes, before = [], "input"
    for stride, step in (("8", 8), ("16", 2), ("32", 2)):
        nodes.append(("Conv", [before, stride], [f"map {stride}"], {"strides": [step, step]}))
        before = f"map {stride}"
        nodes += [("Conv", [before, f"{role} weight"], [f"{role} {stride}"], {}) for role in ("bbox", "kps")]
        nodes.append(("Conv", [before, "score weight"], [f"raw {stride}"], {}))
        nodes.append(("Sigmoid", [f"raw {stride}"], [f"score {stride}"], {}))
    outputs = {f"{role} {stride}": [None, channels[role], None, None] for role in channels for stride in (8, 16, 32)}
    return graph(nodes, {"input": [None, 3, *sides]}, outputs, constants)


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
