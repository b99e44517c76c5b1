"""Which of TensorRT's names our source uses, found by reading it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# What a variable holds, by how our source names it. `""` is the module itself.
RECEIVERS = {
    "trt": "",
    "self._trt": "",
    "tensorrt": "",
    "runtime": "Runtime",
    "self._runtime": "Runtime",
    "engine": "ICudaEngine",
    "self._engine": "ICudaEngine",
    "context": "IExecutionContext",
    "self._context": "IExecutionContext",
    "inspector": "EngineInspector",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "network_input": "ITensor",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "problem": "ParserError",
    "profile": "IOptimizationProfile",
    "timing_cache": "ITimingCache",
    "flags": "NetworkDefinitionCreationFlag",
}

# What has a name in common with something of TensorRT.
NOT_TENSORRT = {"model.graph", "self._tensors", "tensors", "largest"}

# Part of our source that only runs where a question was answered with yes (or with no).
BRANCHES = {
    "NamedTensors": ("ICudaEngine", "num_io_tensors", True),
    "NumberedTensors": ("ICudaEngine", "num_io_tensors", False),
    "_limit_pool": ("IBuilderConfig", "set_memory_pool_limit", True),
    "_report_progress": ("", "IProgressMonitor", True),
    "_calibrate": ("IBuilderConfig", "int8_calibrator", True),
    "calibrator": ("", "IInt8EntropyCalibrator2", True),
}


def files_with_tensorrt():
    """Those that are handed the module."""
    for path in sorted((ROOT / "app" / "inference").glob("*.py")):
        if re.search(r"load_tensorrt|\btrt: Any", path.read_text(encoding="utf-8")):
            yield path


def dotted(node):
    """`self._engine` for the expression self._engine; None for what is no plain chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return inner and f"{inner}.{node.attr}"
    return None


class Use:
    """One place where a name of TensorRT is used or asked for."""

    def __init__(self, owner, name, asked, branch, function, place):
        self.owner, self.name, self.asked, self.branch, self.function = owner, name, asked, branch, function
        self.place = place

    def __str__(self):
        return f"{self.owner or 'module'}.{self.name} in {self.place}"


def owner_of(receiver, surface_classes):
    """The TensorRT class that a chain of names stands for; None when it is none of TensorRT's."""
    for known, owner in RECEIVERS.items():
        if receiver == known:
            return owner
        if owner == "" and receiver.startswith(known + "."):
            last = receiver.rpartition(".")[2]
            return last if last in surface_classes else None
    return None


class _Reader(ast.NodeVisitor):
    def __init__(self, path, surface_classes):
        self.path, self.classes, self.uses, self.unknown = path, surface_classes, [], []
        self._branch, self._functions = None, []

    def visit_ClassDef(self, node):
        outer, self._branch = self._branch, BRANCHES.get(node.name, self._branch)
        self.generic_visit(node)
        self._branch = outer

    def visit_FunctionDef(self, node):
        outer, self._branch = self._branch, BRANCHES.get(node.name, self._branch)
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()
        self._branch = outer

    def visit_Attribute(self, node):
        self._note(dotted(node.value), node.attr, False, node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node):
        if dotted(node.func) in ("hasattr", "getattr") and isinstance(node.args[1], ast.Constant):
            self._note(dotted(node.args[0]), ast.literal_eval(node.args[1]), True, node.lineno)
        self.generic_visit(node)

    def _note(self, receiver, name, asked, line):
        if receiver is None or name.startswith("__"):
            return
        owner = owner_of(receiver, self.classes)
        place = f"{self.path.name}:{line}"
        if owner is None:
            self.unknown += [] if receiver in NOT_TENSORRT else [(receiver, name, place)]
        else:
            function = (self.path.name, tuple(self._functions))
            self.uses.append(Use(owner, name, asked, self._branch, function, place))


def read_uses(surface_classes):
    """All uses, and what looks as if it were one but has a receiver that RECEIVERS does not list."""
    uses, unknown = [], []
    for path in files_with_tensorrt():
        reader = _Reader(path, surface_classes)
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
        uses += reader.uses
        unknown += reader.unknown
    return uses, unknown
