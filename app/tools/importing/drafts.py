"""What a file is going to become: a network, what the catalogue will say of it, and what it has to agree with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import TensorSpec
from app.inference.onnx import OnnxEngine
from app.inference.rewriting import rewrite_prelu
from app.models.entry import MY_MODELS, ModelEntry
from app.tools.importing.architectures import Architecture, as_trained_in_mxnet, retinaface_on_mobilenet
from app.tools.importing.checkpoint import read_checkpoint
from app.tools.importing.fitting import fitting_architecture
from app.tools.importing.known_networks import (
    How,
    Known,
    contradictions,
    described_facts,
    in_words,
    plain_number,
    takes_plain_pixels,
)
from app.tools.importing.measuring import fit_of_statistics, fitting_better
from app.tools.importing.numpy_reference import numpy_outputs
from app.tools.importing.onnx_file import (
    FREE_SIZE,
    facts_for,
    input_shape,
    load_onnx,
    scales_inside,
    with_named_sides,
    with_old_opset,
)
from app.tools.importing.onnx_writer import write_onnx
from app.tools.importing.packages import require_packages
from app.tools.importing.torch_reference import torch_outputs
from app.tools.importing.weights import Weights
from app.tools.importing.wts import is_mxnet, named_as_in_pytorch, read_wts
from app.vision.detector import MIN_FIXED_SIDE
from app.vision.model_outputs import DETECTOR_FAMILIES, FamilyMatch, detect_family

Report = Callable[[str], None]

WIDESPREAD_SLOPE = 0.1
"""Of the implementation from which most RetinaFace checkpoints descend."""

MEASURED = ("threshold", "min_score")
"""Facts that hold for weights that were measured, not for others in the same architecture."""

COMPARED_SIZE = (128, 96)
"""Width and height of the pictures on which networks of any size are compared."""


@dataclass(frozen=True)
class Wishes:
    """What the user asks for beyond what the file says."""

    name: str = ""
    family: str = ""
    like: str = ""
    """The catalogue's entry that tells what the file does not; empty: the one after which the file is called."""
    slope: Optional[float] = None
    """Of RetinaFace's activation; None: measured."""
    batch: Optional[int] = None
    """`onnx_file.FREE`, a number, or None: as the file has it."""
    size: Optional[Tuple[int, int]] = None
    """Width and height, `onnx_file.FREE_SIZE`, or None: as the file has it."""
    licence: str = ""
    replace: bool = False


@dataclass(frozen=True)
class Draft:
    title: str
    content: bytes
    """The network as ONNX."""
    task: str
    family: str
    facts: Dict[str, Any]
    """Of the catalogue entry, in its own keys."""
    compared_with: str
    reference: Optional[Callable[[np.ndarray], Mapping[str, np.ndarray]]]
    """What the original answers; None for ONNX files, which are compared with themselves as they were."""
    remarks: List[str] = field(default_factory=list)
    unsure: Tuple[str, ...] = ()
    """Facts that are only usual."""
    scales_inside: bool = False
    """Mean and scale are seen to be part of the network."""
    known: Optional[ModelEntry] = None
    """The catalogue's entry from which facts were taken."""

    @property
    def is_written_here(self) -> bool:
        """From weights alone, so that mean and scale are not part of it."""
        return self.reference is not None


def with_known_facts(path: Path, draft: Draft, known: Optional[Known], report: Report) -> Draft:
    """The draft with what the catalogue says of this network, unless the file shows that it is another one."""
    if known is None:
        return draft
    entry = known.entry
    differences = "; ".join(contradictions(entry, draft.task, draft.family, draft.facts))
    if differences and known.is_said:
        raise ModelError(f"{path}: this is not {entry.name}: {differences}")
    if differences:
        report(f"it is called like {entry.name} of the catalogue, but {differences}: nothing is taken from there")
        return draft
    is_another_file = known.how is How.NAMED and bool(entry.sha256)
    sure: Tuple[str, ...] = ("mean", "divisor") if draft.scales_inside else ()
    if draft.is_written_here and (takes_plain_pixels(entry) or not known.is_said):
        sure = ("channels", "mean", "divisor")
    facts = {key: value for key, value in described_facts(entry).items() if key not in sure}
    if is_another_file:
        facts = {key: value for key, value in facts.items() if key not in MEASURED}
        told = f"only {in_words(facts)}" if facts else "nothing"
        report(f"it is called like {entry.name} of the catalogue, but is another file: {told} is taken from there")
        return dataclasses.replace(draft, facts={**draft.facts, **facts}, unsure=())
    facts = {**draft.facts, **facts}
    is_own = entry.source_file.name == MY_MODELS
    whose = MY_MODELS if is_own else "the catalogue"
    report(f"taken for {entry.name} of {whose}, {known.how}: {in_words(facts)}; {entry.licence_text}")
    remarks = [*draft.remarks, *([entry.notes] if entry.notes and not is_own else [])]
    return dataclasses.replace(draft, facts=facts, remarks=remarks, unsure=(), known=entry)


