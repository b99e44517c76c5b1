"""Bodies of the Open Inference Protocol: JSON, and tensors in JSON or behind it in binary."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import orjson
from starlette.responses import Response

from app.service.http import HttpError, json_response

HEADER_LENGTH = "inference-header-content-length"
"""Bytes of a body that are JSON; the tensors follow."""


@dataclass(frozen=True)
class InferRequest:
    id: Optional[str]
    pixels: np.ndarray
    """N x H x W x 3, uint8."""
    outputs: Tuple[str, ...]
    """Names of those that are wanted; none = all."""
    is_binary: bool
    """Whether they are wanted in binary."""


def read_request(body: bytes, header_length: Optional[str], name: str, crop: Tuple[int, int, int]) -> InferRequest:
    """A request for a network whose input `name` takes pictures of this shape. Raises HttpError (400)."""
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise HttpError(400, f"the header {HEADER_LENGTH} is {header_length!r}, the body has {len(body)} bytes")
        length = int(header_length)
    try:
        content = orjson.loads(body[:length])
        (tensor,) = content["inputs"]
        sent, datatype = tensor["name"], tensor["datatype"]
        shape = tuple(int(side) for side in tensor["shape"])
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        outputs = list(content.get("outputs") or ())
        names = tuple(str(output["name"]) for output in outputs)
        is_binary = any((output.get("parameters") or {}).get("binary_data") for output in outputs) or bool(
            (content.get("parameters") or {}).get("binary_data_output")
        )
        request_id = content.get("id")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HttpError(400, f"this is not a request of the Open Inference Protocol with one input: {error}") from error
    expected = f"{name} UINT8 [N, {', '.join(map(str, crop))}]"
    if sent != name or datatype != "UINT8" or shape[1:] != crop or not shape[0] > 0:
        raise HttpError(400, f"the input is {sent} {datatype} {list(shape)}, expected {expected}")
    count = math.prod(shape)
    if size is not None:
        if size != count or length + size != len(body):
            raise HttpError(400, f"binary_data_size is {size} and {len(body) - length} bytes came, expected {count}")
        pixels = np.frombuffer(body, np.uint8, count, length).reshape(shape)
    else:
        pixels = _from_json(tensor.get("data"), shape)
    return InferRequest(None if request_id is None else str(request_id), pixels, names, is_binary)


def reply(model: str, request: InferRequest, outputs: Mapping[str, np.ndarray]) -> Response:
    """Raises HttpError (400) for an output that does not exist."""
    for name in request.outputs:
        if name not in outputs:
            raise HttpError(400, f"there is no output {name}; there is {', '.join(outputs)}")
    chosen = {name: np.ascontiguousarray(outputs[name], "<f4") for name in request.outputs or outputs}
    described = [_described(name, value, request.is_binary) for name, value in chosen.items()]
    content: Dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": described}
    if request.id is not None:
        content["id"] = request.id
    if not request.is_binary:
        return json_response(content)
    text = json.dumps(content).encode()
    body = b"".join([text, *(value.tobytes() for value in chosen.values())])
    return Response(body, headers={HEADER_LENGTH: str(len(text))}, media_type="application/octet-stream")


def _described(name: str, value: np.ndarray, is_binary: bool) -> Dict[str, Any]:
    described: Dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(value.shape)}
    if is_binary:
        described["parameters"] = {"binary_data_size": value.nbytes}
    else:
        described["data"] = value.ravel()
    return described


def _from_json(data: Any, shape: Tuple[int, ...]) -> np.ndarray:
    try:
        values = np.asarray(data)
        pixels = values.astype(np.uint8)
        if not (pixels == values).all():
            raise ValueError("numbers from 0 to 255 are expected")
        return pixels.reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise HttpError(400, f"data does not fit to the shape {list(shape)} of UINT8: {error}") from error
