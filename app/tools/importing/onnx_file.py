"""ONNX files: checked, converted to an opset that old boards support, and changed to another batch and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.onnx_damage import INCOMPLETE
from app.tools.importing.inner_batch import free_inner_batch, resize_by_factors
from app.tools.importing.onnx_writer import IR_VERSION, OPSET
from app.tools.machine import require_packages

FREE = 0
"""Dynamic batch."""

FREE_SIZE = (FREE, FREE)
"""Dynamic height and width."""

_FIRST_NODES = 8


def onnx_package() -> Any:
    require_packages("this import", "onnx")
    import onnx

    return onnx


def load_onnx(path: Path) -> Any:
    """The file as an `onnx.ModelProto`, checked."""
    onnx = onnx_package()
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node or not model.graph.input:
            raise ModelError(f"{path}: not an ONNX network: it has no operations")
        if any(uses_external_data(tensor) for tensor in model.graph.initializer):
            # Such a tensor may refer to any file of this machine.
            raise ModelError(
                f"{path}: its weights are in other files; save it as one file, which can be imported:\n"
                f"  python -c \"import onnx; onnx.save(onnx.load('{path.name}'), 'whole.onnx')\""
            )
        onnx.checker.check_model(model)
    except DecodeError as error:
        raise ModelError(f"{path}: {INCOMPLETE}") from error
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        detail = str(error).strip().split("\n", 1)[0] or type(error).__name__
        raise ModelError(f"{path}: not a valid ONNX file: {detail}") from error
    return model


def with_old_opset(model: Any) -> Tuple[Any, str]:
    """The model in an opset that every supported TensorRT reads, and a remark for the user.

    Most operators of newer opsets only accept more types. A real change of meaning shows when the outputs are compared.
    """
    onnx = onnx_package()
    found = next((domain.version for domain in model.opset_import if domain.domain in ("", "ai.onnx")), 0)
    if found <= OPSET:
        return model, ""
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    lowered.ir_version = min(lowered.ir_version, IR_VERSION)
    for domain in lowered.opset_import:
        if domain.domain in ("", "ai.onnx"):
            domain.version = OPSET
    try:
        for node in lowered.graph.node:
            _drop_newer_defaults(node, found)
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.defs.SchemaError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return model, (
            f"it needs opset {found}: TensorRT 8.2 (JetPack 4) supports only {OPSET}; newer versions and the other "
            "backends can run it"
        )
    return lowered, f"converted from opset {found} to {OPSET}, which TensorRT 8.2 supports"


def _drop_newer_defaults(node: Any, opset: int) -> None:
    """Removes attributes that the old opset does not have, if they have their default value."""
    onnx = onnx_package()
    old = onnx.defs.get_schema(node.op_type, OPSET, node.domain).attributes
    new = onnx.defs.get_schema(node.op_type, opset, node.domain).attributes
    for attribute in list(node.attribute):
        if attribute.name not in old and attribute.name in new:
            default = new[attribute.name].default_value
            if onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(default):
                node.attribute.remove(attribute)


def network_inputs(model: Any) -> List[Any]:
    """The real inputs: old files also list their weights as inputs."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def input_shape(model: Any) -> Tuple[Optional[int], ...]:
    """The shape of the only input; None for dynamic dimensions."""
    inputs = network_inputs(model)
    if len(inputs) != 1:
        raise ModelError(f"expected a network with one input, found {', '.join(value.name for value in inputs)}")
    sizes = inputs[0].type.tensor_type.shape.dim
    return tuple(size.dim_value if size.dim_value > 0 else None for size in sizes)


def set_input_shape(model: Any, batch: Optional[int], size: Optional[Tuple[int, int]]) -> Any:
    """A copy with this batch (FREE: dynamic) and this size; None leaves each unchanged.

    The caller has to check the outputs, and to set their shapes with `state_output_shapes`.
    """
    onnx = onnx_package()
    before = input_shape(model)
    if len(before) != 4:
        raise ModelError(f"expected an input of N x 3 x height x width, found one with {len(before)} dimensions")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if batch is not None and before[0] is not None and batch != before[0]:
        free_inner_batch(changed, before[0])
    if size is not None:
        resize_by_factors(changed)
    dims = network_inputs(changed)[0].type.tensor_type.shape.dim
    if batch is not None:
        _set_dimension(dims[0], batch or "batch")
    for dim, length, side in zip(dims[2:], size[::-1] if size else (), ("height", "width")):
        _set_dimension(dim, length or side)
    del changed.graph.value_info[:]
    return changed


def with_named_sides(model: Any) -> Any:
    """Gives each dynamic dimension of the input its own name.

    Some exporters use one name for width and height, from which TensorRT concludes that they are equal.
    """
    inputs = network_inputs(model)
    dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else ()
    names = [dim.dim_param for dim in dims if dim.dim_param]
    if len(dims) != 4 or len(set(names)) == len(names):
        return model
    changed = onnx_package().ModelProto()
    changed.CopyFrom(model)
    for dim, name in zip(network_inputs(changed)[0].type.tensor_type.shape.dim, ("batch", "planes", "height", "width")):
        if dim.dim_param:
            _set_dimension(dim, name)
    return changed


def forget_output_shapes(model: Any) -> None:
    """Removes the output shapes, which are wrong after a change of the input shape."""
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def state_output_shapes(model: Any, runs: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Sets the output shapes that were observed in runs with different batches and sizes."""
    onnx = onnx_package()
    for output in model.graph.output:
        seen = [run[output.name].shape for run in runs]
        shape: List[Any] = [
            lengths[0] if len(set(lengths)) == 1 else ("batch" if axis == 0 else f"{output.name}_{axis}")
            for axis, lengths in enumerate(zip(*seen))
        ]
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, shape))


def scales_inside(model: Any) -> bool:
    """Whether the network itself subtracts the mean and scales, so that its input is pixels from 0 to 255."""
    first = {node.op_type for node in list(model.graph.node)[:_FIRST_NODES]}
    fed = network_inputs(model)[0].name
    takes_input = {node.op_type for node in model.graph.node if fed in node.input}
    return bool(takes_input & {"Sub", "Mul"}) and {"Sub", "Mul"} <= first


def facts_for(model: Any, facts: Mapping[str, Any]) -> Dict[str, Any]:
    """The usual facts of a family, corrected by what the graph shows."""
    if scales_inside(model):
        return {**facts, "mean": [0, 0, 0], "divisor": 1}
    return dict(facts)


def _set_dimension(dim: Any, value: Any) -> None:
    """A number is a fixed length, a text is the name of a dynamic one."""
    dim.Clear()
    if isinstance(value, int):
        dim.dim_value = value
    else:
        dim.dim_param = value
