"""Small ONNX networks with outputs chosen by the test: image k gets the k-th outputs."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import yaml
from slow_decoders import STRIDES, Centerface, Dsfd, Retinaface, RetinafaceMxnet, Scrfd, Yunet

from app.models.loading import ModelLoader
from app.settings import DetectionSettings, ModelSettings, Settings
from app.vision.model_outputs import DETECTOR_FAMILIES

RED_OFFSET = 100
"""Picture k has blue k and red k + RED_OFFSET: planes in the wrong order lead to another picture's answers."""


@dataclass(frozen=True)
class Case:
    """One variant of a family's networks."""

    title: str
    family: str
    meaning: object
    names: tuple
    """Of the outputs, with {} where the stride stands, in the graph's order of roles; or numbers."""
    roles: tuple
    maps: bool = False
    without_batch: bool = False
    facts: dict = field(default_factory=dict)

    def __str__(self):
        return self.title

    @property
    def strides(self):
        return STRIDES[self.family]

    def outputs(self, answers):
        """The answers to one picture in the layout of this case, by output name."""
        found = {}
        for role, name in zip(self.roles, self.names):
            by_stride = [self._laid_out(answers, role, stride) for stride in self.strides]
            if self.family == "retinaface":
                found[name] = np.concatenate(by_stride)
            else:
                found.update({name.format(stride): value for stride, value in zip(self.strides, by_stride)})
        return found

    def _laid_out(self, answers, role, stride):
        values = answers[role, stride]
        if role == "mask":
            return values.transpose(3, 2, 0, 1).reshape(-1, *values.shape[:2])
        if self.family == "retinaface" and role == "conf":
            values = np.concatenate([1 - values, values], axis=3)
        if (self.family, role) == ("dsfd", "score"):
            values = np.concatenate([1 - values, values], axis=3)
        if not self.maps:
            return values.reshape(-1, values.shape[3])
        planes = values.transpose(2, 3, 0, 1).reshape(-1, *values.shape[:2])
        return np.concatenate([1 - planes, planes]) if (self.family, role) == ("retinaface_mxnet", "score") else planes


SCRFD_ROLES = ("score", "box", "landmarks")
MXNET_NAMES = (
    "face_rpn_cls_prob_reshape_stride{}",
    "face_rpn_bbox_pred_stride{}",
    "face_rpn_landmark_pred_stride{}",
)
CASES = [
    Case("retinaface", "retinaface", Retinaface(), ("loc", "conf", "landms"), ("loc", "conf", "landms")),
    Case("retinaface numbered", "retinaface", Retinaface(), ("585", "586", "587"), ("loc", "conf", "landms")),
    Case(
        "retinaface without batch", "retinaface", Retinaface(), ("a", "b", "c"), ("loc", "landms", "conf"), False, True
    ),
    Case("mxnet", "retinaface_mxnet", RetinafaceMxnet(), MXNET_NAMES, SCRFD_ROLES, True),
    Case(
        "mxnet with masks, numbered",
        "retinaface_mxnet",
        RetinafaceMxnet(0.2),
        ("1{}", "2{}", "3{}", "4{}"),
        (*SCRFD_ROLES, "mask"),
        True,
        facts={"landmark_scale": 0.2},
    ),
    Case("scrfd", "scrfd", Scrfd(), ("score_{}", "bbox_{}", "kps_{}"), SCRFD_ROLES),
    Case("scrfd numbered, no batch", "scrfd", Scrfd(), ("4{}", "5{}", "6{}"), SCRFD_ROLES, False, True),
    Case("scrfd maps", "scrfd", Scrfd(), ("score_{}", "bbox_{}", "kps_{}"), SCRFD_ROLES, True),
    Case("scrfd maps numbered", "scrfd", Scrfd(), ("bb{}", "kk{}", "ss{}"), ("box", "landmarks", "score"), True),
    Case(
        "centerface",
        "centerface",
        Centerface(),
        ("537", "538", "539", "540"),
        ("score", "scale", "offset", "landmarks"),
        True,
    ),
    Case(
        "yunet",
        "yunet",
        Yunet(),
        ("cls_{}", "obj_{}", "bbox_{}", "kps_{}"),
        ("score", "objectness", "box", "landmarks"),
    ),
]


def dsfd_case(size, names=("loc_{}", "conf_{}")):
    """Without landmarks; its anchors depend on the size of the picture."""
    return Case("dsfd", "dsfd", Dsfd(size), names, ("box", "score"))


def picture(number, size):
    width, height = size
    return np.full((height, width, 3), (number, 50, number + RED_OFFSET), np.uint8)


def write_network(path, outputs, facts, size=(None, None), batch=None, without_batch=False):
    """A network that gives picture k the k-th of `outputs`, a list with one mapping (name to array) a picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shift = facts["mean"][0] - (RED_OFFSET if facts["channels"] == "rgb" else 0)
    constants = {
        "first": [0, 0, 0, 0],
        "behind": [1 if without_batch else 2**31, 1, 1, 1],
        "flat": [] if without_batch else [-1],
    }
    initial = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    numbers = {"divisor": facts["divisor"], "shift": shift, "lowest": 0, "highest": len(outputs) - 1}
    initial += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()]
    nodes = [
        helper.make_node("Slice", ["input", "first", "behind"], ["corner"]),
        helper.make_node("Mul", ["corner", "divisor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Round", ["shifted"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "lowest", "highest"], ["known"]),
        helper.make_node("Cast", ["known"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["whole", "flat"], ["number"]),
    ]
    results = []
    for name in outputs[0]:
        initial.append(numpy_helper.from_array(np.stack([answer[name] for answer in outputs]), f"answers {name}"))
        nodes.append(helper.make_node("Gather", [f"answers {name}", "number"], [name], axis=0))
        shape = outputs[0][name].shape if without_batch else (batch, *outputs[0][name].shape)
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    width, height = size
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, (batch, 3, height, width))
    graph = helper.make_graph(nodes, "planted", [entry], results, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def catalogue_entry(path, family, facts):
    return {
        "task": "detection",
        "family": family,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": "none",
        "source": "planted",
        **facts,
    }


def open_planted(folder, case, answers, size=(None, None), batch=None, family=None, settings=None, backend="onnx"):
    """The detector of this case as a user opens it: a file, an entry in a catalogue, and its name."""
    facts = {**DETECTOR_FAMILIES[case.family].facts, **case.facts}
    path = folder / "planted.onnx"
    outputs = [case.outputs(answer) for answer in answers]
    write_network(path, outputs, facts, size, batch, case.without_batch)
    return open_file(path, family or case.family, facts, settings, backend)


def open_file(path, family, facts, settings=None, backend="onnx"):
    known = {key for key in ("min_sizes", "landmark_scale") if key in DETECTOR_FAMILIES[family].facts}
    kept = {**DETECTOR_FAMILIES[family].facts, **facts}
    kept = {key: value for key, value in kept.items() if key in {"channels", "mean", "divisor", "min_score"} | known}
    catalogue = path.parent / "catalog.yaml"
    catalogue.write_text(yaml.safe_dump({"planted": catalogue_entry(path, family, kept)}), encoding="utf-8")
    models = ModelSettings(catalog=catalogue, detector="planted", backend=backend)
    return ModelLoader(Settings(models=models, detection=settings or DetectionSettings())).open_detector()
