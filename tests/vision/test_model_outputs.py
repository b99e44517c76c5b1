"""The family of a network is detected by the names and shapes of its inputs and outputs."""

import numpy as np
import pytest
from shipped import ROOT

from app.inference.engine import TensorSpec
from app.inference.onnx import OnnxEngine
from app.vision.model_outputs import DETECTOR_FAMILIES, detect_family

FLOAT = np.dtype(np.float32)
ANY = (TensorSpec("data", (None, 3, None, None), FLOAT),)


def specs(shapes):
    return tuple(TensorSpec(name, shape, FLOAT) for name, shape in shapes)


def numbered(*shapes):
    return specs((str(440 + number), shape) for number, shape in enumerate(shapes))


def maps(*channels):
    return numbered(*[(1, count, side, side) for count in channels for side in (80, 40, 20)])


def flat(*values, rank=3):
    return numbered(*[(1, rows, count)[3 - rank :] for count in values for rows in (12800, 3200, 800)])


MXNET_NAMES = (
    "face_rpn_cls_prob_reshape_stride{}_output",
    "face_rpn_bbox_pred_stride{}_output",
    "face_rpn_landmark_pred_stride{}_output",
)


def nameless_shapes(*names):
    return specs((name.format(stride), ()) for stride in (32, 16, 8) for name in names)


@pytest.mark.parametrize(
    ("outputs", "family"),
    [
        (numbered((1, 16800, 4), (1, 16800, 2), (1, 16800, 10)), "retinaface"),
        (numbered((None, None, 10), (None, None, 2), (None, None, 4)), "retinaface"),
        (specs([("loc", (None, None, None)), ("conf", (None, None, None)), ("landms", ())]), "retinaface"),
        (maps(4, 8, 20), "retinaface_mxnet"),
        (maps(4, 8, 20, 6), "retinaface_mxnet"),
        (nameless_shapes(*MXNET_NAMES), "retinaface_mxnet"),
        (nameless_shapes(*MXNET_NAMES, "face_rpn_type_prob_reshape_stride{}_output"), "retinaface_mxnet"),
        (flat(1, 4, 10), "scrfd"),
        (flat(1, 4, 10, rank=2), "scrfd"),
        (flat(1, 4), "scrfd"),
        (maps(2, 8, 20), "scrfd"),
        (maps(2, 8), "scrfd"),
        (nameless_shapes("bbox_{}", "kps_{}", "score_{}"), "scrfd"),
        (numbered(*[(1, count, 160, 160) for count in (1, 2, 2, 10)]), "centerface"),
        (numbered(*[(None, count, None, None) for count in (1, 2, 2)]), "centerface"),
        (flat(1, 1, 4, 10), "yunet"),
        (nameless_shapes("cls_{}", "obj_{}", "bbox_{}", "kps_{}"), "yunet"),
    ],
)
def test_detectors_are_recognised(outputs, family):
    (match,) = detect_family(ANY, outputs)
    assert (match.task, match.family, match.input_size) == ("detection", family, None)
    assert match.facts["divisor"] == DETECTOR_FAMILIES[family].facts["divisor"]
    assert set(match.unsure) <= set(match.facts)


@pytest.mark.parametrize(
    "outputs",
    [
        numbered((1, 25200, 16)),
        numbered((1, 16800, 4), (1, 16800, 2)),
        maps(4, 8),
        flat(1, 4, 10)[:8],
        (*flat(1, 4, 10), *numbered((1, 7))),
        (),
    ],
    ids=["one table", "no landmarks", "no landmarks, maps", "one missing", "one too many", "nothing"],
)
def test_other_networks_are_not_detectors(outputs):
    assert detect_family(ANY, outputs) == ()


def test_the_landmark_scale_of_networks_with_masks_is_known():
    assert detect_family(ANY, maps(4, 8, 20, 6))[0].facts["landmark_scale"] == 0.2
    assert detect_family(ANY, maps(4, 8, 20))[0].facts["landmark_scale"] == 1


def test_a_fixed_size_is_given_as_width_and_height():
    fixed = (TensorSpec("data", (1, 3, 480, 640), FLOAT),)
    assert detect_family(fixed, maps(4, 8, 20))[0].input_size == (640, 480)


@pytest.mark.parametrize(
    "inputs",
    [
        (TensorSpec("data", (1, 480, 640, 3), FLOAT),),
        (TensorSpec("data", (1, 3, 480, 640), np.dtype(np.uint8)),),
        (*ANY, *ANY),
        (TensorSpec("data", (1, 3), FLOAT),),
    ],
    ids=["channels last", "bytes", "two inputs", "no picture"],
)
def test_networks_without_a_single_image_input_match_no_family(inputs):
    assert detect_family(inputs, maps(2, 8, 20)) == ()


@pytest.mark.parametrize(
    ("size", "output", "dimensions"),
    [((112, 112), (None, 512), 512), ((112, 96), (1, 128), 128), ((112, 112), (1, 512, 1, 1), 512)],
)
def test_embedders_are_recognised(size, output, dimensions):
    (match,) = detect_family((TensorSpec("data", (None, 3, *size), FLOAT),), numbered(output))
    assert (match.task, match.family) == ("embedding", "arcface")
    assert match.facts["crop"] == [size[1], size[0]]
    assert match.facts["dimensions"] == dimensions


@pytest.mark.parametrize("output", [(1, 3), (1, 1), (1, 512, 7, 7)])
def test_other_networks_for_faces_are_not_embedders(output):
    assert detect_family((TensorSpec("data", (1, 3, 112, 112), FLOAT),), numbered(output)) == ()


@pytest.mark.parametrize(
    ("file", "family"),
    [("retinaface_mnet025.onnx", "retinaface"), ("scrfd_500m.onnx", "scrfd"), ("mobilefacenet.onnx", "arcface")],
)
def test_the_built_in_networks_are_recognised(file, family):
    engine = OnnxEngine(ROOT / "engines" / file, threads=1)
    assert [match.family for match in detect_family(engine.inputs, engine.outputs)] == [family]
    engine.close()
