"""Live pictures and events over one WebSocket."""

import asyncio
import json

import cv2
import numpy as np
import pytest
from made_results import ANN, STRANGER, frame, picture, result, track
from waiting import PATIENT_S, until

from app.events.event import EventKind, SourceEvent
from app.service.tokens import add_token

pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def opened(client, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    origin = headers.pop("Origin", None)
    return connect(
        f"ws://127.0.0.1:{client.port}/api/v1/live", additional_headers=headers, origin=origin,
        open_timeout=PATIENT_S, close_timeout=PATIENT_S,
    )  # fmt: skip


def say(socket, **message):
    socket.send(json.dumps(message))


def next_picture(socket):
    """Header and picture of the next binary message."""
    message = socket.recv(timeout=PATIENT_S)
    assert isinstance(message, bytes), message
    size = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + size]), cv2.imdecode(np.frombuffer(message[4 + size :], np.uint8), 1)


def grey(level, source="front", index=0):
    return result(frame(index, source=source, image=picture(320, 180, level)))


def lost(sequence, channel="front"):
    return SourceEvent(sequence, EventKind.SOURCE_LOST, channel, 1_800_000_000.0, error="gone")


def test_a_picture_comes_with_its_faces(watched):
    client, view = watched("front")
    boxes = [(32, 16, 96, 80), (160, 16, 224, 80)]
    tracks = [track(1, ANN), track(2, STRANGER)]
    view.live.handle(result(frame(7), boxes, [ANN, STRANGER], tracks, track_ids=[1, 2]))
    with opened(client) as socket:
        say(socket, want={"front": [160, 10]})
        header, shown = next_picture(socket)
    assert shown.shape == (90, 160, 3)
    assert (header["ch"], header["id"], header["degrade"]) == ("front", 1, 0)
    assert header["t"] == pytest.approx(1_800_000_000.28)
    ann, stranger = header["faces"]
    assert ann == {
        "track": 1, "box": [16, 8, 48, 40], "name": "Ann", "state": "known", "sim": None, "reason": "matched",
        "stranger": None,
    }  # fmt: skip
    assert (stranger["name"], stranger["state"], stranger["reason"]) == (None, "unknown", "below_threshold")


def test_the_next_picture_is_the_newest_one_after_the_acknowledgement(watched):
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client) as socket:
        say(socket, want={"front": [320, 30]})
        header, _ = next_picture(socket)
        for level in (60, 80, 100):
            view.live.handle(grey(level))
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)
        say(socket, ack=header["id"])
        header, shown = next_picture(socket)
        assert (header["id"], round(shown.mean())) == (2, 100)


def test_a_slow_tab_slows_no_other_one(watched):
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client) as slow, opened(client) as quick:
        say(slow, want={"front": [320, 30]})
        say(quick, want={"front": [320, 30]})
        next_picture(slow)
        header, _ = next_picture(quick)
        for level in (60, 80, 100):
            say(quick, ack=header["id"])
            view.live.handle(grey(level))
            header, shown = next_picture(quick)
            assert shown.mean() == pytest.approx(level, abs=2)


def test_channels_are_paced_on_their_own(watched):
    client, view = watched("front", "yard")
    for name in ("front", "yard"):
        view.live.handle(grey(40, name))
    with opened(client) as socket:
        say(socket, want={"front": [320, 30], "yard": [160, 30]})
        first = {header["ch"]: (header["id"], shown.shape[1]) for header, shown in map(next_picture, [socket] * 2)}
        assert {name: width for name, (_, width) in first.items()} == {"front": 320, "yard": 160}
        # The yard is not acknowledged.
        say(socket, want={"front": [320, 30]}, ack=first["front"][0])
        view.live.handle(grey(80, "yard"))
        view.live.handle(grey(90, "front"))
        header, shown = next_picture(socket)
        assert (header["ch"], round(shown.mean())) == ("front", 90)


def test_the_frame_rate_is_what_the_tab_wants(watched):
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client) as socket:
        say(socket, want={"front": [320, 0.1]})
        header, _ = next_picture(socket)
        say(socket, ack=header["id"])
        view.live.handle(grey(80))
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)
        # What it wants from now on holds at once.
        say(socket, want={"front": [320, 30]})
        assert next_picture(socket)[1].mean() == pytest.approx(80, abs=2)


def test_events_are_text_messages(watched):
    client, view = watched("front")
    with opened(client) as socket:
        say(socket, want={})
        until(lambda: view.viewers.count == 1)
        view.events.add(lost(1))
        event = json.loads(socket.recv(timeout=PATIENT_S))
    assert (event["event"], event["channel"], event["sequence"]) == ("source_lost", "front", 1)
    assert event["id"] == view.events.id_of(event)


