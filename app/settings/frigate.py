"""Settings of what names the people of a Frigate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class FrigateSettings:
    """For `python -m app frigate`, with the broker of `mqtt`: docs/frigate.md."""

    url: Optional[str] = setting(None, "address of Frigate, http://HOST:5000 or https://HOST:8971", metavar="URL")
    user: Optional[str] = setting(None, "user of Frigate, with the role admin; none is needed at its port 5000")
    password: Optional[str] = setting(None, "where the password is: env:NAME or file:PATH", secret=True)
    ca_file: Optional[Path] = setting(
        None, "trust certificates signed by those in this PEM file, instead of the system's"
    )
    topic: str = setting("frigate", "Frigate's mqtt.topic_prefix")
    cameras: Optional[str] = setting(
        None, "cameras of Frigate whose people are named, separated by commas; by default all"
    )
    min_votes: int = setting(
        2,
        "snapshots that must agree while a person is there; when it has left, fewer are enough if there are no more",
        minimum=1,
        maximum=50,
    )
    set_sub_label: bool = setting(True, "write the name into Frigate; false only publishes it over MQTT")
    replace_sub_label: bool = setting(
        False, "also where something else, such as Frigate's own face recognition, has written a name"
    )
    timeout_s: float = setting(10.0, "seconds after which a request to Frigate has failed", minimum=0.1, maximum=30)
    queue: int = setting(
        200, "people that may wait to be looked at; then the oldest is left out", minimum=1, maximum=10_000
    )
