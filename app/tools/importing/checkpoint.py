"""PyTorch checkpoints as arrays by name. Only tensors are read; code in a pickle is never run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import numpy as np

from app.errors import ModelError
from app.tools.importing.packages import require_packages

WRAPPERS = ("state_dict", "net_state_dict", "model_state_dict", "state_dict_backbone", "model", "net", "backbone")
"""Under what the weights lie where a checkpoint holds other things beside them."""

PREFIXES = ("module.", "model.", "backbone.", "net.", "_orig_mod.")
"""What training frameworks put in front of every name."""


def read_checkpoint(path: Path) -> Dict[str, np.ndarray]:
    """All weights of the file in float32."""
    require_packages("torch")
    import torch

    _refuse_torchscript(path)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(_why_not_only_weights(path, str(error))) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        raise ModelError(f"{path}: PyTorch cannot read this file; is it complete? {_first_line(error)}") from error
    tensors = _weights_in(stored)
    if tensors is None:
        raise ModelError(f"{path}: there are no weights in this file: {_contents(stored)}")
    arrays = {name: tensor.detach().to(torch.float32).numpy() for name, tensor in tensors.items()}
    return without_prefixes(arrays)


def without_prefixes(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """The same under shorter names, where all names begin alike with one of PREFIXES."""
    names = dict(arrays)
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in names):
                names = {name[len(prefix) :]: array for name, array in names.items()}
    return names


def _weights_in(stored: Any) -> Optional[Mapping[str, Any]]:
    """The mapping whose values are all tensors: the whole, or what lies under one of WRAPPERS."""
    import torch

    if not isinstance(stored, Mapping):
        return None
    for inner in [stored, *(stored[wrapper] for wrapper in WRAPPERS if wrapper in stored)]:
        if isinstance(inner, Mapping) and inner and all(isinstance(value, torch.Tensor) for value in inner.values()):
            return inner
    return None


def _refuse_torchscript(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ModelError(
            f"{path}: this is a TorchScript program, not a checkpoint; programs of others are not run here.\n"
            "  where it was made, export it as ONNX (torch.onnx.export) or save its weights:\n"
            "  torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )


def _why_not_only_weights(path: Path, reason: str) -> str:
    return (
        f"{path}: this file holds more than weights, and what more it holds is not loaded, since a pickle can run any "
        f"program: {_named_global(reason)}\n"
        "  where it was made, save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
    )


def _named_global(reason: str) -> str:
    """The class that the file wants, out of PyTorch's long explanation."""
    words = reason.replace("GLOBAL ", "global ").split("global ")
    return f"it wants {words[1].split()[0]}" if len(words) > 1 else _first_line(reason)


def _first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0]


def _contents(stored: Any) -> str:
    if isinstance(stored, Mapping):
        return f"found only {', '.join(map(str, list(stored)[:8])) or 'an empty mapping'}"
    return f"found {type(stored).__name__}"
