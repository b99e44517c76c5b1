"""Our messages are read by Google's Protocol Buffers, and theirs by us."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.inference.remote import messages
from app.inference.remote.protocol import RefusedError, RemoteError

descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")

TEXT, NUMBERS, BYTES, FLAG, REALS, MESSAGES, UNSIGNED = (
    "string", "repeated int64", "repeated bytes", "bool", "repeated float", "repeated", "repeated uint32",
)  # fmt: skip
SCHEMA = {
    "Contents": {"uint_contents": (4, UNSIGNED), "fp32_contents": (6, REALS)},
    "Tensor": {"name": (1, TEXT), "datatype": (2, TEXT), "shape": (3, NUMBERS), "contents": (5, "Contents")},
    "Wanted": {"name": (1, TEXT)},
    "Request": {
        "model_name": (1, TEXT), "id": (3, TEXT), "inputs": (5, "repeated Tensor"), "outputs": (6, "repeated Wanted"),
        "raw_input_contents": (7, BYTES),
    },
    "Response": {"model_name": (1, TEXT), "outputs": (5, "repeated Tensor"), "raw_output_contents": (6, BYTES)},
    "Metadata": {"name": (1, TEXT), "inputs": (4, "repeated Tensor"), "outputs": (5, "repeated Tensor")},
    "Ready": {"ready": (1, FLAG)},
}  # fmt: skip
"""The fields of https://github.com/kserve/open-inference-protocol that are used here, by number and type."""


def compiled():
    from google.protobuf import descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    types = {"string": field.TYPE_STRING, "int64": field.TYPE_INT64, "bytes": field.TYPE_BYTES, "bool": field.TYPE_BOOL,
             "float": field.TYPE_FLOAT, "uint32": field.TYPE_UINT32}  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name="oip.proto", package="oip", syntax="proto3")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for key, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if kind.startswith("repeated") else field.LABEL_OPTIONAL
            plain = kind.split()[-1]
            if plain in types:
                message.field.add(name=key, number=number, label=label, type=types[plain])
            else:
                message.field.add(
                    name=key, number=number, label=label, type=field.TYPE_MESSAGE, type_name=f".oip.{plain}"
                )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"oip.{name}") for name in SCHEMA}
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {name: make(descriptor) for name, descriptor in found.items()}


OIP = compiled()
CROPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=4, max_dims=4, max_side=5))
NAMES = st.text(min_size=1, max_size=200)
REAL_ARRAYS = arrays.arrays(np.float32, arrays.array_shapes(max_side=6), elements=st.floats(-1e3, 1e3, width=32))


@given(CROPS, NAMES, st.integers(1, 1 << 40))
def test_a_request_is_what_the_protocol_says(crops, name, number):
    request = OIP["Request"].FromString(messages.infer_request(name, number, {"crops": crops}, "embedding"))
    assert request.model_name == name and request.id == str(number)
    (tensor,), (wanted,) = request.inputs, request.outputs
    assert (tensor.name, tensor.datatype, tuple(tensor.shape)) == ("crops", "UINT8", crops.shape)
    assert wanted.name == "embedding" and list(request.raw_input_contents) == [crops.tobytes()]


@given(REAL_ARRAYS, st.booleans())
def test_a_response_is_read_with_raw_and_with_typed_contents(values, is_raw):
    response = OIP["Response"](model_name="net")
    other = response.outputs.add(name="other", datatype="UINT8", shape=[2])
    tensor = response.outputs.add(name="embedding", datatype="FP32", shape=values.shape)
    if is_raw:
        response.raw_output_contents.extend([b"12", values.astype("<f4").tobytes()])
    else:
        other.contents.uint_contents.extend([1, 300 % 256])
        tensor.contents.fp32_contents.extend(values.ravel().tolist())
    content = response.SerializeToString()
    assert np.array_equal(messages.infer_response(content, "embedding"), values)
    assert messages.infer_response(content, "other").tolist() == ([49, 50] if is_raw else [1, 44])
    with pytest.raises(RemoteError):
        messages.infer_response(content, "absent")


def test_what_a_server_has_is_read():
    metadata = OIP["Metadata"](name="net")
    metadata.inputs.add(name="crops", datatype="UINT8", shape=[-1, 112, 112, 3])
    metadata.outputs.add(name="embedding", datatype="FP32", shape=[-1, 128])
    found = messages.model_metadata(metadata.SerializeToString())
    assert list(map(str, (*found.inputs, *found.outputs))) == [
        "crops ? x 112 x 112 x 3 uint8",
        "embedding ? x 128 float32",
    ]
    assert messages.is_true(OIP["Ready"](ready=True).SerializeToString()) and not messages.is_true(b"")
    metadata.inputs.add(name="words", datatype="BYTES", shape=[1])
    with pytest.raises(RefusedError, match="BYTES"):
        messages.model_metadata(metadata.SerializeToString())


@given(st.binary(max_size=60))
def test_nonsense_is_an_error_and_nothing_else(content):
    for read in (
        lambda: messages.infer_response(content, "embedding"),
        lambda: messages.model_metadata(content),
        lambda: messages.is_true(content),
    ):
        try:
            read()
        except (RemoteError, RefusedError):
            continue


def test_packed_numbers_that_are_cut_off_or_too_large_are_an_error():
    cut_off = messages._field(1, b"values") + messages._field(2, b"FP32") + messages._field(3, b"\x80")
    too_large = OIP["Tensor"](name="values", datatype="UINT8", shape=[1])
    too_large.contents.uint_contents.append(300)
    for tensor in (cut_off, too_large.SerializeToString()):
        with pytest.raises(RemoteError):
            messages.infer_response(messages._field(5, tensor), "values")
    with pytest.raises(RemoteError):
        messages.model_metadata(messages._field(4, cut_off))


@given(REAL_ARRAYS, st.data())
def test_a_response_that_is_cut_off_is_an_error(values, data):
    response = OIP["Response"]()
    response.outputs.add(name="embedding", datatype="FP32", shape=values.shape)
    response.raw_output_contents.append(values.tobytes())
    content = response.SerializeToString()
    with pytest.raises(RemoteError):
        messages.infer_response(content[: data.draw(st.integers(0, len(content) - 1))], "embedding")
