"""Messages over a real mosquitto and snapshots over real HTTP become sub labels and results."""

import contextlib
import dataclasses
import itertools
import json
import threading
import time

import numpy as np
import pytest
from frigate_server import HEIGHT, WIDTH, FrigateServer, jpeg, message
from made_galleries import copy_photos
from mosquitto import MISSING, Broker, Subscriber
from ports import free_port
from waiting import PATIENT_S, until

from app.frigate.link import FrigateLink
from app.frigate.service import FrigateService
from app.gallery.gallery import Gallery
from app.network_thread import NetworkThread
from app.settings import DeliverySettings, FrigateSettings, MqttSettings
from app.tools.demo.portraits import heads_of

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

LEFT, RIGHT = (90, 190, 430, 570), (790, 190, 1130, 570)
"""Two people in a picture, as boxes."""
ID = "1607123955.475377-mxklsc"


@pytest.fixture
def broker(tmp_path):
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.close()


@pytest.fixture
def watching(broker):
    with contextlib.closing(Subscriber(broker.port)) as subscriber:
        yield subscriber


@pytest.fixture
def frigate():
    with contextlib.closing(FrigateServer()) as server:
        yield server


@pytest.fixture(scope="module")
def networks():
    networks = NetworkThread()
    networks.start()
    yield networks
    networks.close()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, people_gallery, recognizer, networks):
    folder = tmp_path_factory.mktemp("frigate") / "gallery"
    copy_photos(people_gallery, folder)
    with Gallery.open(folder, recognizer) as gallery:
        yield gallery


@pytest.fixture
def started(settings, gallery, networks, broker, monkeypatch):
    """Starts the service, and waits until it listens."""
    monkeypatch.setattr("app.frigate.service.LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("app.frigate.service.MAX_AGE_S", PATIENT_S)
    running = []

    def start(frigate, watching=None, clock=time.monotonic, **own):
        service = FrigateService(
            dataclasses.replace(
                settings,
                delivery=DeliverySettings(device="pi"),
                mqtt=MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}"),
                frigate=FrigateSettings(url=frigate.url, **own),
            ),
            gallery,
            networks,
            clock,
        )
        stop = threading.Event()
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()
        running.append((stop, thread))
        if watching is not None:
            until(lambda: watching.now().get("faces/pi/frigate/status") == b"online")

    yield start
    for stop, thread in running:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def scene(portraits):
    """Makes pictures of two people next to each other; each number gives another picture."""
    heads = heads_of(portraits)

    def made(left, right, number):
        picture = np.full((HEIGHT, WIDTH, 3), 96 + number, np.uint8)
        for who, x in ((left, 100), (right, 800)):
            if who is not None:
                picture[200 + number : 560 + number, x : x + 320] = heads[who]
        return jpeg(picture)

    return made


COLLINS, HOPPER, STRANGER = 0, 1, 2


def results(watching, camera="door"):
    topic = f"faces/pi/frigate/{camera}"
    return [json.loads(sent.payload) for sent in list(watching.messages) if sent.topic == topic]


def test_the_votes_of_two_snapshots_name_a_person_between_others(started, watching, frigate, scene):
    started(frigate, watching)
    for number in (1, 2):
        frigate.pictures[ID] = scene(COLLINS, HOPPER, number)
        watching.publish("frigate/events", message("update", ID, 10.0 + number, RIGHT))
        until(lambda number=number: len(frigate.asked) == number)
        assert number == 2 or not frigate.sub_labels
    until(lambda: results(watching))
    ((identity, name, score),) = frigate.sub_labels
    assert (identity, name) == (ID, "Grace Hopper") and 0.5 < score <= 1
    (result,) = results(watching)
    assert (result["id"], result["camera"], result["name"]) == (ID, "door", "Grace Hopper")
    assert (result["votes"], result["snapshots"], result["ended"]) == (2, 2, False)
    assert result["reason"] == "matched" and result["sub_label"] == "Grace Hopper" and result["score"] == score
    watching.publish("frigate/events", message("end", ID, 12.0, RIGHT, sub_label=["Grace Hopper", score]))
    until(lambda: len(results(watching)) == 2)
    assert results(watching)[1]["ended"] is True
    assert len(frigate.asked) == 2 and len(frigate.sub_labels) == 1


def test_a_single_snapshot_is_enough_when_the_event_has_ended(started, watching, frigate, scene):
    started(frigate, watching)
    frigate.pictures[ID] = scene(COLLINS, None, 1)
    watching.publish("frigate/events", message("new", ID, 11.0, LEFT))
    until(lambda: frigate.asked == [ID])
    watching.publish("frigate/events", message("end", ID, 11.0, LEFT))
    until(lambda: frigate.names(ID) == ["Eileen Collins"])
    assert frigate.asked == [ID], "the same snapshot is asked for once"
    until(lambda: results(watching))
    assert results(watching)[0]["votes"] == 1


