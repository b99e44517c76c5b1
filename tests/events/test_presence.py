"""Who is where, from the visits that are open and what was seen before."""

from made_results import ANN, STRANGER, frame, result, track

from app.events.event import EventKind, RelabelEvent, SourceEvent
from app.events.history import History
from app.events.presence import Presence, topic_level
from app.events.stream import EventStream


class Room:
    """Feeds events to the history and the presence, as a delivery does."""

    def __init__(self):
        self.stream, self.history, self.presence = EventStream(visit_gap_s=0), History(), Presence("faces/pi")

    def see(self, *matches, at=0, channel="door"):
        tracks = [track(number, match) for number, match in enumerate(matches, 1)]
        self.add(*self.stream.handle(result(frame(at, source=channel), tracks=tracks)))

    def add(self, *events):
        for event in events:
            self.history.add(event.as_json())
            self.presence.add(event.as_json())

    def __getitem__(self, topic):
        return self.presence.messages(self.history.visits.values(), ["Ann"], ["door"])[f"faces/pi/{topic}"]


def test_someone_is_present_in_all_channels_where_there_is_an_open_visit():
    room = Room()
    assert (room["person/Ann"]["state"], room["person/Ann"]["last_seen"]) == ("OFF", None)
    room.see(ANN, STRANGER)
    room.see(ANN, channel="yard", at=1)
    assert (room["person/Ann"]["state"], room["person/Ann"]["channels"]) == ("ON", ["door", "yard"])
    assert (room["channel/door"]["people"], room["channel/door"]["unknown"]) == (["Ann"], 1)
    assert room["channel/yard"]["count"] == 1
    room.add(*room.stream.close())
    assert (room["person/Ann"]["state"], room["person/Ann"]["channels"]) == ("OFF", [])
    assert (room["channel/door"]["state"], room["channel/door"]["count"]) == ("OFF", 0)
    assert room["channel/door"]["last_person"] == "Ann"


def test_a_lost_source_is_said():
    room = Room()
    room.add(SourceEvent(1, EventKind.SOURCE_LOST, "door", 1.8e9, error="gone"))
    assert room["channel/door"]["source"] == "lost"
    room.add(SourceEvent(2, EventKind.SOURCE_BACK, "door", 1.8e9, lost_s=1.0))
    assert room["channel/door"]["source"] == "running"


def test_a_stranger_who_gets_a_name_was_not_seen_at_that_moment():
    room = Room()
    room.add(RelabelEvent(1, EventKind.RELABEL, "", 1.8e9, "stranger-7", "Ann"))
    assert room["person/Ann"]["last_seen"] is None


def test_names_become_topics_that_stay_different():
    assert topic_level("Zoë 张") == "Zoë 张"
    levels = {topic_level(name) for name in ("a/b", "a+b", "a#b", "a_b", "\udce9")}
    assert len(levels) == 5
    assert all(not set("+#/") & set(level) and level.encode() for level in levels)
