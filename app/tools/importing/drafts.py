"""What a file will become: an ONNX network, its facts for the catalogue, and the reference to compare it with."""

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
from app.models.entry import MY_MODELS, ModelEntry, sha256_of
from app.tools.importing.architectures import (
    Architecture,
    as_trained_in_mxnet,
    matching_architecture,
    retinaface_on_mobilenet,
)
from app.tools.importing.checkpoint import read_checkpoint
from app.tools.importing.known_networks import (
    KnownNetwork,
    MatchedBy,
    contradictions,
    described_facts,
    facts_text,
    plain_number,
    takes_plain_pixels,
)
from app.tools.importing.measuring import fit_of_statistics, fitting_better
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
from app.tools.importing.references import numpy_outputs, torch_outputs
from app.tools.importing.weights import Weights
from app.tools.importing.wts import is_mxnet, read_wts, with_pytorch_names
from app.tools.machine import require_packages
from app.types import MessageCallback
from app.vision.detector import MIN_FIXED_SIDE
from app.vision.model_outputs import DETECTOR_FAMILIES, FamilyMatch, detect_family

USUAL_SLOPE = 0.1
"""The slope of LeakyReLU in the implementation that most RetinaFace checkpoints come from."""

MEASURED = ("threshold", "min_score")
"""Facts that were measured for certain weights, and are not valid for others in the same architecture."""

COMPARED_SIZE = (128, 96)
"""Width and height of the pictures for comparing networks with dynamic size."""


@dataclass(frozen=True)
class ImportOptions:
    """The options of the user."""

    name: str = ""
    family: str = ""
    like: str = ""
    """The catalogue entry with the facts that are not in the file; empty: found by the name of the file."""
    slope: Optional[float] = None
    """Slope of RetinaFace's activation; None: measured."""
    batch: Optional[int] = None
    """A number, `onnx_file.FREE`, or None to leave it unchanged."""
    size: Optional[Tuple[int, int]] = None
    """Width and height, `onnx_file.FREE_SIZE`, or None to leave them unchanged."""
    licence: str = ""
    replace: bool = False


@dataclass(frozen=True)
class Draft:
    """A network before it is checked and installed."""

    title: str
    content: bytes
    """The network as ONNX."""
    task: str
    family: str
    facts: Dict[str, Any]
    """Facts for the catalogue entry, with its keys."""
    compared_with: str
    reference: Optional[Callable[[np.ndarray], Mapping[str, np.ndarray]]]
    """Computes the outputs of the original; None for ONNX files, which are compared with the original file."""
    remarks: List[str] = field(default_factory=list)
    unsure: Tuple[str, ...] = ()
    """Facts that are usual values, not known ones."""
    scales_inside: bool = False
    """The network itself subtracts the mean and scales."""
    known: Optional[ModelEntry] = None
    """The catalogue entry from which facts were taken."""


def with_known_facts(path: Path, draft: Draft, known: Optional[KnownNetwork], on_message: MessageCallback) -> Draft:
    """Adds the facts of the catalogue entry, unless the file shows that it is another network."""
    if known is None:
        return draft
    entry = known.entry
    differences = "; ".join(contradictions(entry, draft.task, draft.family, draft.facts))
    by_user = known.matched_by is MatchedBy.USER
    if differences and by_user:
        raise ModelError(f"{path}: this is not {entry.name}: {differences}")
    if differences:
        on_message(f"its name is that of {entry.name} in the catalogue, but {differences}: no facts taken from there")
        return draft
    certain: Tuple[str, ...] = ("mean", "divisor") if draft.scales_inside else ()
    # From weights alone, a network is written without mean and scale.
    if draft.reference is not None and (takes_plain_pixels(entry) or not by_user):
        certain = ("channels", "mean", "divisor")
    facts = {key: value for key, value in described_facts(entry).items() if key not in certain}
    if known.matched_by is MatchedBy.NAME and entry.sha256:
        facts = {key: value for key, value in facts.items() if key not in MEASURED}
        taken = f"only {facts_text(facts)}" if facts else "no facts"
        on_message(f"its name is that of {entry.name} in the catalogue, but the file differs: {taken} taken from there")
        return dataclasses.replace(draft, facts={**draft.facts, **facts}, unsure=())
    facts = {**draft.facts, **facts}
    if by_user and entry.sha256 and sha256_of(path) != entry.sha256:
        on_message(f"like {entry.name}, as requested: {facts_text(facts)}; other weights, so its licence is not theirs")
        return dataclasses.replace(draft, facts=facts, unsure=())
    is_own = entry.source_file.name == MY_MODELS
    origin = MY_MODELS if is_own else "the catalogue"
    on_message(f"identified as {entry.name} of {origin}, {known.matched_by}: {facts_text(facts)}; {entry.licence_text}")
    remarks = [*draft.remarks, *([entry.notes] if entry.notes and not (is_own or by_user) else [])]
    return dataclasses.replace(draft, facts=facts, remarks=remarks, unsure=(), known=entry)


