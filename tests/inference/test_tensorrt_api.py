"""Finding TensorRT's module, its messages in our log, and its silent failures."""

import logging
import sys

import gpu_double
import numpy as np
import pytest
import tensorrt_double

from app.errors import ModelError
from app.inference.tensorrt_api import called, checked, has_named_tensors, load_tensorrt, make_logger, numpy_dtype
from app.inference.tensorrt_plan import layer_from_json


@pytest.fixture(params=tensorrt_double.VERSIONS)
def trt(request, monkeypatch):
    module = tensorrt_double.tensorrt(request.param, gpu_double.Gpu(), {})
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


def test_the_module_is_loaded_and_addresses_tensors_by_name_or_number(trt):
    assert load_tensorrt() is trt
    assert has_named_tensors(trt) == (trt.__version__ != "8.2")


def test_a_missing_tensorrt_is_an_error_with_an_install_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ModelError, match=r"not installed\. .*sudo apt-get install"):
        load_tensorrt()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "cannot be loaded: libnvinfer.so.10"),
        ("import no_such_module_of_tensorrt", "cannot be loaded: No module named 'no_such_module_of_tensorrt'"),
        ("raise OSError('libcublas is missing')", "cannot be loaded: libcublas is missing"),
        ("", "tensorrt.py has no Builder"),
    ],
)
def test_a_broken_installation_is_not_reported_as_missing(monkeypatch, tmp_path, source, message):
    (tmp_path / "tensorrt.py").write_text(source, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_tensorrt()
    sys.modules.pop("tensorrt", None)


def test_tensorrts_messages_are_logged(trt, caplog):
    logger = make_logger(trt)
    assert make_logger(trt) is logger and isinstance(logger, trt.ILogger)
    with caplog.at_level(logging.DEBUG, "app.inference.tensorrt_api"):
        logger.log(trt.ILogger.Severity.WARNING, "slow \n")
        logger.log(trt.ILogger.Severity.INFO, "details")
        logger.log(trt.ILogger.Severity.INTERNAL_ERROR, "broken")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "TensorRT: slow"),
        ("DEBUG", "TensorRT: details"),
        ("ERROR", "TensorRT: broken"),
    ]


@pytest.mark.parametrize("value", [None, False])
def test_none_and_false_are_failures_with_what_was_logged_before(trt, value):
    logger = make_logger(trt)
    logger.log(trt.ILogger.Severity.ERROR, "not enough memory")
    with pytest.raises(ModelError, match=r"^TensorRT: building .*not enough memory$"):
        checked(value, "building", logger)
    with pytest.raises(ModelError, match=r"^TensorRT: building [^:]*$"):
        checked(value, "building", logger)


@pytest.mark.parametrize("value", [0, "", [], np.zeros(2)])
def test_other_values_are_returned(value):
    assert checked(value, "counting") is value
    assert called(lambda: value, what="counting") is value


def test_a_constructor_that_returns_null_is_a_failure():
    def create(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(ModelError, match=r"^TensorRT: making a builder .*nullptr"):
        called(create, "logger", what="making a builder")


def test_types_are_known_without_tensorrts_own_function(trt):
    known = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "BOOL": "bool", "INT64": "int64"}
    for name, expected in known.items():
        if hasattr(trt.DataType, name):
            assert numpy_dtype(trt, getattr(trt.DataType, name)) == np.dtype(expected)
    with pytest.raises(ModelError, match="FP8"):
        numpy_dtype(trt, "DataType.FP8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"conv1 + relu1"', ("conv1 + relu1", "", "")),
        ("conv1, not JSON\n", ("conv1, not JSON", "", "")),
        (
            '{"Name": "conv1", "LayerType": "Convolution", "Outputs": [{"Format/Datatype": "Row major FP16 format"}]}',
            ("conv1", "Convolution", "FP16"),
        ),
        ('{"Name": "c", "LayerType": "kgen", "Outputs": [{"Format/Datatype": "Half"}]}', ("c", "kgen", "FP16")),
        ('{"Name": "c", "LayerType": "NoOp", "Outputs": []}', ("c", "NoOp", "")),
    ],
)
def test_layers_are_read_from_the_inspectors_json(text, expected):
    layer = layer_from_json(text)
    assert (layer.name, layer.kind, layer.precision) == expected
