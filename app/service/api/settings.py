"""The settings over HTTP: to read, and without secrets."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app.credentials import HIDDEN, masked
from app.service.api.live_messages import EffectiveSettings
from app.service.api.openapi import Described
from app.service.api.replies import reply
from app.service.core import FaceService
from app.service.http import Endpoint, Scope
from app.settings import Settings, all_settings


def settings_endpoints(service: FaceService) -> Tuple[Described, ...]:
    async def settings(request: Request) -> Response:
        return reply(shown_settings(service.settings))

    endpoint = Endpoint("GET", "/api/v1/settings", settings, Scope.ADMIN)
    return (Described(endpoint, "The settings of this program, without secrets", EffectiveSettings),)


def shown_settings(settings: Settings) -> EffectiveSettings:
    shown: Dict[str, Dict[str, Any]] = {}
    secret = set()
    for info in all_settings():
        value = getattr(getattr(settings, info.section), info.name)
        if info.secret:
            secret.add(info.key)
        shown.setdefault(info.section, {})[info.name] = _shown(value, info.secret)
    own = {name: {key: _shown(value, key in secret) for key, value in values} for name, values in settings.channels}
    return EffectiveSettings(shown, own)


def _shown(value: Any, is_secret: bool) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return HIDDEN if is_secret else masked(str(value))
