"""Which backend runs a network on this machine, and why."""

from __future__ import annotations

from dataclasses import dataclass

from app.inference.engine import Engine
from app.inference.network import Network
from app.inference.onnx import OnnxEngine


@dataclass(frozen=True)
class Choice:
    """An opened network, and how it came to be opened like that."""

    engine: Engine
    backend: str
    precision: str
    reason: str
    """In words, for the user."""


def open_network(network: Network, backend: str = "auto") -> Choice:
    """The network, opened on the wanted backend, or on the best one that works here."""
    return Choice(OnnxEngine(network.path, network.threads), "onnx", "fp32", "the only backend there is")
