"""Writes the trained networks as ONNX that every runtime from TensorRT 8.2 on builds, and proves that they agree.

python -m training.export embedder --checkpoint DIR/embedder/embedder.pt --out engines/mobilefacenet.onnx
python -m training.export detector --checkpoint DIR/detector/detector.pt --out engines/retinaface_mnet025.onnx
python -m training.export scrfd    --checkpoint DIR/scrfd/scrfd.pt --out engines/scrfd_500m.onnx
python -m training.export gender_age --checkpoint DIR/gender_age/gender_age.pt --out engines/genderage_utk.onnx
python -m training.export mask --checkpoint DIR/mask/mask.pt --out engines/mask_drawn.onnx
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import warnings
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from app.inference.balancing import balance_channels
from app.inference.rewriting import rewrite_prelu
from training.balance import balance
from training.files import replace_atomically
from training.networks.attributes import GenderAgeNet, LatePart, MaskNet
from training.networks.mobilefacenet import MobileFaceNet
from training.networks.retinaface import RetinaFace
from training.networks.scrfd import PARTS, SCRFD, STRIDES

log = logging.getLogger(__name__)

OPSET = 13
PLAIN_OPERATORS = {
    *("Conv", "Relu", "Add", "Mul", "Concat", "Slice", "Resize", "Transpose", "Reshape", "Flatten", "Softmax"),
    *("Constant", "Sigmoid", "HardSigmoid", "Clip", "BatchNormalization"),
}
EMBEDDER_OUTPUTS = ("embedding",)
ATTRIBUTE_OUTPUTS = ("attributes",)
ATTRIBUTE_NETWORKS = {"gender_age": (GenderAgeNet, 3), "mask": (MaskNet, 2)}
"""By name, with the number of values a face."""
DETECTOR_OUTPUTS = ("loc", "conf", "landms")
SCRFD_OUTPUTS = {f"{part}_{stride}": values for part, values in PARTS for stride in STRIDES}
"""Name and numbers of an anchor."""
TOLERANCE = 1e-3


def trace(
    network: nn.Module, example: torch.Tensor, outputs: Sequence[str], dynamic: Dict[int, str]
) -> onnx.ModelProto:
    """The network as a graph with named, dynamic input axes; normalisations are folded into convolutions."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            stream,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_axes={"input": dynamic, **{name: {0: "batch"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(stream.getvalue())
    inline_identities(model.graph)
    return model


def make_reshapes_constant(model: onnx.ModelProto, values: Dict[str, int]) -> None:
    """Replaces computed shapes by `[0, -1, values]` (batch as it comes, the rest as it fits).

    PyTorch writes Shape, Gather and Concat in front of each Reshape; TensorRT 8.2 stumbles over such chains, and
    nothing has to be computed. `values` says how many numbers an anchor has, by the output that a Reshape leads to.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    for output, count in values.items():
        constant = numpy_helper.from_array(np.array([0, -1, count], np.int64), f"{output}_shape")
        graph.initializer.append(constant)
        pending = [output]
        while pending:
            node = producers.get(pending.pop())
            if node is None:
                continue
            if node.op_type == "Reshape":
                node.input[1] = constant.name
            elif node.op_type in ("Concat", "Softmax", "Sigmoid"):
                pending.extend(node.input)
    drop_unused(graph)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Removes nodes and initialisers that lead to no output."""
    wanted = {output.name for output in graph.output}
    kept: List[onnx.NodeProto] = []
    for node in reversed(list(graph.node)):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    initialisers = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(initialisers)


def inline_identities(graph: onnx.GraphProto) -> None:
    """PyTorch stores equal tensors once and passes them on through Identity; they are read directly instead."""
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = source.get(name, name)
    drop_unused(graph)


def name_output_axes(model: onnx.ModelProto, axes: Dict[str, Tuple[object, ...]]) -> None:
    """States the output shapes: `batch` and `anchors` by name, the rest as numbers."""
    for output in model.graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, axes[output.name]))
    del model.graph.value_info[:]


def embedder_model(network: MobileFaceNet) -> onnx.ModelProto:
    """Without PReLU, which ONNX Runtime runs badly: it is written as the difference of two ReLUs."""
    model = trace(balance(copy.deepcopy(network)), torch.zeros(2, 3, 112, 112), EMBEDDER_OUTPUTS, {0: "batch"})
    rewrite_prelu(model)
    name_output_axes(model, {"embedding": ("batch", 128)})
    return model


def attribute_model(network: MobileFaceNet, values: int) -> onnx.ModelProto:
    """One row of `values` numbers a face, with PReLU written as in the embedder."""
    model = trace(balance(copy.deepcopy(network)), torch.zeros(2, 3, 112, 112), ATTRIBUTE_OUTPUTS, {0: "batch"})
    rewrite_prelu(model)
    name_output_axes(model, {ATTRIBUTE_OUTPUTS[0]: ("batch", values)})
    return model


def detector_model(network: nn.Module) -> onnx.ModelProto:
    model = trace(network, torch.zeros(2, 3, 64, 96), DETECTOR_OUTPUTS, {0: "batch", 2: "height", 3: "width"})
    balance_channels(model)
    make_reshapes_constant(model, {"loc": 4, "conf": 2, "landms": 10})
    name_output_axes(model, {name: ("batch", "anchors", count) for name, count in zip(DETECTOR_OUTPUTS, (4, 2, 10))})
    return model


def scrfd_model(network: SCRFD) -> onnx.ModelProto:
    model = trace(network, torch.zeros(2, 3, 64, 96), list(SCRFD_OUTPUTS), {0: "batch", 2: "height", 3: "width"})
    balance_channels(model)
    make_reshapes_constant(model, SCRFD_OUTPUTS)
    name_output_axes(model, {name: ("batch", f"anchors_{name}", count) for name, count in SCRFD_OUTPUTS.items()})
    return model


