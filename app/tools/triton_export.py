"""Model repositories for NVIDIA's Triton: networks that take pictures of faces as they are, and how to serve them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from app.errors import ModelError, OutputError
from app.files import make_folder, write_text, write_whole
from app.inference.engine import TensorSpec
from app.inference.host import importing
from app.inference.onnx import OnnxEngine
from app.inference.remote.network import MAX_BATCH
from app.inference.remote.right_model import INPUT
from app.models.entry import ModelEntry
from app.models.remote import known_pictures
from app.vision.face_network import FaceNetwork
from app.vision.preprocessing import FaceInput

MIN_COSINE = 0.9999
PREFERRED_BATCHES = (4, 8, 16)
QUEUE_DELAY_US = 2000
"""How long Triton lets a request wait for others of other devices."""

_TRITON_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8", "int64": "TYPE_INT64"}
_WITHOUT_INPUTS = 4
"""The first version of the format that does not list constants as inputs."""


def export_model(entry: ModelEntry, folder: Path, use_tensorrt: bool = False) -> Path:
    """Writes `folder`/NAME with `config.pbtxt` and `1/model.onnx`, and compares its answers with those of the original.

    Raises ModelError, and OutputError for a folder that exists.
    """
    target = folder / entry.name
    if target.exists():
        raise OutputError(f"{target} exists already; delete it, or choose another folder")
    if entry.task == "detection":
        raise ModelError(f"{entry.name} is a detector: only networks that take pictures of one face can be exported")
    source = entry.verified_file()
    model = with_pixels(source, entry.face_input)
    with contextlib.ExitStack() as failed:
        failed.callback(shutil.rmtree, target, ignore_errors=True)
        try:
            make_folder(target / "1")
            path = target / "1" / "model.onnx"
            write_whole(path, model)
            outputs = _compared(source, path, entry.face_input)
            write_text(target / "config.pbtxt", config(entry, outputs, use_tensorrt))
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
        failed.pop_all()
    return target


def with_pixels(path: Path, face: FaceInput) -> bytes:
    """The network with its preprocessing inside: the input is N x H x W x 3, uint8, BGR."""
    with importing("onnx", "onnx"):
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    model = onnx.load(path)
    graph = model.graph
    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    width, height = face.crop
    sides = [_side(dim) for dim in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    planes_first = sides[1:] == [3, height, width]
    if not planes_first and sides[1:] != [height, width, 3]:
        raise ModelError(f"{path}: expected one input of ? x 3 x {height} x {width}")
    if sides[0] is not None:
        raise ModelError(
            f"{path}: takes {sides[0]} pictures at once, no more and no less; Triton batches networks of any number: "
            "import it again with --batch dynamic"
        )
    (old,) = inputs
    preprocessing = face.preprocessing
    added: Dict[str, np.ndarray] = {
        "order": np.array([2, 1, 0] if preprocessing.channels == "rgb" else [0, 1, 2], np.int64),
        "mean": np.array(preprocessing.mean, np.float32),
        "scale": np.array(1 / preprocessing.divisor, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"{INPUT}.{name}") for name, value in added.items())
    steps: List[Tuple[str, List[str], str, Dict[str, Any]]] = [
        ("Gather", [INPUT, f"{INPUT}.order"], "ordered", {"axis": 3}),
        ("Cast", [f"{INPUT}.ordered"], "real", {"to": TensorProto.FLOAT}),
        ("Sub", [f"{INPUT}.real", f"{INPUT}.mean"], "centred", {}),
        ("Mul", [f"{INPUT}.centred", f"{INPUT}.scale"], "scaled", {}),
        ("Transpose", [f"{INPUT}.scaled"], "last", {"perm": [0, 3, 1, 2] if planes_first else [0, 1, 2, 3]}),
    ]
    nodes = [
        helper.make_node(operator, sources, [old.name if name == "last" else f"{INPUT}.{name}"], **attributes)
        for operator, sources, name, attributes in steps
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    graph.input.remove(old)
    graph.input.insert(0, helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", height, width, 3]))
    model.ir_version = max(model.ir_version, _WITHOUT_INPUTS)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def config(entry: ModelEntry, outputs: Sequence[TensorSpec], use_tensorrt: bool) -> str:
    """The `config.pbtxt` of a model."""
    width, height = entry.crop
    written = ",\n".join(
        f'  {{\n    name: "{output.name}"\n    data_type: {_TRITON_TYPES[output.dtype.name]}\n'
        f"    dims: [ {', '.join(str(-1 if side is None else side) for side in output.shape[1:])} ]\n  }}"
        for output in outputs
    )
    accelerator = f"""optimization {{
  execution_accelerators {{
    gpu_execution_accelerator: [
      {{
        name: "tensorrt"
        parameters {{ key: "precision_mode" value: "FP16" }}
        parameters {{ key: "trt_engine_cache_enable" value: "true" }}
        parameters {{ key: "trt_engine_cache_path" value: "/tmp/{entry.name}" }}
      }}
    ]
  }}
}}
"""
    return f"""# Made from {entry.name}, sha256 {entry.sha256}; licence: {entry.licence_text}.
# Takes aligned faces as they are: H x W x 3, uint8, BGR.
name: "{entry.name}"
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [
  {{
    name: "{INPUT}"
    data_type: TYPE_UINT8
    dims: [ {height}, {width}, 3 ]
  }}
]
output [
{written}
]
dynamic_batching {{
  preferred_batch_size: [ {", ".join(map(str, PREFERRED_BATCHES))} ]
  max_queue_delay_microseconds: {QUEUE_DELAY_US}
}}
instance_group [
  {{
    count: 1
    kind: {"KIND_GPU" if use_tensorrt else "KIND_AUTO"}
  }}
]
{accelerator if use_tensorrt else ""}"""


def _compared(source: Path, exported: Path, face: FaceInput) -> Sequence[TensorSpec]:
    """The outputs of the exported network. Raises ModelError if its answers are not those of the original."""
    pictures = known_pictures(face.crop)
    original, made = OnnxEngine(source, threads=1), OnnxEngine(exported, threads=1)
    try:
        width, height = face.crop
        plain = FaceNetwork.prepared(pictures, face.preprocessing, original.inputs[0].shape[1:] == (height, width, 3))
        (first,) = original.inputs
        for name, expected in original.run({first.name: plain}).items():
            answers = made.run({INPUT: pictures})[name]
            lengths = np.linalg.norm(answers) * np.linalg.norm(expected)
            cosine = float((answers * expected).sum() / max(lengths, 1e-12))
            if cosine < MIN_COSINE:
                raise ModelError(f"{exported}: {name} differs from the original's: cosine {cosine:.5f}")
        return made.outputs
    finally:
        original.close()
        made.close()


def _side(dim: Any) -> Any:
    """None for a size that is free."""
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