def test_a_channel_that_does_not_exist_is_named(watched):
    client, _ = watched("front")
    with opened(client) as socket:
        say(socket, want={"yard": [320, 5]})
        assert "yard" in json.loads(socket.recv(timeout=PATIENT_S))["error"]


@pytest.mark.parametrize(
    "message", ["{", b"{}", "[]", '{"want": 5}', '{"want": {"front": [320, 0]}}', '{"want": {"front": 1}}']
)
def test_a_message_that_is_no_wish_ends_the_connection(watched, message, caplog):
    client, view = watched("front")
    with opened(client) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENT_S)
    assert closed.value.rcvd.code == 4400
    until(lambda: view.viewers.count == 0)
    assert caplog.text == ""


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
def test_pages_of_other_servers_may_not_watch(watched, headers):
    client, _ = watched("front")
    with pytest.raises(InvalidStatus) as refused, opened(client, **headers):
        pass
    assert refused.value.response.status_code == 403


def test_the_own_page_may_watch(watched):
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client, Origin=f"http://127.0.0.1:{client.port}") as socket:
        say(socket, want={"front": [320, 5]})
        next_picture(socket)


def test_a_token_comes_in_a_header_or_in_the_first_message(watched, tmp_path):
    secret = add_token(tmp_path / "tokens.json", "tablet", "read")
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client, Authorization=f"Bearer {secret}") as socket:
        say(socket, want={"front": [320, 5]})
        next_picture(socket)
    with opened(client) as socket:
        say(socket, token=secret)
        say(socket, want={"front": [320, 5]})
        next_picture(socket)


@pytest.mark.parametrize("first", [{"token": "wrong"}, {"want": {"front": [320, 5]}}, {"token": 5}])
def test_without_a_token_nothing_is_shown(watched, tmp_path, first):
    add_token(tmp_path / "tokens.json", "tablet", "read")
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client) as socket:
        say(socket, **first)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENT_S)
    assert closed.value.rcvd.code == 4401


def test_a_token_that_is_removed_ends_what_is_open(watched, tmp_path, monkeypatch):
    from app.service import streams
    from app.service.tokens import remove_token

    monkeypatch.setattr(streams, "CHECK_TOKEN_EVERY_S", 0.0)
    secret = add_token(tmp_path / "tokens.json", "tablet", "read")
    add_token(tmp_path / "tokens.json", "other", "read")
    client, view = watched("front")
    view.live.handle(grey(40))
    with opened(client, x_api_key=secret) as socket, client.opened(
        "/api/v1/channels/front/mjpeg", **{"x-api-key": secret}
    ) as stream:
        say(socket, want={"front": [320, 30]})
        header, _ = next_picture(socket)
        stream.readline()
        remove_token(tmp_path / "tokens.json", "tablet")
        say(socket, ack=header["id"])
        view.live.handle(grey(80))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=PATIENT_S)
        assert closed.value.rcvd.code == 4401
        stream.read()  # to its end


def test_viewers_are_limited(watched):
    client, view = watched("front", viewers=1)
    with opened(client) as first:
        say(first, want={})
        until(lambda: view.viewers.count == 1)
        with opened(client) as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=PATIENT_S)
    assert closed.value.rcvd.code == 4503


def test_a_tab_is_told_when_the_server_ends(watched):
    client, view = watched("front")
    with opened(client) as socket:
        say(socket, want={"front": [320, 5]})
        until(lambda: view.viewers.count == 1)
        view.close()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENT_S)
    assert closed.value.rcvd.code == 1001


def test_people_are_named_in_the_live_pictures_of_a_run(crowd):
    client, _ = crowd
    with opened(client) as socket:
        say(socket, want={"hall": [640, 5]})
        header, shown = next_picture(socket)
    assert shown.shape == (360, 640, 3)
    assert {face["name"] for face in header["faces"]} == {"Eileen Collins", "Grace Hopper", None}
    assert all(0 <= side <= 640 for face in header["faces"] for side in face["box"])


def test_a_plain_request_is_told_that_this_is_a_websocket(watched):
    client, _ = watched()
    assert client.get("/api/v1/live").status == 426


def test_a_signal_wakes_those_who_wait_and_no_one_is_left(watched):
    from app.service.streams import Signal

    async def wait():
        signal = Signal()
        seen = signal.count
        await signal.wait(seen, 0.01)
        waiting = asyncio.ensure_future(signal.wait(seen, 50))
        await asyncio.sleep(0)
        signal.give()
        await waiting
        await signal.wait(seen, 50)  # given already
        return signal

    assert not asyncio.run(wait())._waiting