def test_an_afternoon_at_two_cameras(started, watching, frigate, scene):
    """Two people at the door at once, a dog, messages about zones without a new picture, and somebody in the yard."""
    started(frigate, watching)
    collins, hopper, yard = "1607.1-aaaaaa", "1607.2-bbbbbb", "1607.3-cccccc"
    sequence = [
        ("new", collins, 1.0, LEFT, {}),
        ("new", hopper, 1.2, RIGHT, {}),
        ("new", "1607.2-dddddd", 1.3, LEFT, {"label": "dog"}),
        ("update", collins, 1.0, LEFT, {"current_zones": ["porch"]}),
        ("update", hopper, 2.2, RIGHT, {}),
        ("new", yard, 2.5, LEFT, {"camera": "yard", "has_snapshot": False}),
        ("update", collins, 3.0, LEFT, {}),
        ("end", "1607.2-dddddd", 1.3, LEFT, {"label": "dog"}),
        ("update", hopper, 2.2, RIGHT, {"stationary": True, "sub_label": ["Grace Hopper", 0.99]}),
        ("end", hopper, 2.2, RIGHT, {"sub_label": ["Grace Hopper", 0.99]}),
        ("end", yard, 2.5, LEFT, {"camera": "yard", "has_snapshot": False}),
        ("end", collins, 3.0, LEFT, {}),
    ]
    seen = set()
    for number, (kind, identity, moment, box, changes) in enumerate(sequence):
        frigate.pictures[identity] = scene(COLLINS, HOPPER, number)
        watching.publish("frigate/events", message(kind, identity, moment, box, **changes))
        if (identity, moment) not in seen and "label" not in changes:
            seen.add((identity, moment))
            until(lambda: len(frigate.asked) == len(seen))
    until(lambda: [result["id"] for result in results(watching) if result["ended"]] == [hopper, collins])
    until(lambda: results(watching, "yard"))
    assert sorted(frigate.asked) == sorted(identity for identity, _ in seen)
    assert [(identity, name) for identity, name, _ in frigate.sub_labels] == [
        (hopper, "Grace Hopper"),
        (collins, "Eileen Collins"),
        (yard, "Eileen Collins"),
    ]
    assert [result["votes"] for result in results(watching) if result["ended"]] == [2, 2]


def test_a_stranger_gets_no_sub_label_and_a_result_at_the_end(started, watching, frigate, scene):
    started(frigate, watching)
    frigate.pictures[ID] = scene(STRANGER, COLLINS, 1)
    watching.publish("frigate/events", message("new", ID, 11.0, LEFT))
    watching.publish("frigate/events", message("end", ID, 11.0, LEFT))
    until(lambda: results(watching))
    (result,) = results(watching)
    assert (result["name"], result["score"], result["sub_label"]) == (None, None, None)
    assert result["reason"] == "below_threshold"
    assert frigate.sub_labels == []


def test_a_picture_votes_once(started, watching, frigate, scene):
    started(frigate, watching)
    frigate.pictures[ID] = scene(COLLINS, None, 1)
    for number in (1, 2, 3):
        watching.publish("frigate/events", message("update", ID, 10.0 + number, LEFT))
        until(lambda number=number: len(frigate.asked) == number)
    frigate.pictures[ID] = scene(COLLINS, None, 2)
    watching.publish("frigate/events", message("update", ID, 14.0, LEFT))
    until(lambda: results(watching))
    assert results(watching)[0]["votes"] == 2


def test_other_objects_and_cameras_are_left_alone(started, watching, frigate, scene):
    started(frigate, watching, cameras="yard, garage")
    frigate.pictures = {name: scene(COLLINS, None, 1) for name in ("car", "door", "yard")}
    watching.publish("frigate/events", message("end", "car", 1.0, LEFT, camera="yard", label="car"))
    watching.publish("frigate/events", message("end", "door", 1.0, LEFT))
    watching.publish("frigate/events", b"\xff not JSON")
    watching.publish("frigate/events", message("end", "../../config", 1.0, LEFT, camera="yard"))
    watching.publish("frigate/events", message("end", "yard", 1.0, LEFT, camera="yard"))
    until(lambda: frigate.sub_labels)
    assert frigate.asked == ["yard"]


def test_a_camera_that_frigate_does_not_have_is_named(started, watching, frigate, caplog):
    started(frigate, watching, cameras="yrad, door")
    until(lambda: any("yrad" in record.getMessage() and "yard" in record.getMessage() for record in caplog.records))


def test_an_event_that_frigate_has_not_stored_yet_is_named_later(started, watching, frigate, scene):
    started(frigate, watching)
    frigate.unknown_for = 1
    frigate.pictures[ID] = scene(COLLINS, None, 1)
    watching.publish("frigate/events", message("end", ID, 11.0, LEFT))
    until(lambda: frigate.names(ID) == ["Eileen Collins"])
    assert frigate.asked == [ID]


