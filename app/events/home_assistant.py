"""Home Assistant's MQTT discovery: entities that appear there by themselves. Pure."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable

from app import __version__
from app.events.presence import Messages, channel_topic, person_topic, short_hash


def discovery(root: str, prefix: str, device: str, people: Iterable[str], channels: Iterable[str]) -> Messages:
    """The configurations by topic, for a `root` such as `homeassistant`: a presence sensor for each person, and for
    each channel whether someone is there, how many, and who was the last person with a name."""
    found: Messages = {}

    def add(component: str, kind: str, owner: str, state_topic: str, facts: Dict[str, Any]) -> None:
        # Names of people are in `name` alone: an identifier takes only these letters.
        identifier = f"{re.sub('[^A-Za-z0-9]+', '_', owner).strip('_')}_{short_hash(owner)}_{kind}"
        found[f"{root}/{component}/faces_{device}/{identifier}/config"] = {
            "unique_id": f"faces_{device}_{identifier}",
            "state_topic": state_topic,
            "availability_topic": f"{prefix}/status",
            "device": {
                "identifiers": [f"faces_{device}"],
                "name": f"Faces {device}",
                "manufacturer": "face-recognition-l4t",
                "sw_version": __version__,
            },
            **facts,
        }

    for name in people:
        topic = person_topic(prefix, name)
        facts = {
            "name": name,
            "device_class": "presence",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topic,
        }
        add("binary_sensor", "person", name, topic, facts)
    for channel in channels:
        topic = channel_topic(prefix, channel)
        someone = {
            "name": f"{channel} occupied",
            "device_class": "occupancy",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topic,
        }
        number = {
            "name": f"{channel} people",
            "state_class": "measurement",
            "value_template": "{{ value_json.count }}",
            "icon": "mdi:account-group",
        }
        last = {
            "name": f"{channel} last person",
            "value_template": "{{ value_json.last_person or 'no one yet' }}",
            "json_attributes_topic": topic,
            "icon": "mdi:account",
        }
        add("binary_sensor", "occupied", channel, topic, someone)
        add("sensor", "people", channel, topic, number)
        add("sensor", "last_person", channel, topic, last)
    return found