def draft_from_checkpoint(path: Path, wishes: Wishes, report: Report) -> Draft:
    require_packages("onnx", "torch")
    arrays = read_checkpoint(path)
    architecture = _settled(path, fitting_architecture(path, arrays), arrays, wishes, report)

    def reference(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return torch_outputs(architecture, Weights(arrays), images)

    return _draft(architecture, arrays, "PyTorch", reference)


def draft_from_wts(path: Path, wishes: Wishes, report: Report) -> Draft:
    require_packages("onnx")
    arrays = read_wts(path)
    from_mxnet = is_mxnet(arrays)
    if from_mxnet:
        arrays = named_as_in_pytorch(path, arrays)
    architecture = _settled(path, fitting_architecture(path, arrays), arrays, wishes, report)
    if from_mxnet:
        architecture = as_trained_in_mxnet(architecture)

    def reference(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return numpy_outputs(architecture, Weights(arrays), images)

    return _draft(architecture, arrays, "the same weights in NumPy", reference)


def require_known_family(family: str) -> None:
    by_sizes = (likeness.family for likeness in _BY_SIZES.values())
    known = dict.fromkeys((*DETECTOR_FAMILIES, "arcface", "mask", *by_sizes))
    if family and family not in known:
        raise ModelError(f"there is no family {family!r} that can be imported; there are {', '.join(known)}")


def _settled(
    path: Path, architecture: Architecture, arrays: Mapping[str, np.ndarray], wishes: Wishes, report: Report
) -> Architecture:
    """With the activation decided, where the weights' names leave it open."""
    if wishes.family not in ("", architecture.family):
        raise ModelError(f"{path}: this is no {wishes.family} network, it is {architecture.family}")
    if architecture.name != "retinaface_mnet025":
        if wishes.slope is not None:
            raise ModelError(f"--activation is for RetinaFace on MobileNet; this is {architecture.title}")
        return architecture
    fits = {slope: fit_of_statistics(retinaface_on_mobilenet(slope), arrays) for slope in (0.0, WIDESPREAD_SLOPE)}
    figures = f"ReLU {fits[0.0]:.2f}, LeakyReLU {fits[WIDESPREAD_SLOPE]:.2f}; the smaller, the better"
    slope = fitting_better(fits)
    if wishes.slope is not None:
        if slope is not None and slope != wishes.slope:
            report(
                f"warning: the activation is taken as you say, but the other one fits the weights better ({figures})"
            )
        return retinaface_on_mobilenet(wishes.slope)
    if slope is None:
        report(
            f"activation: what the normalisations remember of the training does not decide it ({figures}); LeakyReLU "
            "0.1, the usual one, is taken. If the network finds no faces: --activation relu"
        )
        return retinaface_on_mobilenet(WIDESPREAD_SLOPE)
    chosen = "ReLU" if slope == 0 else "LeakyReLU 0.1"
    report(f"activation: {chosen}, by what the normalisations remember of the training ({figures})")
    return retinaface_on_mobilenet(slope)


def _draft(
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    compared_with: str,
    reference: Callable[[np.ndarray], Mapping[str, np.ndarray]],
) -> Draft:
    facts: Dict[str, Any] = {
        "channels": architecture.channels,
        "mean": [plain_number(value) for value in architecture.mean],
        "divisor": plain_number(architecture.divisor),
    }
    if architecture.crop is not None:
        facts.update(crop=list(architecture.crop), dimensions=architecture.dimensions)
    model = write_onnx(architecture, Weights(arrays))
    rewrite_prelu(model)
    content = model.SerializeToString()
    return Draft(architecture.title, content, architecture.task, architecture.family, facts, compared_with, reference)


def draft_from_onnx(path: Path, wishes: Wishes) -> Draft:
    model = load_onnx(path)
    input_shape(model)
    converted, remark = with_old_opset(model)
    converted = with_named_sides(converted)
    engine = OnnxEngine(path, as_it_is=True)
    engine.close()
    likeness = _one_match(path, _with_size(engine.inputs, wishes.size), engine.outputs, wishes.family)
    if likeness.task == "detection":
        _require_useful_size(path, wishes.size or engine.inputs[0].shape[:1:-1])
    facts = facts_for(model, likeness.facts)
    remarks = [remark] if remark else []
    unsure = tuple(key for key in likeness.unsure if key != "min_sizes" and facts[key] == likeness.facts[key])
    scales = scales_inside(model)
    is_rewritten = rewrite_prelu(converted) > 0
    return Draft(
        f"{likeness.family} ({likeness.task})",
        converted.SerializeToString() if is_rewritten or converted is not model else path.read_bytes(),
        likeness.task,
        likeness.family,
        facts,
        "the file as it was",
        None,
        remarks,
        unsure,
        scales,
    )


def _with_size(inputs: Tuple[TensorSpec, ...], size: Optional[Tuple[int, int]]) -> Tuple[TensorSpec, ...]:
    """The inputs as they will be once the picture's size is fixed."""
    if size in (None, FREE_SIZE) or len(inputs) != 1 or len(inputs[0].shape) != 4:
        return inputs
    return (dataclasses.replace(inputs[0], shape=(*inputs[0].shape[:2], size[1], size[0])),)


def _require_useful_size(path: Path, size: Tuple[Optional[int], ...]) -> None:
    if any(side and side < MIN_FIXED_SIDE for side in size):
        raise ModelError(
            f"{path}: this detector would be fixed to pictures of {' x '.join(map(str, size))} pixels, too small to "
            "find faces in; import it for pictures of any size: --size free --batch dynamic, or of at least "
            f"{MIN_FIXED_SIDE}x{MIN_FIXED_SIDE}"
        )


_RAW = {"channels": "rgb", "mean": [0, 0, 0], "divisor": 1}
_BY_SIZES: Dict[Tuple[Optional[int], Optional[int]], FamilyMatch] = {
    (96, 3): FamilyMatch("attributes", "gender_age", {**_RAW, "crop": [96, 96]}),
    (112, 202): FamilyMatch("attributes", "gender_age", {**_RAW, "crop": [112, 112], "enlarge": 0}),
    (192, 212): FamilyMatch("landmarks", "landmarks106", {**_RAW, "crop": [192, 192]}),
    (80, 3): FamilyMatch("antispoof", "antispoof", {**_RAW, "channels": "bgr", "crop": [80, 80]}),
}
"""Networks that look at a face that was found: by the input's side and the length of the only output. One of them could
also pass for an embedder, but none of those has that length."""

_MASK_SIDES = (112, 224)
_MASK_PIXELS = {"channels": "bgr", "mean": [127.5, 127.5, 127.5], "divisor": 127.5}
"""Networks that tell masks give two numbers, as any other that tells two kinds apart: so they have to be called so."""

_KNOWN_BUT_NOT_USED = {(192, 3309): "68 landmarks in three dimensions, which this program has no use for"}


def _one_match(path: Path, inputs: Tuple[TensorSpec, ...], outputs: Tuple[TensorSpec, ...], family: str) -> FamilyMatch:
    """The only family that it can be, or the one that the user says."""
    found = list(detect_family(inputs, outputs))
    advice = "an embedder whose input size is free is recognised when it is given one: --size 112x112"
    if len(outputs) == 1 and len(inputs) == 1 and len(inputs[0].shape) == 4:
        sizes = (_side(inputs[0]), outputs[0].shape[-1] if outputs[0].shape else None)
        if sizes in _KNOWN_BUT_NOT_USED:
            raise ModelError(f"{path}: {_KNOWN_BUT_NOT_USED[sizes]}")
        if sizes in _BY_SIZES:
            found = [_BY_SIZES[sizes]]
        if sizes[0] in _MASK_SIDES and sizes[1] == 2:
            names = (path.stem, inputs[0].name, outputs[0].name)
            if family == "mask" or any("mask" in name.lower() for name in names):
                facts = {**_MASK_PIXELS, "crop": [sizes[0], sizes[0]]}
                found = [FamilyMatch("attributes", "mask", facts, tuple(_MASK_PIXELS))]
            advice = "if it tells whether a mask is worn, say so: --family mask"
    fitting = [likeness for likeness in found if family in ("", likeness.family)]
    if len(fitting) == 1:
        return fitting[0]
    shapes = f"inputs {', '.join(map(str, inputs))}; outputs {', '.join(map(str, outputs))}"
    if fitting:
        raise ModelError(
            f"{path}: this can be one of {', '.join(likeness.family for likeness in fitting)}: say which with --family"
            f"\n  {shapes}"
        )
    if found:
        likely = " or ".join(likeness.family for likeness in found)
        raise ModelError(f"{path}: this is no {family} network, it looks like {likely}\n  {shapes}")
    raise ModelError(
        f"{path}: this network is of no family that this program knows (docs/families.md)\n  {shapes}\n  {advice}"
    )


def _side(pictures: TensorSpec) -> Optional[int]:
    """Of square pictures, whether their three planes come before or after height and width."""
    return pictures.shape[2 if pictures.shape[3] == 3 else 3]
