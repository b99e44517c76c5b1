"""How long what is stored of people is kept."""

from __future__ import annotations

from typing import List, Optional, Tuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.events.pipe import is_pipe
from app.gallery.undo import UNDO_COUNT, UNDO_DAYS
from app.service.api.openapi import Described
from app.service.api.replies import reply
from app.service.core import FaceService
from app.service.http import Endpoint, Scope
from app.settings import Settings


class Kept(msgspec.Struct):
    what: str
    """`photos`, `events`, `visit_snapshots`, `visits`, `strangers`, `stranger_frames`, `undo`, `recordings`,
    `videos`, `queue` or `audit_log`."""
    stored: bool
    """Whether it is stored at all, with these settings."""
    days: Optional[float] = None
    """After which it is deleted. Null: never, for its age."""
    count: Optional[int] = None
    """Above it, the oldest are deleted."""
    max_mb: Optional[float] = None
    """Above it, the oldest is deleted."""
    settings: List[str] = []
    """Those that decide it."""


class Retention(msgspec.Struct):
    kept: List[Kept]


def retention_endpoints(service: FaceService) -> Tuple[Described, ...]:
    async def retention(request: Request) -> Response:
        return reply(Retention(kept_by(service.settings)))

    endpoint = Endpoint("GET", "/api/v1/retention", retention, Scope.READ)
    return (Described(endpoint, "What is stored of people, and for how long", Retention),)


def kept_by(settings: Settings) -> List[Kept]:
    output, record, serve = settings.output, settings.record, settings.serve
    strangers, delivery, has_faces = (
        settings.strangers,
        settings.delivery,
        settings.output.cover not in ("all", "strangers"),
    )
    receivers = (settings.webhook.url, settings.mqtt.url, settings.kafka.servers, settings.nats.url)
    delivered = any(one is not None for one in receivers)
    has_log = output.events is not None and not is_pipe(output.events)
    days, is_kept = strangers.keep_days, strangers.enabled and has_faces
    return [
        Kept("photos", True, settings=["gallery.folder"]),
        Kept("events", has_log, settings=["output.events"]),
        Kept(
            "visit_snapshots",
            output.visit_snapshots is not None,
            output.visit_snapshots_days,
            output.visit_snapshots_max,
            settings=["output.visit_snapshots", "output.visit_snapshots_days", "output.visit_snapshots_max"],
        ),
        Kept("visits", is_kept, days, settings=["strangers.enabled", "strangers.keep_days"]),
        Kept("strangers", is_kept, days, strangers.max_count, settings=["strangers.keep_days", "strangers.max_count"]),
        Kept(
            "stranger_frames",
            is_kept and strangers.frames and output.cover is None,
            days,
            settings=["strangers.frames", "strangers.keep_days"],
        ),
        Kept("undo", True, min(UNDO_DAYS, days), UNDO_COUNT, settings=["strangers.keep_days"]),
        Kept(
            "recordings",
            record.folder is not None,
            record.keep_days,
            max_mb=None if record.max_gb is None else 1000 * record.max_gb,
            settings=["record.folder", "record.keep_days", "record.max_gb"],
        ),
        Kept("videos", output.save is not None, settings=["output.save"]),
        Kept(
            "queue",
            delivered and not has_log,
            max_mb=delivery.queue_max_mb,
            settings=["delivery.queue", "delivery.queue_max_mb"],
        ),
        Kept("audit_log", True, max_mb=2 * serve.audit_log_mb, settings=["serve.audit_log", "serve.audit_log_mb"]),
    ]
