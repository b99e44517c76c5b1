import argparse

import pytest

from app.commands.arguments import number, one_of, picture_size, positive, several, whole_number, word_or


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole_number(1, 8), "8", 8),
        (whole_number(0), "0", 0),
        (number(0, 1), "0.5", 0.5),
        (positive(1), "1", 1.0),
        (picture_size(32), "640x480", (640, 480)),
        (several(whole_number(1)), "4,1,4", (4, 1)),
        (several(one_of(("onnx", "openvino"))), "openvino", ("openvino",)),
        (word_or("free", (0, 0), picture_size(32)), "free", (0, 0)),
        (word_or("free", (0, 0), picture_size(32)), "64x32", (64, 32)),
    ],
)
def test_values(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((whole_number(1, 8), text) for text in ("0", "9", "-1", "1.5", "", "²", "one", "9" * 30)),
        *((number(0, 1), text) for text in ("-0.1", "1.1", "nan", "inf", "half")),
        *((positive(1), text) for text in ("0", "1.1", "nan", "")),
        *((picture_size(32, multiple=32), text) for text in ("640", "640x481", "31x32", "8192x32", "axb", "1x2x3")),
        (several(whole_number(1)), "1,,2"),
        (several(one_of(("onnx",))), "onnx,abacus"),
        (word_or("free", (0, 0), picture_size(32)), "tree"),
    ],
)
def test_what_is_refused(parse, text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def test_a_refusal_quotes_the_value_that_is_wrong():
    with pytest.raises(argparse.ArgumentTypeError, match=r"'abacus'.*onnx, openvino"):
        several(one_of(("onnx", "openvino")))("onnx,abacus")
