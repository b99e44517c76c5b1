"""Channels of a run over HTTP: their state, their pictures, and that no one sees more than the outputs do."""

import socket
import threading

import cv2
import numpy as np
import pytest
from made_results import ANN, frame, picture, result
from uvicorn.protocols.http.flow_control import FlowControl
from waiting import PATIENT_S, until


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def grey(level):
    return result(frame(image=picture(320, 180, level)))


def next_part(stream):
    """The JPEG of the next part of a motion JPEG."""
    assert stream.readline() == b"--frame\r\n"
    assert stream.readline() == b"Content-Type: image/jpeg\r\n"
    size = int(stream.readline().split()[1])
    assert stream.readline() == b"\r\n"
    part = stream.read(size)
    assert stream.readline() == b"\r\n"
    return part


def test_the_channels_of_a_run_and_what_they_did(crowd):
    client, _ = crowd
    reply = client.get("/api/v1/channels").json
    (hall,) = reply["channels"]
    assert (hall["name"], hall["state"], hall["live"], hall["processed"]) == ("hall", "running", False, 20)
    assert hall["counters"]["read"] >= 20
    assert hall["last_error"] is None
    assert (reply["degrade_level"], reply["events_kept"]) == (0, True)


def test_a_server_without_sources_has_no_channels(served):
    assert served.get("/api/v1/channels").json == {"channels": [], "degrade_level": 0, "events_kept": False}
    assert served.get("/api/v1/channels/hall/snapshot.jpg").status == 404
    assert served.get("/api/v1/channels/hall/mjpeg").status == 404


def test_a_snapshot_is_the_newest_picture(crowd):
    client, _ = crowd
    reply = client.get("/api/v1/channels/hall/snapshot.jpg")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
    assert decoded(reply.body).shape == (720, 1280, 3)
    assert reply.headers["cache-control"] == "private, no-store"
    assert "x-captured-at" in reply.headers


def test_boxes_are_drawn_and_widths_are_honoured_on_request(crowd):
    client, _ = crowd
    plain = decoded(client.get("/api/v1/channels/hall/snapshot.jpg?width=600").body)
    drawn = decoded(client.get("/api/v1/channels/hall/snapshot.jpg?width=600&boxes=1").body)
    assert plain.shape == drawn.shape == (360, 640, 3)
    assert cv2.absdiff(plain, drawn).max() > 100


@pytest.mark.parametrize("query", ["boxes=yes", "width=-1", "width=nan", "width=x"])
def test_wrong_parameters_are_refused(crowd, query):
    client, _ = crowd
    assert client.get(f"/api/v1/channels/hall/snapshot.jpg?{query}").status == 400


def test_there_is_no_picture_before_the_first_frame(watched):
    client, _ = watched("front")
    reply = client.get("/api/v1/channels/front/snapshot.jpg")
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")


def test_covered_faces_are_covered_for_those_who_watch(crowd, running, tmp_path):
    _, view = crowd
    plain = view.live.newest("hall").result
    with running(tmp_path, cover="all") as (client, _):
        seen = decoded(client.get("/api/v1/channels/hall/snapshot.jpg").body)
    own = decoded(crowd[0].get("/api/v1/channels/hall/snapshot.jpg").body)
    assert len(plain.faces) == 3
    for x1, y1, x2, y2 in np.rint(plain.faces.boxes).astype(int).tolist():
        face = np.s_[y1:y2, x1:x2]
        sharpness = [cv2.Laplacian(image[face], cv2.CV_64F).var() for image in (seen, own)]
        assert sharpness[0] < 0.2 * sharpness[1]


def test_motion_jpeg_shows_pictures_as_they_come(watched):
    client, view = watched("front")
    view.live.handle(grey(40))
    with client.opened("/api/v1/channels/front/mjpeg?fps=30") as stream:
        assert stream.getheader("content-type") == "multipart/x-mixed-replace; boundary=frame"
        for level in (40, 80, 120):
            view.live.handle(grey(level))
            # One from before may be on its way.
            until(lambda level=level: decoded(next_part(stream)).mean() == pytest.approx(level, abs=3))


def test_a_slow_viewer_gets_fewer_pictures_and_holds_nobody_up(watched, monkeypatch):
    monkeypatch.setattr("app.service.streams.SLOW_CLIENT_S", PATIENT_S)
    client, view = watched("front")
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3), np.uint8)
    with client.opened("/api/v1/channels/front/mjpeg?fps=30") as slow, client.opened(
        "/api/v1/channels/front/mjpeg?fps=30&width=320"
    ) as quick:
        # More than the buffers of a connection hold, of which the slow one reads nothing.
        for index in range(30):
            noise[0, 0] = index
            view.live.handle(result(frame(index, image=noise)))
            next_part(quick)
        next_part(slow)
        assert client.get("/api/v1/channels").status == 200
        view.live.handle(grey(77))
        parts = 1
        while decoded(next_part(slow)).mean() != pytest.approx(77, abs=3):
            parts += 1
        assert parts < 25


def test_a_picture_is_encoded_once_for_all(watched):
    client, view = watched("front")
    view.live.handle(grey(50))
    shown = view.live.newest("front")
    with client.opened("/api/v1/channels/front/mjpeg") as one, client.opened("/api/v1/channels/front/mjpeg") as two:
        assert next_part(one) == next_part(two) == client.get("/api/v1/channels/front/snapshot.jpg").body
    assert len(shown._jpegs) == 1


def test_nothing_is_encoded_while_no_one_watches(watched):
    _, view = watched("front")
    view.live.handle(grey(50))
    assert not view.live.newest("front")._jpegs


def test_the_number_of_viewers_is_limited(watched):
    client, view = watched("front", viewers=1)
    view.live.handle(grey(50))
    path = "/api/v1/channels/front/mjpeg"
    with client.opened(path) as stream:
        next_part(stream)
        refused = client.get(path)
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert client.get("/api/v1/events/stream").status == 503
        assert client.get("/api/v1/channels/front/snapshot.jpg").status == 200
    until(lambda: view.viewers.count == 0)
    assert client.get("/api/v1/events/stream").status == 200


def test_a_viewer_who_reads_nothing_and_goes_watches_no_longer(watched, monkeypatch):
    client, view = watched("front")
    is_blocked, drain = threading.Event(), FlowControl.drain

    async def draining(flow):
        is_blocked.set()
        await drain(flow)

    monkeypatch.setattr(FlowControl, "drain", draining)
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", client.port))
        viewer.sendall(b"GET /api/v1/channels/front/mjpeg?fps=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(is_blocked.is_set, lambda: view.live.handle(result(frame(image=noise))))
        assert view.viewers.count == 1
    # The same moment ends what it is sent, and the wait for that.
    until(lambda: view.viewers.count == 0)


def test_faces_keep_their_places_when_the_picture_is_smaller():
    from app.service.live import shown_faces

    seen = result(frame(image=picture(320, 180)), [(32, 16, 96, 80)], [ANN])
    (face,) = shown_faces(seen, 160)
    assert (face["box"], face["name"], face["state"], face["reason"]) == ([16, 8, 48, 40], "Ann", "known", "matched")


def test_metrics_are_served_here_too(crowd, served):
    pytest.importorskip("prometheus_client")
    client, _ = crowd
    assert 'face_recognition_frames_processed_total{channel="hall"} 20.0' in client.get("/api/v1/metrics").body.decode()
    assert "face_recognition_healthy 1.0" in served.get("/api/v1/metrics").body.decode()
