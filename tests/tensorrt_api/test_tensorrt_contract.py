"""Every name of TensorRT that our source uses exists in each version, or is asked for before it is used.

The surfaces of the versions are in surfaces/; `make test-tensorrt` compares them with NVIDIA's real bindings.
"""

import json
from pathlib import Path

import pytest
from used_names import RECEIVERS, files_with_tensorrt, read_uses

SURFACES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "surfaces").glob("*.json"))
}
CLASSES = {name for surface in SURFACES.values() for name in surface if name}
USES, UNKNOWN = read_uses(CLASSES)
VOCABULARY = {
    name for surface in SURFACES.values() for owner in set(RECEIVERS.values()) - {""} for name in surface[owner]
}
GENERIC = {"name", "value", "shape", "dtype", "type", "index"}


def is_reached(use, surface):
    """Whether the branch that the use stands in is taken in this version."""
    if use.branch is None:
        return True
    owner, name, expected = use.branch
    return (name in surface[owner]) == expected


def is_guarded(use):
    """Whether its function asks for this name, or for another of the same class to take in its place."""
    return any(
        other.asked and other.function == use.function and other.owner == use.owner
        for other in USES
        if other is not use
    )


@pytest.mark.parametrize("version", sorted(SURFACES))
def test_every_used_name_exists_or_is_guarded(version):
    surface = SURFACES[version]
    missing = [
        str(use)
        for use in USES
        if not use.asked
        and is_reached(use, surface)
        and use.name not in surface.get(use.owner, ())
        and not is_guarded(use)
    ]
    assert not missing, f"TensorRT {version} does not have these, and no hasattr asks for them: {missing}"


def test_each_name_exists_in_some_version():
    """A misspelt name in a guarded branch would never be noticed otherwise."""
    nowhere = [
        str(use) for use in USES if not any(use.name in surface.get(use.owner, ()) for surface in SURFACES.values())
    ]
    assert not nowhere


def test_the_table_of_receivers_is_complete():
    """A variable that holds something of TensorRT but is called otherwise would not be checked."""
    overlooked = [entry for entry in UNKNOWN if entry[1] in VOCABULARY - GENERIC]
    assert not overlooked, f"say in used_names.RECEIVERS which class these belong to: {overlooked}"


def test_the_runtime_is_among_what_is_read():
    assert {"tensorrt.py", "tensorrt_api.py", "tensorrt_plan.py", "tensorrt_tensors.py"} <= {
        path.name for path in files_with_tensorrt()
    }
    used = {(use.owner, use.name) for use in USES}
    assert {("IExecutionContext", "execute_async_v2"), ("IExecutionContext", "execute_async_v3")} <= used


def test_the_removed_and_the_new_are_in_the_surfaces():
    """The surfaces are the real ones as far as is known: what NVIDIA removed or added is seen in them."""
    assert "num_bindings" in SURFACES["8.2"]["ICudaEngine"] and "num_io_tensors" not in SURFACES["8.2"]["ICudaEngine"]
    assert {"num_bindings", "num_io_tensors"} <= set(SURFACES["8.6.1"]["ICudaEngine"])
    for version in ("10.3.0", "10.16.1", "11.4.0"):
        assert "num_bindings" not in SURFACES[version]["ICudaEngine"]
    assert "FP16" in SURFACES["10.16.1"]["BuilderFlag"] and "FP16" not in SURFACES["11.4.0"]["BuilderFlag"]
    assert "EXPLICIT_BATCH" not in SURFACES["11.4.0"]["NetworkDefinitionCreationFlag"]
