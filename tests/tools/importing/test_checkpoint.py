"""PyTorch checkpoints: which weights are found in them, and that nothing but weights is read."""

import os
import pickle
import sys

import numpy as np
import pytest

from app.errors import AppError, ModelError
from app.tools.importing.checkpoint import read_checkpoint, without_prefixes


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def saved(torch, path, stored, **how):
    torch.save(stored, path, **how)
    return path


@pytest.mark.parametrize("wrapper", ["", "state_dict", "net_state_dict", "state_dict_backbone"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_weights_are_found_under_any_wrapper_and_prefix(torch, tmp_path, wrapper, prefix):
    state = {f"{prefix}conv.weight": torch.ones(2, 3), f"{prefix}conv.bias": torch.zeros(2)}
    stored = {"epoch": 7, wrapper: state} if wrapper else state
    arrays = read_checkpoint(saved(torch, tmp_path / "net.pth", stored))
    assert {name: array.shape for name, array in arrays.items()} == {"conv.weight": (2, 3), "conv.bias": (2,)}


@pytest.mark.parametrize("zipped", [True, False])
def test_half_precision_and_both_file_formats_are_read(torch, tmp_path, zipped):
    state = {"conv.weight": torch.full((2,), 0.5, dtype=torch.bfloat16)}
    path = saved(torch, tmp_path / "net.pth", state, _use_new_zipfile_serialization=zipped)
    array = read_checkpoint(path)["conv.weight"]
    assert array.dtype == np.float32 and array.tolist() == [0.5, 0.5]


def test_a_prefix_that_only_some_names_have_stays():
    arrays = {"module.a": np.zeros(1), "b": np.zeros(1)}
    assert set(without_prefixes(arrays)) == {"module.a", "b"}


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_code_in_a_pickle_is_not_run(torch, tmp_path):
    trace = tmp_path / "it ran"
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil(trace)}, protocol=2))
    with pytest.raises(ModelError, match=r"more than weights.*mkdir"):
        read_checkpoint(path)
    assert not trace.exists()


def test_a_whole_module_is_refused_with_what_to_do(torch, tmp_path):
    path = saved(torch, tmp_path / "net.pth", torch.nn.Linear(2, 2))
    with pytest.raises(ModelError, match=r"Linear[\s\S]*model\.state_dict\(\)"):
        read_checkpoint(path)


def test_a_torchscript_program_is_refused_as_such(torch, tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(ModelError, match="TorchScript"):
        read_checkpoint(path)


def test_a_file_that_broke_off_is_named(torch, tmp_path):
    path = saved(torch, tmp_path / "net.pth", {"a": torch.zeros(5000)}, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ModelError, match=r"net\.pth"):
        read_checkpoint(path)


def test_a_checkpoint_without_weights_says_what_is_in_it(torch, tmp_path):
    with pytest.raises(ModelError, match=r"epoch, lr"):
        read_checkpoint(saved(torch, tmp_path / "net.ckpt", {"epoch": 1, "lr": 0.1}))


def test_without_pytorch_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(AppError, match="pip install torch"):
        read_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize("version", ["2.5.1", "2.5.1+cpu", "1.13.0a0+git7c98e70", "unknown"])
def test_a_pytorch_with_which_a_checkpoint_could_run_code_is_not_used(torch, tmp_path, monkeypatch, version):
    trace = tmp_path / "trace"
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil(trace)}, protocol=2))
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ModelError, match=r"CVE-2025-32434"):
        read_checkpoint(path)


@pytest.mark.parametrize("version", ["2.6.0", "2.10.1+cu130", "3.0.0"])
def test_newer_ones_are(torch, tmp_path, monkeypatch, version):
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "__version__", version)
    assert list(read_checkpoint(tmp_path / "weights.pth")) == ["a"]
