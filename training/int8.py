"""Writes a detector in int8 for processors: ONNX Runtime and OpenVINO on a processor with VNNI.

    python -m training.int8 retinaface_mnet025 --data DIR --out engines/retinaface_mnet025_int8.onnx

Ranges are measured on every third training crowd of `DIR/crowds`, as the program shows them to the network. Channels
are balanced before (app/inference/balancing.py). In fp32 stay the first layers, which have too few channels to gain
anything, and the last ones, whose numbers are the result. TensorRT takes other files: it measures ranges itself.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

import cv2
import numpy as np
import onnx
from onnx import helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from app.inference.balancing import balance_channels
from app.inference.int8 import last_layers
from app.models.loading import ModelLoader
from app.settings.reader import load_settings
from training.files import replace_atomically
from training.scene_list import training_crowds

log = logging.getLogger(__name__)

SIZES = (320, 640)
"""Longer sides of the calibration pictures: a crowd's faces at twice the size make other ranges."""
EVERY = 3
FIRST_LAYERS = 2
"""In int8 ONNX Runtime takes longer for a layer of 3 or 8 channels than in fp32."""
MADE_FROM = "made_from_sha256"


def calibration_inputs(loader: ModelLoader, data: Path) -> Iterator[np.ndarray]:
    """Network inputs (1 × 3 × H × W), one a picture and size."""
    pictures = sorted(str(path) for path in (data / "crowds").glob("*.jpg"))
    for size in SIZES:
        detection = dataclasses.replace(loader.settings.detection, input_size=size)
        sized = ModelLoader(dataclasses.replace(loader.settings, detection=detection))
        with contextlib.closing(sized.open_detector()) as detector:
            for path in training_crowds(pictures)[::EVERY]:
                picture = cv2.imread(path)
                scale = size / max(picture.shape[:2])
                yield detector.prepare([cv2.resize(picture, None, fx=scale, fy=scale)]).tensors[0].copy()


def layers_in_fp32(model: onnx.ModelProto, first: int = FIRST_LAYERS) -> List[str]:
    """The first convolutions with their ReLUs; the last layers and what follows them."""
    nodes = model.graph.node
    kept: Set[str] = set(last_layers(model))
    results = {name for node in nodes if node.name in kept for name in node.output}
    beginnings = [node for node in nodes if node.op_type == "Conv"][:first]
    begun = {name for node in beginnings for name in node.output}
    for node in nodes:
        if results & set(node.input):
            results |= set(node.output)
            kept.add(node.name)
        if node in beginnings or (node.op_type == "Relu" and node.input[0] in begun):
            kept.add(node.name)
    return sorted(kept)


class Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, inputs: Iterator[np.ndarray]) -> None:
        self._name, self._inputs = name, inputs

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        given = next(self._inputs, None)
        return None if given is None else {self._name: given}


def int8_model(source: Path, inputs: Iterator[np.ndarray]) -> onnx.ModelProto:
    """The network with int8 weights (a range a channel) and uint8 feature maps (a range a map, not symmetric)."""
    with tempfile.TemporaryDirectory() as folder:
        plain, target = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)
        model = onnx.load(str(plain))
        name_nodes(model)
        balance_channels(model)
        onnx.save(model, str(plain))
        quantization.quantize_static(
            str(plain),
            str(target),
            Inputs(model.graph.input[0].name, inputs),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=layers_in_fp32(model),
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"WeightSymmetric": True},
        )
        return onnx.load(str(target))


def name_nodes(model: onnx.ModelProto) -> None:
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"


def main(words: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.int8", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name of a detector in the catalogue")
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write (replaced atomically)")
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="settings file that names the catalogue"
    )
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    cv2.setNumThreads(1)
    settings = load_settings(arguments.config)
    models: Dict[str, Any] = {"detector": arguments.model, "backend": "onnx", "precision": "fp32"}
    loader = ModelLoader(dataclasses.replace(settings, models=dataclasses.replace(settings.models, **models)))
    entry = loader.detector_entry
    model = int8_model(loader.verified_file(entry), calibration_inputs(loader, arguments.data))
    model.producer_name, model.producer_version = "training.int8", ""
    helper.set_model_props(model, {MADE_FROM: entry.sha256})
    with replace_atomically(arguments.out) as stream:
        stream.write(model.SerializeToString())
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
