"""PyTorch checkpoints as arrays by name. Only tensors are loaded; code in a pickle is never executed."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import numpy as np

from app.errors import ModelError
from app.text import install_hint
from app.tools.machine import require_packages

WRAPPERS = ("state_dict", "net_state_dict", "model_state_dict", "state_dict_backbone", "model", "net", "backbone")
"""Keys of the weights in checkpoints that contain more than weights."""

PREFIXES = ("module.", "model.", "backbone.", "net.", "_orig_mod.")
"""Prefixes that training frameworks add to every name."""


MIN_TORCH = (2, 6)
"""Before, a file could run code although only weights were to be loaded (CVE-2025-32434)."""


def read_checkpoint(path: Path) -> Dict[str, np.ndarray]:
    """All weights of the file as float32."""
    require_packages("this import", "torch")
    import torch

    version = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if version is None or (int(version.group(1)), int(version.group(2))) < MIN_TORCH:
        raise ModelError(
            f"{path} is not loaded: it could run any code with the installed PyTorch {torch.__version__} "
            f"(CVE-2025-32434); install 2.6 or newer, which needs Python 3.9: {install_hint('torch>=2.6')}"
        )

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise ModelError(
                f"{path}: this is a TorchScript program, not a checkpoint; code is not executed here.\n"
                "  where it was made, export it as ONNX (torch.onnx.export) or save its weights:\n"
                "  torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
            )
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message is long; it names the class as "GLOBAL module.name".
        words = str(error).replace("GLOBAL ", "global ").split("global ")
        detail = words[1].split()[0] if len(words) > 1 else _first_line(error)
        raise ModelError(
            f"{path}: this file contains more than weights, which is not loaded because a pickle can run any code: "
            f"{detail}\n  where it was made, save only the weights: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        raise ModelError(f"{path}: PyTorch cannot read this file; is it complete? {_first_line(error)}") from error
    tensors = _weights_in(stored)
    if tensors is None:
        found = type(stored).__name__
        if isinstance(stored, Mapping):
            found = ", ".join(map(str, list(stored)[:8])) or "an empty mapping"
        raise ModelError(f"{path}: no weights in this file: found only {found}")
    arrays = {name: tensor.detach().to(torch.float32).numpy() for name, tensor in tensors.items()}
    return without_prefixes(arrays)


def without_prefixes(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Removes each of PREFIXES that all names start with."""
    names = dict(arrays)
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in names):
                names = {name[len(prefix) :]: array for name, array in names.items()}
    return names


def _weights_in(stored: Any) -> Optional[Mapping[str, Any]]:
    """The mapping whose values are all tensors: the whole checkpoint, or the value of one of WRAPPERS."""
    import torch

    if not isinstance(stored, Mapping):
        return None
    for inner in [stored, *(stored[wrapper] for wrapper in WRAPPERS if wrapper in stored)]:
        if isinstance(inner, Mapping) and inner and all(isinstance(value, torch.Tensor) for value in inner.values()):
            return inner
    return None


def _first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0]
