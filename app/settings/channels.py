"""Values that a channel has of its own: `channels.door.detection.min_score` instead of `detection.min_score`.

A channel takes the settings that are listed here, in the sections and under the names that they have for all channels.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from app.settings.declaration import SettingInfo

ChannelValues = Tuple[Tuple[str, Any], ...]
"""Keys such as `detection.min_score`, with their values."""

OWN_SECTIONS = ("capture", "view", "detection", "attention", "quality", "recognition", "tracking")
OWN_KEYS = (
    "output.events_cooldown_s",
    "output.video_crf",
    "record.when",
    "record.annotated",
    "record.segment_minutes",
    "record.pre_roll_s",
)

_WHY_NOT = {
    "models": "the networks are opened once for all channels",
    "attributes": "the networks are opened once for all channels",
    "gallery": "all channels share one gallery",
    "strangers": "an unknown person has the same number in front of all cameras",
    "recognition.false_accept_rate": (
        "all channels share the gallery, from which the threshold follows; a channel can have a fixed "
        "recognition.threshold"
    ),
}
_SHARED = "it is one for the whole program"
_PHOTOS = "photos of the gallery belong to no channel"


def why_not_per_channel(info: SettingInfo) -> Optional[str]:
    """Why a channel cannot have its own value of this setting; None if it can."""
    if info.key in _WHY_NOT:
        return _WHY_NOT[info.key]
    if info.section == "quality" and info.name.startswith("photo_"):
        return _PHOTOS
    if info.section in OWN_SECTIONS or info.key in OWN_KEYS:
        return None
    return _WHY_NOT.get(info.section, _SHARED)


def why_section_is_shared(section: str) -> Optional[str]:
    """Why a channel cannot have its own values in this section; None if it can, at least some."""
    if section in OWN_SECTIONS or any(key.startswith(f"{section}.") for key in OWN_KEYS):
        return None
    return _WHY_NOT.get(section, _SHARED)
