"""Settings of what other programs may ask about a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class MonitoringSettings:
    """Metrics for Prometheus and /health, over HTTP (docs/monitoring.md)."""

    port: Optional[int] = setting(
        None,
        "serve /metrics (Prometheus) and /health on this port; 0 = a free one, which the log names",
        flag="--metrics-port",
        metavar="PORT",
        minimum=0,
        maximum=65535,
    )
    host: str = setting(
        "127.0.0.1",
        "address to serve them on; 0.0.0.0 = all, for everybody in the network, without a password",
    )
    stuck_after_s: float = setting(
        30.0, "seconds without a sign of life of the loop after which /health fails", minimum=1, maximum=3600
    )
