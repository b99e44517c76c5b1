"""Who is where, as MQTT topics with retained messages: one for each person, one for each channel. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional

from app.events.event import EventKind
from app.events.history import Record

ON, OFF = "ON", "OFF"
"""The words that Home Assistant expects of a binary sensor."""

Messages = Dict[str, Dict[str, Any]]
"""JSON objects by topic."""


@dataclass
class Presence:
    """What is remembered of people and channels besides the visits that are open."""

    prefix: str
    """`faces/DEVICE`."""
    seen: Dict[str, Record] = field(default_factory=dict)
    """The last event with each person."""
    last_in_channel: Dict[str, Record] = field(default_factory=dict)
    """The last event with a person who has a name, by channel."""
    lost: Dict[str, bool] = field(default_factory=dict)
    """Whether the source of a channel is lost."""

    def add(self, record: Record) -> None:
        channel = record["channel"]
        if record["event"] == EventKind.RELABEL:
            return  # about visits of the past
        if record["event"] in (EventKind.SOURCE_LOST, EventKind.SOURCE_BACK):
            self.lost[channel] = record["event"] == EventKind.SOURCE_LOST
        elif record.get("name") is not None and "visit" in record:
            self.seen[record["name"]] = record
            self.last_in_channel[channel] = record

    def messages(self, visits: Iterable[Record], people: Iterable[str], channels: Iterable[str]) -> Messages:
        """`visits` are the last events of those that are open; `people` and `channels` exist even without one."""
        present = list(visits)
        names = dict.fromkeys([*people, *self.seen, *(visit["name"] for visit in present if visit["name"] is not None)])
        places = dict.fromkeys([*channels, *self.lost, *(visit["channel"] for visit in present)])
        return {
            **{person_topic(self.prefix, name): self._person(name, present) for name in names},
            **{channel_topic(self.prefix, place): self._channel(place, present) for place in places},
        }

    def _person(self, name: str, visits: List[Record]) -> Dict[str, Any]:
        there = [visit for visit in visits if visit["name"] == name]
        last = self.seen.get(name) or (there[-1] if there else None)
        return {
            "state": ON if there else OFF,
            "name": name,
            "channels": sorted({visit["channel"] for visit in there}),
            **_last(last),
            "last_channel": last and last["channel"],
        }

    def _channel(self, channel: str, visits: List[Record]) -> Dict[str, Any]:
        there = [visit for visit in visits if visit["channel"] == channel]
        last = self.last_in_channel.get(channel)
        return {
            "state": ON if there else OFF,
            "channel": channel,
            "people": sorted({visit["name"] for visit in there if visit["name"] is not None}),
            "unknown": sum(visit["name"] is None for visit in there),
            "count": len(there),
            "source": "lost" if self.lost.get(channel) else "running",
            "last_person": last and last["name"],
            **_last(last),
        }


def person_topic(prefix: str, name: str) -> str:
    return f"{prefix}/person/{topic_level(name)}"


def channel_topic(prefix: str, channel: str) -> str:
    return f"{prefix}/channel/{topic_level(channel)}"


def topic_level(name: str) -> str:
    """A name as a part of a topic: where a letter has to be replaced, with a suffix that keeps it unique."""
    # Besides what MQTT reserves: a name from a file's name may hold bytes that are not text.
    replaced = re.sub(r"[+#/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "_", name)
    return replaced if replaced == name else f"{replaced}-{short_hash(name)}"


def short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _last(record: Optional[Record]) -> Dict[str, Any]:
    """`sequence` says how old the message is: a broker may have forgotten a newer one."""
    return {"last_seen": record and record["time"], "sequence": record and record["sequence"]}
