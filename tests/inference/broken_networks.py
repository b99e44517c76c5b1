"""Files that are no ONNX files, and an intact one that no runtime can run."""

import pytest
from shipped import CATALOG

_NETWORK = (CATALOG.parent / "mobilefacenet.onnx").read_bytes()
_INCOMPLETE = "not an ONNX file, or incomplete"

DAMAGED = [
    pytest.param(b"", "the file is empty", id="empty"),
    pytest.param(b"<!DOCTYPE html>", _INCOMPLETE, id="page"),
    pytest.param(b"this is no network", _INCOMPLETE, id="text"),
    pytest.param(_NETWORK[:100], _INCOMPLETE, id="beginning"),
    pytest.param(_NETWORK[:-1], _INCOMPLETE, id="cut"),
    pytest.param(b"\x88" + b"\x80" * 9 + b"\x00\x08" + _NETWORK, _INCOMPLETE, id="a number of 11 bytes"),
    pytest.param(b"\x0a" + b"\xff" * 9 + b"\x7f" + _NETWORK, _INCOMPLETE, id="a length beyond all files"),
    pytest.param(b"\x00\x00" + _NETWORK, _INCOMPLETE, id="zeros"),
]
"""Content and what is said of it."""

_NODE = b"\x12\x01y\x22\x08Nonsense"
_OUTPUT = b"\x0a\x01y\x12\x04\x0a\x02\x08\x01"
_GRAPH = b"\x0a" + bytes([len(_NODE)]) + _NODE + b"\x62" + bytes([len(_OUTPUT)]) + _OUTPUT
UNKNOWN_OPERATOR = b"\x08\x08\x42\x02\x10\x0d\x3a" + bytes([len(_GRAPH)]) + _GRAPH
"""One node, of a kind that there is not."""