def draft_from_checkpoint(path: Path, options: ImportOptions, on_message: MessageCallback) -> Draft:
    require_packages("this import", "onnx", "torch")
    arrays = read_checkpoint(path)
    architecture = _with_activation(path, matching_architecture(path, arrays), arrays, options, on_message)

    def reference(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return torch_outputs(architecture, Weights(arrays), images)

    return _draft(architecture, arrays, "PyTorch", reference)


def draft_from_wts(path: Path, options: ImportOptions, on_message: MessageCallback) -> Draft:
    require_packages("this import", "onnx")
    arrays = read_wts(path)
    from_mxnet = is_mxnet(arrays)
    if from_mxnet:
        arrays = with_pytorch_names(path, arrays)
    architecture = _with_activation(path, matching_architecture(path, arrays), arrays, options, on_message)
    if from_mxnet:
        architecture = as_trained_in_mxnet(architecture)

    def reference(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return numpy_outputs(architecture, Weights(arrays), images)

    return _draft(architecture, arrays, "the same weights in NumPy", reference)


def require_known_family(family: str) -> None:
    known = dict.fromkeys((*DETECTOR_FAMILIES, "arcface", "mask", *(match.family for match in _BY_SIZES.values())))
    if family and family not in known:
        raise ModelError(f"unknown family {family!r}; known: {', '.join(known)}")


def _with_activation(
    path: Path,
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    options: ImportOptions,
    on_message: MessageCallback,
) -> Architecture:
    """Decides about the activation, if the names of the weights do not show it."""
    if options.family not in ("", architecture.family):
        raise ModelError(f"{path}: this is not a {options.family} network, it is {architecture.family}")
    if architecture.name != "retinaface_mnet025":
        if options.slope is not None:
            raise ModelError(f"--activation is only for RetinaFace on MobileNet; this is {architecture.title}")
        return architecture
    fits = {slope: fit_of_statistics(retinaface_on_mobilenet(slope), arrays) for slope in (0.0, USUAL_SLOPE)}
    figures = f"ReLU {fits[0.0]:.2f}, LeakyReLU {fits[USUAL_SLOPE]:.2f}; smaller is better"
    slope = fitting_better(fits)
    if options.slope is not None:
        if slope is not None and slope != options.slope:
            on_message(f"warning: the other activation matches the weights better ({figures})")
        return retinaface_on_mobilenet(options.slope)
    if slope is None:
        on_message(
            f"activation: LeakyReLU 0.1, the default; the statistics of the normalisations are ambiguous ({figures}). "
            "If the network finds no faces: --activation relu"
        )
        return retinaface_on_mobilenet(USUAL_SLOPE)
    chosen = "ReLU" if slope == 0 else "LeakyReLU 0.1"
    on_message(f"activation: {chosen}, according to the statistics of the normalisations ({figures})")
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


def draft_from_onnx(path: Path, options: ImportOptions) -> Draft:
    model = load_onnx(path)
    input_shape(model)
    converted, remark = with_old_opset(model)
    converted = with_named_sides(converted)
    engine = OnnxEngine(path, unchanged=True)
    engine.close()
    inputs = engine.inputs
    if options.size not in (None, FREE_SIZE) and len(inputs) == 1 and len(inputs[0].shape) == 4:
        shape = (*inputs[0].shape[:2], options.size[1], options.size[0])
        inputs = (dataclasses.replace(inputs[0], shape=shape),)
    match = _one_match(path, inputs, engine.outputs, options.family)
    size = options.size or engine.inputs[0].shape[:1:-1]
    if match.task == "detection" and any(side and side < MIN_FIXED_SIDE for side in size):
        raise ModelError(
            f"{path}: this detector would have a fixed input of {' x '.join(map(str, size))} pixels, too small to find "
            f"faces; use a dynamic size (--size free --batch dynamic), or at least {MIN_FIXED_SIDE}x{MIN_FIXED_SIDE}"
        )
    facts = facts_for(model, match.facts)
    remarks = [remark] if remark else []
    unsure = tuple(key for key in match.unsure if key != "min_sizes" and facts[key] == match.facts[key])
    scales = scales_inside(model)
    is_rewritten = rewrite_prelu(converted) > 0
    return Draft(
        f"{match.family} ({match.task})",
        converted.SerializeToString() if is_rewritten or converted is not model else path.read_bytes(),
        match.task,
        match.family,
        facts,
        "the original file",
        None,
        remarks,
        unsure,
        scales,
    )


_RAW = {"channels": "rgb", "mean": [0, 0, 0], "divisor": 1}
_BY_SIZES: Dict[Tuple[Optional[int], Optional[int]], FamilyMatch] = {
    (96, 3): FamilyMatch("attributes", "gender_age", {**_RAW, "crop": [96, 96]}),
    (112, 202): FamilyMatch("attributes", "gender_age", {**_RAW, "crop": [112, 112], "enlarge": 0}),
    (192, 212): FamilyMatch("landmarks", "landmarks106", {**_RAW, "crop": [192, 192]}),
    (80, 3): FamilyMatch("antispoof", "antispoof", {**_RAW, "channels": "bgr", "crop": [80, 80]}),
}
"""Networks for single faces, by the side of the input and the length of the only output. No embedder has one of these
lengths."""

_MASK_SIDES = (112, 224)
_MASK_PIXELS = {"channels": "bgr", "mean": [127.5, 127.5, 127.5], "divisor": 127.5}
"""Mask classifiers have two outputs, as any other binary classifier: their name has to contain `mask`."""

_NOT_SUPPORTED = {(192, 3309): "68 landmarks in three dimensions are not supported"}


def _one_match(path: Path, inputs: Tuple[TensorSpec, ...], outputs: Tuple[TensorSpec, ...], family: str) -> FamilyMatch:
    """The only possible family, or the one that the user asks for."""
    found = list(detect_family(inputs, outputs))
    advice = "an embedder with a dynamic input size is recognised if you fix it: --size 112x112"
    if len(outputs) == 1 and len(inputs) == 1 and len(inputs[0].shape) == 4:
        # Height of square pictures, with the three channels before or after height and width.
        side = inputs[0].shape[2 if inputs[0].shape[3] == 3 else 3]
        sizes = (side, outputs[0].shape[-1] if outputs[0].shape else None)
        if sizes in _NOT_SUPPORTED:
            raise ModelError(f"{path}: {_NOT_SUPPORTED[sizes]}")
        if sizes in _BY_SIZES:
            found = [_BY_SIZES[sizes]]
        if sizes[0] in _MASK_SIDES and sizes[1] == 2:
            names = (path.stem, inputs[0].name, outputs[0].name)
            if family == "mask" or any("mask" in name.lower() for name in names):
                facts = {**_MASK_PIXELS, "crop": [sizes[0], sizes[0]]}
                found = [FamilyMatch("attributes", "mask", facts, tuple(_MASK_PIXELS))]
            advice = "if it is a mask classifier: --family mask"
    fitting = [match for match in found if family in ("", match.family)]
    if len(fitting) == 1:
        return fitting[0]
    shapes = f"inputs {', '.join(map(str, inputs))}; outputs {', '.join(map(str, outputs))}"
    if fitting:
        raise ModelError(
            f"{path}: possible families are {', '.join(match.family for match in fitting)}: choose one with --family"
            f"\n  {shapes}"
        )
    if found:
        likely = " or ".join(match.family for match in found)
        raise ModelError(f"{path}: this is not a {family} network, it looks like {likely}\n  {shapes}")
    raise ModelError(f"{path}: the family of this network is not known (docs/families.md)\n  {shapes}\n  {advice}")