def folded(network: nn.Module) -> nn.Module:
    """A copy in which normalisations are part of the convolutions before them."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for position, (layer, follower) in enumerate(zip(list(module), list(module)[1:])):
            if isinstance(layer, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
                module[position] = fuse_conv_bn_eval(layer, follower)
                module[position + 1] = nn.Identity()
    return network


def mean_network(networks: Sequence[nn.Module]) -> nn.Module:
    """The mean of networks of one line, as of the beginning and the end of a refinement (Wortsman et al., 2022).

    What a refinement learns costs something of what was known before; halfway, the errors of both partly cancel.
    """
    parts = [folded(network) for network in networks]
    states = [part.state_dict() for part in parts]
    mean = {name: torch.stack([state[name].double() for state in states]).mean(0) for name in states[0]}
    parts[0].load_state_dict(mean)
    return parts[0]


def detector_of(checkpoints: Sequence[Dict[str, Any]]) -> nn.Module:
    """The average of one run, or the mean of several runs' averages."""
    networks: List[nn.Module] = []
    for checkpoint in checkpoints:
        networks.append(RetinaFace())
        networks[-1].load_state_dict(checkpoint["average"])
    return mean_network(networks) if len(networks) > 1 else networks[0]


def check_operators(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model)
    strange = {node.op_type for node in model.graph.node} - PLAIN_OPERATORS
    if strange:
        raise SystemExit(f"operators that older runtimes may not know: {', '.join(sorted(strange))}")


def run_onnxruntime(path: Path, images: np.ndarray) -> List[np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"input": images})]


def run_opencv(path: Path, images: np.ndarray, outputs: Sequence[str]) -> List[np.ndarray]:
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(images)
    return [np.asarray(output) for output in network.forward(list(outputs))]


def parity(path: Path, network: nn.Module, shape: Tuple[int, ...], outputs: Sequence[str]) -> Dict[str, float]:
    """Largest difference between PyTorch and each runtime on random pictures of one shape."""
    lowest, highest = (0, 255) if len(outputs) == 1 else (-100, 100)  # the detector's mean is taken off outside
    images = np.random.default_rng(0).uniform(lowest, highest, shape).astype(np.float32)
    with torch.no_grad():
        answer = network.eval()(torch.from_numpy(images))
    expected = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
    differences = {}
    for name, actual in (("onnxruntime", run_onnxruntime(path, images)), ("opencv", run_opencv(path, images, outputs))):
        differences[name] = max(float(np.abs(a - b).max()) for a, b in zip(actual, expected))
    return differences


def write_model(model: onnx.ModelProto, path: Path, notes: Dict[str, str]) -> None:
    check_operators(model)
    model.producer_name, model.producer_version = "training.export", ""
    helper.set_model_props(model, notes)
    with replace_atomically(path) as stream:
        stream.write(model.SerializeToString())


def export_embedder(network: MobileFaceNet, path: Path, notes: Dict[str, str]) -> Dict[str, float]:
    write_model(embedder_model(network), path, notes)
    return parity(path, network, (3, 3, 112, 112), EMBEDDER_OUTPUTS)


def export_detector(network: nn.Module, path: Path, notes: Dict[str, str]) -> Dict[str, float]:
    write_model(detector_model(network), path, notes)
    return parity(path, network, (2, 3, 96, 160), DETECTOR_OUTPUTS)


def export_scrfd(network: SCRFD, path: Path, notes: Dict[str, str]) -> Dict[str, float]:
    write_model(scrfd_model(network), path, notes)
    return parity(path, network, (2, 3, 96, 160), list(SCRFD_OUTPUTS))


def export_attributes(network: MobileFaceNet, values: int, path: Path, notes: Dict[str, str]) -> Dict[str, float]:
    write_model(attribute_model(network, values), path, notes)
    return parity(path, network, (3, 3, 112, 112), ATTRIBUTE_OUTPUTS)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=("embedder", "detector", "scrfd", *ATTRIBUTE_NETWORKS))
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        required=True,
        help="the run's .pt file; its average is exported. For a detector several: the mean of their averages",
    )
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write (replaced atomically)")
    parser.add_argument("--activation", default="prelu", help="the embedder's activation")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    checkpoints = [torch.load(path, map_location="cpu", weights_only=True) for path in arguments.checkpoint]
    stored = checkpoints[-1]
    if len(checkpoints) > 1 and arguments.model != "detector":
        raise SystemExit(f"{arguments.model}: expected one checkpoint, found {len(checkpoints)}")
    notes = {"steps": " ".join(str(checkpoint["counters"]["step"]) for checkpoint in checkpoints)}
    if arguments.model == "embedder":
        embedder = MobileFaceNet(arguments.activation)
        embedder.load_state_dict(stored["average"])
        differences = export_embedder(embedder, arguments.out, notes)
    elif arguments.model == "scrfd":
        scrfd = SCRFD()
        scrfd.load_state_dict(stored["average"])
        differences = export_scrfd(scrfd, arguments.out, notes)
    elif arguments.model in ATTRIBUTE_NETWORKS:
        make, values = ATTRIBUTE_NETWORKS[arguments.model]
        attributes = make()
        LatePart(attributes, 0).load_state_dict(stored["average"])
        differences = export_attributes(attributes, values, arguments.out, notes)
    else:
        differences = export_detector(detector_of(checkpoints), arguments.out, notes)
    log.info(
        "%s: %d bytes, largest difference from PyTorch %s", arguments.out, arguments.out.stat().st_size, differences
    )
    if max(differences.values()) > TOLERANCE:
        raise SystemExit("the exported file does not compute what the network computes")


if __name__ == "__main__":
    main()
