"""The shapes that an engine is built for, given the network's declared input and the options."""

import pytest

from app.errors import ModelError
from app.inference.build import MEBIBYTE, default_workspace_bytes
from app.inference.tensorrt_builder import BuildOptions, shapes_for

FREE = (-1, 3, -1, -1)
CROPS = (-1, 3, 112, 112)
FRAME = (1, 3, 640, 640)
FACES = (16, 3, 112, 112)


@pytest.mark.parametrize(
    ("declared", "asked", "options", "expected"),
    [
        (FREE, FRAME, {}, ((1, 3, 32, 32), (1, 3, 640, 640), (1, 3, 640, 640))),
        (FREE, FRAME, {"size": (640, 480)}, ((1, 3, 480, 640),) * 3),
        (FREE, FRAME, {"batch": (1, 2, 4)}, ((1, 3, 32, 32), (2, 3, 640, 640), (4, 3, 640, 640))),
        (CROPS, FACES, {}, ((1, 3, 112, 112), (4, 3, 112, 112), (16, 3, 112, 112))),
        (CROPS, FACES, {"batch": (1, 8, 32)}, ((1, 3, 112, 112), (8, 3, 112, 112), (32, 3, 112, 112))),
        (CROPS, FACES, {"dla": 0}, ((16, 3, 112, 112),) * 3),
        ((1, 3, 640, 640), FRAME, {}, ((1, 3, 640, 640),) * 3),
        ((1, 3, 640, 640), (1, 3, 960, 960), {"size": (640, 640)}, ((1, 3, 640, 640),) * 3),
        ((8, 3, 112, 112), FACES, {"batch": (8, 8, 8)}, ((8, 3, 112, 112),) * 3),
        ((-1, 112, 112, 3), FACES, {}, ((1, 112, 112, 3), (4, 112, 112, 3), (16, 112, 112, 3))),
        (FREE, (1, 3, 16, 16), {}, ((1, 3, 16, 16),) * 3),
    ],
)
def test_shapes(declared, asked, options, expected):
    assert shapes_for("net", declared, asked, BuildOptions(**options)) == expected


@pytest.mark.parametrize(
    ("declared", "options", "message"),
    [
        ((1, 3, 640, 640), {"size": (640, 480)}, "fixed input height of 640"),
        ((1, 3, 640, 640), {"batch": (1, 2, 4)}, "fixed batch size of 1"),
        ((-1, -1, 640, 640), {}, "one input N x 3"),
        ((-1, 512), {}, "one input N x 3"),
    ],
)
def test_impossible_shapes(declared, options, message):
    with pytest.raises(ModelError, match=message):
        shapes_for("net", declared, FRAME, BuildOptions(**options))


@pytest.mark.parametrize(
    ("memory_gb", "expected_mb"), [(2, 256), (4, 256), (8, 512), (16, 1024), (32, 2048), (140, 2048)]
)
def test_the_workspace_grows_with_the_memory(memory_gb, expected_mb):
    assert default_workspace_bytes(memory_gb << 30) == expected_mb * MEBIBYTE


@pytest.mark.parametrize(
    ("gpu_gb", "free_mb", "expected_mb"),
    [
        (4, 3000, 256),
        (4, 800, 200),  # a Nano with a desktop and a browser
        (4, 100, 64),
        (32, 20_000, 2048),
        (32, 4000, 1000),
    ],
)
def test_where_the_gpu_shares_the_memory_at_most_a_quarter_of_what_is_free(gpu_gb, free_mb, expected_mb):
    assert default_workspace_bytes(gpu_gb << 30, free_mb * MEBIBYTE) == expected_mb * MEBIBYTE
