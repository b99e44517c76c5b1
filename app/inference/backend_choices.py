"""The fastest backend for each network, measured once and remembered next to the network's file.

A choice holds for one machine, the installed versions, the model file and the settings that it was measured with.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Set

from app import __version__
from app.files import write_whole
from app.inference.cuda import NoGpuError, probe_gpu
from app.inference.engine import NetworkSpec
from app.inference.host import available_cores, board_model, processor_name

logger = logging.getLogger(__name__)

FILE_NAME = "backend-choices.json"
RUNTIMES = ("onnxruntime", "openvino", "tensorrt")

_unwritable: Set[Path] = set()
"""Files that were reported already."""


@dataclass(frozen=True)
class BackendChoice:
    """One measurement."""

    model: str
    backend: str
    label: str
    """The chosen backend in words, with the device if it is not the processor."""
    precision: str
    times_ms: Mapping[str, float]
    """Time of one item in the shortest run, by label of each candidate."""
    measured_at: str
    """As 2026-01-31T12:00:00+00:00."""

    @property
    def figures(self) -> str:
        """`11.8 ms (ONNX Runtime: 22.7 ms)`."""
        chosen = self.times_ms[self.label]
        others = [f"{label}: {spent:.1f} ms" for label, spent in self.times_ms.items() if label != self.label]
        remark = "" if chosen <= min(self.times_ms.values()) else "; too close to matter"
        return f"{chosen:.1f} ms ({', '.join(others)}{remark})"

    def __str__(self) -> str:
        return f"{self.figures}, measured on {self.measured_at[:10]}"


class BackendChoices:
    """The remembered choice for one network as it is requested. Nothing is remembered if its hash is unknown."""

    def __init__(self, network: NetworkSpec, backend: str) -> None:
        self._file = network.path.with_name(FILE_NAME)
        self._known_model = bool(network.sha256)
        try:
            gpu = str(probe_gpu())
        except NoGpuError:
            gpu = ""
        machine = (board_model(), processor_name(), f"{available_cores()} cores", gpu)
        self._request = {
            "sha256": network.sha256,
            "input": "x".join(map(str, network.largest_input)),
            "backend": backend,
            "precision": network.precision,
            "threads": network.threads,
            "machine": ", ".join(filter(None, machine)),
        }
        self._versions = {"program": __version__, **_runtime_versions()}

    def find(self) -> Optional[BackendChoice]:
        """The choice that was measured on this machine with the installed versions."""
        for record in self._records():
            if record.get("request") == self._request and record.get("versions") == self._versions:
                try:
                    choice = BackendChoice(**record["choice"])
                    str(choice)
                except (TypeError, KeyError, ValueError, AttributeError):
                    return None
                return choice
        return None

    def save(self, choice: BackendChoice) -> None:
        record = {"choice": asdict(choice), "request": self._request, "versions": self._versions}
        if self._known_model:
            self._write([*self._others(), record])

    def forget(self) -> None:
        """Also choices that were measured with other versions."""
        others = self._others()
        if len(others) < len(self._records()):
            self._write(others)

    def _others(self) -> List[Dict[str, Any]]:
        return [record for record in self._records() if record.get("request") != self._request]

    def _records(self) -> List[Dict[str, Any]]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read and is ignored: %s", self._file, error)
            return []
        if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
            logger.warning("%s is not a list of measured backends and is ignored", self._file)
            return []
        return content

    def _write(self, records: List[Dict[str, Any]]) -> None:
        try:
            write_whole(self._file, (json.dumps(records, indent=1) + "\n").encode())
        except OSError as error:
            if self._file not in _unwritable:
                _unwritable.add(self._file)
                logger.info(
                    "%s cannot be written (%s): every start measures the backends again", self._file, error.strerror
                )


def _runtime_versions() -> Dict[str, List[str]]:
    """By package: the names of its installed distributions, such as `onnxruntime_gpu-1.18.0`. Nothing is imported."""
    versions = {}
    for package in RUNTIMES:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # a module that was not found by an import, and so has no version
            continue
        if spec is not None:
            folders = [Path(place).parent for place in spec.submodule_search_locations or ()]
            found = (path.stem for folder in folders for path in folder.glob(f"{package}*-*.dist-info"))
            versions[package] = sorted(found)
    return versions