def test_a_name_of_someone_else_is_kept(started, watching, frigate, scene):
    started(frigate, watching)
    frigate.pictures[ID] = scene(COLLINS, None, 1)
    watching.publish("frigate/events", message("end", ID, 11.0, LEFT, sub_label=["Bob", 0.9]))
    until(lambda: results(watching))
    assert results(watching)[0]["name"] == "Eileen Collins" and frigate.sub_labels == []


def test_frigate_may_go_and_come_back_with_other_sizes(started, watching, scene):
    port = free_port()
    with contextlib.closing(FrigateServer(port)) as frigate:
        frigate.config = {"cameras": {"door": {"detect": {"width": WIDTH // 2, "height": HEIGHT // 2}}}}
        frigate.pictures[ID] = scene(COLLINS, None, 1)
        started(frigate, watching)
        watching.publish("frigate/events", message("new", ID, 11.0, [side // 2 for side in LEFT]))
        until(lambda: frigate.asked == [ID])
    watching.publish("frigate/available", "offline")
    watching.publish("frigate/events", message("end", ID, 12.0, LEFT))
    watching.publish("frigate/available", "online")
    with contextlib.closing(FrigateServer(port)) as frigate:
        frigate.pictures = {ID: scene(COLLINS, HOPPER, 2), "b": scene(COLLINS, HOPPER, 2)}
        until(lambda: frigate.names(ID) == ["Eileen Collins"])
        watching.publish("frigate/events", message("end", "b", 11.0, RIGHT))
        until(lambda: frigate.names("b") == ["Grace Hopper"])


def test_a_message_that_waited_too_long_is_not_used_while_the_person_moves_on(started, watching, frigate, scene):
    """The picture may be newer, and another person where this one was."""
    started(frigate, watching, clock=itertools.count(0, 10 * PATIENT_S).__next__)
    frigate.pictures = {ID: scene(HOPPER, None, 1), "b": scene(COLLINS, None, 2)}
    watching.publish("frigate/events", message("update", ID, 11.0, LEFT))
    watching.publish("frigate/events", message("end", "b", 11.0, LEFT))
    until(lambda: frigate.names("b") == ["Eileen Collins"])
    assert ID not in frigate.asked
    frigate.pictures[ID] = scene(COLLINS, None, 3)
    watching.publish("frigate/events", message("end", ID, 12.0, LEFT))
    until(lambda: frigate.names(ID) == ["Eileen Collins"])
    assert frigate.asked.count(ID) == 1


def test_the_broker_may_be_killed_and_come_back(started, watching, broker, frigate, scene):
    started(frigate, watching)
    broker.kill()
    broker.start()
    with contextlib.closing(Subscriber(broker.port)) as again:
        until(lambda: again.now().get("faces/pi/frigate/status") == b"online")
        frigate.pictures[ID] = scene(COLLINS, None, 2)
        again.publish("frigate/events", message("end", ID, 11.0, LEFT))
        until(lambda: frigate.names(ID) == ["Eileen Collins"] and results(again))


def test_it_logs_in_and_again_when_the_token_has_expired(started, watching, scene, tmp_path):
    (tmp_path / "password").write_text("a long one", encoding="utf-8")
    with contextlib.closing(FrigateServer(user=("faces", "a long one"))) as frigate:
        started(frigate, watching, user="faces", password=f"file:{tmp_path / 'password'}")
        frigate.pictures = dict.fromkeys(("a", "b"), scene(COLLINS, None, 1))
        watching.publish("frigate/events", message("end", "a", 11.0, LEFT))
        until(lambda: frigate.names("a"))
        frigate.token = "second"
        watching.publish("frigate/events", message("end", "b", 11.0, LEFT))
        until(lambda: frigate.names("b"))
        assert frigate.logins == 2


def test_a_stored_picture_of_another_shape_is_used_only_with_a_single_face(started, watching, frigate, portraits):
    started(frigate, watching)
    heads = heads_of(portraits)
    frigate.pictures["one"] = jpeg(heads[COLLINS])
    frigate.pictures["two"] = jpeg(np.concatenate([heads[COLLINS], heads[HOPPER]]))
    for name in ("one", "two"):
        watching.publish("frigate/events", message("end", name, 11.0, RIGHT))
    until(lambda: len(results(watching)) == 2)
    named = {result["id"]: (result["name"], result["reason"]) for result in results(watching)}
    assert named == {"one": ("Eileen Collins", "matched"), "two": (None, "several_faces")}


def test_a_connection_to_the_broker_that_ends_while_it_is_closed_is_no_error(monkeypatch):
    link = FrigateLink(MqttSettings(url="mqtt://127.0.0.1:1"), FrigateSettings(url="http://x"), "pi", print, print)
    monkeypatch.setattr(link._client, "is_connected", lambda: True)  # it ends just after this question
    link.close()
