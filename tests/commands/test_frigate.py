"""`python -m app frigate` as a process, next to a real broker."""

import contextlib
import signal
import socket

import numpy as np
import pytest
from frigate_server import FrigateServer, jpeg, message
from made_galleries import copy_photos
from mosquitto import MISSING, Broker, Subscriber
from waiting import until

from app.tools.demo.portraits import heads_of


def test_both_addresses_are_needed(answered, config_file):
    for words in ([], ["http://127.0.0.1:1"], ["--mqtt", "mqtt://127.0.0.1:1"]):
        code, _, err = answered("frigate", *words, "--config", config_file)
        assert code == 2 and "mqtt.url" in err and "frigate.url" in err


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_it_names_people_until_it_is_stopped(program, tmp_path, people_gallery, portraits):
    pytest.importorskip("paho.mqtt.client")
    copy_photos(people_gallery, tmp_path / "gallery")
    (tmp_path / "broker").mkdir()
    picture = np.full((720, 1280, 3), 96, np.uint8)
    picture[200:560, 100:420] = heads_of(portraits)[0]
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(contextlib.closing(Broker(tmp_path / "broker")))
        frigate = stack.enter_context(contextlib.closing(FrigateServer()))
        watching = stack.enter_context(contextlib.closing(Subscriber(broker.port)))
        frigate.pictures["a"] = jpeg(picture)
        systemd = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        systemd.bind(str(tmp_path / "notify"))
        broker_url = f"mqtt://127.0.0.1:{broker.port}"
        process = program("frigate", frigate.url, "--mqtt", broker_url, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert systemd.recv(1000).startswith(b"READY=1")
        status = "/frigate/status"
        until(lambda: any(topic.endswith(status) for topic in watching.now()))
        watching.publish("frigate/events", message("end", "a", 1.0, (90, 190, 430, 570)))
        until(lambda: frigate.names("a") == ["Eileen Collins"])
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert process.returncode == 0, err
        until(lambda: b"offline" in [body for topic, body in watching.now().items() if topic.endswith(status)])
