"""The few messages of the Open Inference Protocol that are needed, in the wire format of Protocol Buffers.

Stubs would need a version of protobuf that fits to the installed grpcio and to other packages, and Python 3.8.
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Tuple, Union

import numpy as np

from app.inference.engine import TensorSpec
from app.inference.remote.protocol import (
    DATATYPES,
    ModelMetadata,
    RemoteError,
    datatype_of,
    from_bytes,
    tensor_spec,
)

SERVICE = "inference.GRPCInferenceService"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CONTENTS = {"UINT8": 4, "FP32": 6, "FP64": 7}
"""Fields of InferTensorContents, for servers that do not send raw bytes."""

Fields = Dict[int, List[Union[int, bytes]]]


def infer_request(model: str, number: int, feeds: Mapping[str, np.ndarray], output: str) -> bytes:
    """ModelInferRequest."""
    inputs = b"".join(
        _field(
            5,
            _field(1, name.encode())
            + _field(2, datatype_of(value.dtype).encode())
            + _field(3, b"".join(map(_varint, value.shape))),
        )
        for name, value in feeds.items()
    )
    raw = b"".join(_field(7, np.ascontiguousarray(value).tobytes()) for value in feeds.values())
    return (
        _field(1, model.encode())
        + _field(3, str(number).encode())
        + inputs
        + _field(6, _field(1, output.encode()))
        + raw
    )


def infer_response(message: bytes, output: str) -> np.ndarray:
    """One output of a ModelInferResponse. Raises RemoteError."""
    fields = parse(message)
    raw = _all_bytes(fields, 6)
    for number, tensor in enumerate(_all_bytes(fields, 5)):
        described = parse(tensor)
        if _text(described, 1) != output:
            continue
        datatype, shape = _text(described, 2), tuple(_numbers(described, 3))
        if number < len(raw):
            return from_bytes(output, datatype, shape, raw[number])
        if datatype not in _CONTENTS:
            raise RemoteError(f"the output {output} has no raw content")
        contents = parse(b"".join(_all_bytes(described, 5)))
        field = _CONTENTS[datatype]
        try:
            is_uint8 = datatype == "UINT8"
            content = bytes(_numbers(contents, field)) if is_uint8 else b"".join(_all_bytes(contents, field))
            return np.frombuffer(content, DATATYPES[datatype]).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise RemoteError(f"the output {output} does not fit {shape} of {datatype}") from error
    raise RemoteError(f"its reply has no output {output}")


def name_request(model: str) -> bytes:
    """ModelMetadataRequest and ModelReadyRequest."""
    return _field(1, model.encode())


def model_metadata(message: bytes) -> ModelMetadata:
    """Of a ModelMetadataResponse."""
    fields = parse(message)
    inputs, outputs = (tuple(map(_described, _all_bytes(fields, number))) for number in (4, 5))
    return ModelMetadata(inputs, outputs)


def is_true(message: bytes) -> bool:
    """The one field of ServerReadyResponse and ModelReadyResponse."""
    return bool(_numbers(parse(message), 1))


def parse(message: bytes) -> Fields:
    """The values of a message by the number of their field. Raises RemoteError."""
    fields: Fields = {}
    try:
        for number, value in _values(message):
            fields.setdefault(number, []).append(value)
    except IndexError as error:
        raise RemoteError("its reply is cut off") from error
    return fields


def _values(message: bytes) -> Iterator[Tuple[int, Union[int, bytes]]]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise RemoteError(f"its reply has a field of the kind {kind}")
        if at + size > len(message):
            raise IndexError(at)
        yield number, message[at : at + size]
        at += size


def _described(message: bytes) -> TensorSpec:
    """Of a TensorMetadata."""
    fields = parse(message)
    sides = (side - (1 << 64) if side >= 1 << 63 else side for side in _numbers(fields, 3))
    return tensor_spec(_text(fields, 1), _text(fields, 2), tuple(sides))


def _numbers(fields: Fields, number: int) -> List[int]:
    """Those of a repeated field, packed or not."""
    found: List[int] = []
    for value in fields.get(number, ()):
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        try:
            while at < len(value):
                one, at = _read_varint(value, at)
                found.append(one)
        except IndexError as error:
            raise RemoteError("its reply is cut off") from error
    return found


def _all_bytes(fields: Fields, number: int) -> List[bytes]:
    return [value for value in fields.get(number, ()) if isinstance(value, bytes)]


def _text(fields: Fields, number: int) -> str:
    return b"".join(_all_bytes(fields, number)[-1:]).decode("utf-8", "replace")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(message: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
