"""Networks, weights and packs that are damaged or made to do harm are refused by name."""

import contextlib
import io
import tracemalloc
import zipfile

import numpy as np
from damage import damaged
from hypothesis import example, given, settings
from made_networks import graph

from app.errors import ModelError
from app.inference.onnx_damage import damage_of
from app.inference.onnx_info import read_onnx_info
from app.tools.importing.importer import kind_of
from app.tools.importing.onnx_file import load_onnx
from app.tools.importing.pack import other_files, unpacked
from app.tools.importing.wts import is_mxnet, read_wts, with_pytorch_names


def network():
    model = graph(
        [("Gemm", ["x", "w"], ["h"], {}), ("Relu", ["h"], ["y"], {})],
        {"x": ("batch", 2)},
        {"y": ("batch", 4)},
        {"w": np.arange(8, dtype=np.float32).reshape(2, 4)},
    )
    return model.SerializeToString()


def pack(compression):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name in ("a.onnx", "b/../c.onnx", "readme.txt"):
            archive.writestr(name, NETWORK * 3)
    return content.getvalue()


NETWORK = network()
PACKS = [pack(zipfile.ZIP_STORED), pack(zipfile.ZIP_DEFLATED), pack(zipfile.ZIP_BZIP2), pack(zipfile.ZIP_LZMA)]
WTS = [
    b"2\na.weight 2 3f800000 40000000\nb.bias 1 00000000\n",
    b"1\nconv0_weight 1 3f800000\n",
    b"2\nstage4_unit1_bn1_gamma 1 3f800000\npre_fc1_weight 1 3f800000\n",
]


@settings(max_examples=50)
@given(damaged([NETWORK]))
def test_any_network(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "net.onnx"
    path.write_bytes(content)
    damage_of(path)
    for read in (kind_of, load_onnx, read_onnx_info):
        with contextlib.suppress(ModelError):
            read(path)


@given(damaged(WTS))
def test_any_weights(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "net.wts"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        arrays = read_wts(path)
        if is_mxnet(arrays) or arrays:
            with_pytorch_names(path, arrays)
    except ModelError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000


@given(damaged(PACKS, max_edits=3))
@example(PACKS[1][:60] + b"\xff" * 20 + PACKS[1][80:])
@example(PACKS[2][:60] + b"\xff" * 20 + PACKS[2][80:])
@example(PACKS[3][:60] + b"\xff" * 20 + PACKS[3][80:])
@example(PACKS[0].replace(b"a.onnx", b"\xff.onnx", 1).replace(b"\x14\0\0\0", b"\x14\0\0\x08", 1))
def test_any_pack(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "pack.zip"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        if kind_of(path) == "pack":
            other_files(path)
            with unpacked(path) as files:
                assert len({file.parent for file in files}) <= 1
