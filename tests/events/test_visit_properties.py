"""What is true of the events of any scene: of visits, numbers, and the state that follows from the log."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from made_results import ANN, STRANGER, frame, result, track

from app.events.event import EventKind
from app.events.history import History
from app.events.stream import EventStream
from app.events.visits import visits
from app.types import NOT_COMPARED_YET, Match, Reason

EVE = Match("Eve", Reason.MATCHED, 0.7)
IN_DOUBT = Match(None, Reason.TRACK_IN_DOUBT, 0.67, nearest="Ann")
HIDDEN, GONE = "hidden", "gone"
FPS = 5

changes = st.tuples(st.integers(1, 3), st.sampled_from([ANN, EVE, STRANGER, NOT_COMPARED_YET, IN_DOUBT, HIDDEN, GONE]))
scenes = st.lists(st.tuples(st.lists(changes, max_size=3), st.integers(1, 8)), max_size=12)


def acted(scene, **options):
    """The events of a scene, and by name the times at which a visible face had it.

    As in the tracker, no two tracks have the same name, and a track that is gone never comes back: its place is taken
    by a new one.
    """
    stream, shown, places, number, index = EventStream(**options), defaultdict(set), {}, 0, 0
    events = []
    for step, frames in scene:
        for place, change in step:
            if change is GONE:
                places.pop(place, None)
            elif change is not HIDDEN or (place in places and places[place]["first"] < index / FPS):
                if place not in places:
                    number += 1
                    places[place] = {"id": number, "first": index / FPS, "last": index / FPS, "match": change}
                places[place]["hidden"] = change is HIDDEN
                if change is not HIDDEN:
                    taken = any(
                        other != place and change.name and known["match"].name == change.name
                        for other, known in places.items()
                    )
                    places[place]["match"] = Match(None, Reason.NAME_TAKEN, 0.5) if taken else change
        for _ in range(frames):
            now = index / FPS
            for known in places.values():
                if not known["hidden"]:
                    known["last"] = now
                    if known["match"].name:
                        shown[known["match"].name].add(now)
            tracks = [
                track(known["id"], known["match"], first_seen=known["first"], last_seen=known["last"])
                for known in places.values()
            ]
            visible = [one for one, known in zip(tracks, places.values()) if not known["hidden"]]
            boxes, matches, ids = (
                [one.box for one in visible],
                [one.match for one in visible],
                [one.id for one in visible],
            )
            events += stream.handle(
                result(frame(index, position=now, captured_at=1e9 + now), boxes, matches, tracks, track_ids=ids)
            )
            index += 1
    return [*events, *stream.close()], shown


@given(scenes, st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 50))
def test_numbers_never_repeat_and_every_visit_begins_and_ends_once(scene, gap_s, after):
    events, _ = acted(scene, visit_gap_s=gap_s, after=after)
    assert [event.sequence for event in events] == list(range(after + 1, after + 1 + len(events)))
    by_visit = defaultdict(list)
    for event in events:
        by_visit[event.visit].append(event)
    for number, (enter, *between, left) in by_visit.items():
        assert (enter.kind, enter.sequence, left.kind) == (EventKind.ENTER, number, EventKind.LEFT)
        assert [event.kind in (EventKind.IDENTIFIED, EventKind.CHANGED) for event in between] in ([], [True])
        assert left.match.name == (between[0].match.name if between else None)
        assert left.last_seen >= left.first_seen == enter.first_seen


@given(scenes, st.sampled_from([0.0, 1.0, 4.0]))
def test_visits_of_one_person_never_overlap_and_contain_every_sighting(scene, gap_s):
    events, shown = acted(scene, visit_gap_s=gap_s)
    for name in ("Ann", "Eve"):
        spans = sorted(
            (event.first_seen, event.last_seen)
            for event in events
            if event.kind is EventKind.LEFT and event.match.name == name
        )
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            assert end < begin
        for moment in shown[name]:
            assert any(begin <= moment <= end for begin, end in spans), f"{name} at {moment}"
        assert {end for _, end in spans} <= shown[name], "a visit ends when the person was last seen"


@given(scenes)
def test_the_log_alone_gives_the_same_visits_and_the_state_after_each_event(scene):
    events, _ = acted(scene)
    records = [event.as_json() for event in events]
    read = {(visit.visit, visit.name, visit.first_seen, visit.last_seen, visit.ended) for visit in visits(records)}
    assert read == {
        (event.visit, event.match.name, round(event.first_seen, 3), round(event.last_seen, 3), str(event.left_reason))
        for event in events
        if event.kind is EventKind.LEFT
    }
    whole = History(log="a")
    for record in records:
        whole.add(record)
        again = History()
        again.add(whole.header(0.0))
        assert again == whole, "a header holds all of the state"
    assert whole.visits == {}


@given(scenes)
def test_the_same_scene_gives_the_same_events(scene):
    first, second = ([event.as_json() for event in acted(scene)[0]] for _ in range(2))
    assert first == second
