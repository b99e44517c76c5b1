"""Messages of Frigate are read as its documentation shows them; anything else is refused or left alone."""

import contextlib
import json

import pytest
from frigate_server import message
from hypothesis import given
from hypothesis import strategies as st

from app.frigate.inbox import Inbox
from app.frigate.messages import PersonMessage, read_message

BOX = (415, 489, 528, 700)
ID = "1607123955.475377-mxklsc"


def read(*words, **changes):
    return read_message(message(*words, **changes).encode())


def test_a_message_about_a_person():
    assert read("new", ID, 12.5, BOX) == PersonMessage(ID, "door", False, 12.5, (415, 489, 528, 700), None)
    assert read("end", ID, 12.5, BOX, sub_label=["Ann", 0.8]).sub_label == "Ann"
    assert read("end", ID, 12.5, BOX, sub_label="Ann").has_ended is True


def test_objects_that_are_no_people_are_left_alone():
    assert read("new", ID, 1.0, BOX, label="dog") is None
    assert read("new", ID, 1.0, BOX, false_positive=True) is None


def test_an_event_that_has_ended_has_only_the_snapshot_that_was_stored():
    assert read("end", ID, 1.0, BOX, has_snapshot=False).snapshot_time is None
    assert read("update", ID, 1.0, BOX, has_snapshot=False).snapshot_time == 1.0


def test_snapshots_of_older_versions_and_without_a_box():
    assert read("new", ID, 1.0, BOX, snapshot=None, snapshot_time=3.0).snapshot_time == 3.0
    for box in ([1, 2, 3], [5, 5, 4, 9], [-1, 0, 3, 3], ["1", 2, 3, 4], [1, 2, float("nan"), 4]):
        assert read("new", ID, 1.0, BOX, snapshot={"frame_time": 1.0, "box": box}).box is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../api/config"},
        {"id": "a/b"},
        {"id": "a?x=1"},
        {"id": ""},
        {"id": 7},
        {"id": "a" * 101},
        {"id": "a\r\nHost: b"},
        {"camera": "a/b"},
        {"camera": "door#"},
        {"camera": "+"},
        {"camera": None},
    ],
)
def test_names_that_could_become_other_addresses_or_topics_are_refused(changes):
    with pytest.raises(ValueError):
        read_message(
            json.dumps(
                {"type": "new", "after": {**json.loads(message("new", ID, 1.0, BOX))["after"], **changes}}
            ).encode()
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("id", "camera", "label", "snapshot", "sub_label", "false_positive", "end_time", "has_snapshot", "frame_time")


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(payload):
    with contextlib.suppress(ValueError):
        assert read_message(payload) is None


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_of_a_field_is_read_or_refused(field, value):
    content = json.loads(message("new", ID, 1.0, BOX))
    content["after"][field] = value
    with contextlib.suppress(ValueError):
        assert read_message(json.dumps(content).encode()) is None or content["after"]["label"] == "person"


def test_a_time_that_no_clock_shows_is_refused():
    with pytest.raises(ValueError):
        read("new", ID, 1.0, BOX, snapshot={"frame_time": 10**400})


def test_deeply_nested_messages_are_refused():
    with pytest.raises(ValueError):
        read_message(b'{"type": "new", "after": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def person(identity, moment=1.0, ended=False):
    return PersonMessage(identity, "door", ended, moment, None, None)


def test_only_the_newest_message_of_a_person_waits():
    inbox = Inbox(10)
    for moment in (1.0, 2.0):
        inbox.put(person("a", moment))
    inbox.put(person("b"))
    assert [inbox.take(0), inbox.take(0), inbox.take(0)] == [person("a", 2.0), person("b"), None]


def test_an_end_is_not_undone_by_a_message_that_comes_back():
    inbox = Inbox(10)
    inbox.put(person("a", 2.0, ended=True))
    inbox.put_back(person("a", 1.0), 0.0)
    assert inbox.take(0) == person("a", 2.0, ended=True)


def test_a_message_that_was_put_back_waits_for_its_time():
    now = [0.0]
    inbox = Inbox(10, lambda: now[0])
    inbox.put_back(person("a"), 5.0)
    assert inbox.take(0) is None
    now[0] = 5.0
    assert inbox.take(0) == person("a")


def test_when_too_many_wait_those_who_are_still_there_are_left_out_first():
    inbox = Inbox(2)
    inbox.put(person("a", ended=True))
    inbox.put(person("b"))
    inbox.put(person("c"))
    inbox.put(person("d", ended=True))
    assert inbox.left_out == 2
    assert [inbox.take(0).id, inbox.take(0).id, inbox.take(0)] == ["a", "d", None]
