"""The search for the greatest number of channels, the cameras that it plays, and what they show."""

import dataclasses

import cv2
import numpy as np
import pytest

from app.look import Look
from app.tools.benchmark.channels import (
    CYCLE_S,
    FPS,
    ChannelLoad,
    addresses,
    cameras,
    cpu_s,
    search,
    write_clips,
)
from app.tools.benchmark.rtsp_cameras import MAX_PAYLOAD, Clip, packets, payloads

LOAD = ChannelLoad(1, 0.1, 0.02, 0.1, 10.0, 1.0, 1.0, 0.1, 0.0, {str(look): 0.25 for look in Look}, 0.25)


def loads_up_to(most):
    """A machine of two cores that carries this many."""
    asked, cores_each = [], 1.8 / max(1, most)

    def load_of(count):
        asked.append(count)
        return dataclasses.replace(
            LOAD, channels=count, cores=count * cores_each, p95_age_s=0.1 if count <= most else 1
        )

    return load_of, asked


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 16, 40, 300])
def test_the_greatest_number_is_found_to_within_a_tenth(most):
    load_of, asked = loads_up_to(most)
    loads = search(load_of, cores=2)
    carried = max((load.channels for load in loads if load.carried), default=0)
    assert min(most, 256) * 0.9 - 1 < carried <= most
    assert len(asked) == len(set(asked)) <= 12


def test_a_number_that_does_not_start_is_too_many():
    load_of, _ = loads_up_to(50)
    loads = search(lambda count: None if count > 5 else load_of(count), cores=2)
    assert [load.channels for load in loads][-1] == 5


@pytest.mark.parametrize(("field", "value"), [("p95_age_s", 0.26), ("slowest_fps", 8.9)])
def test_old_frames_and_a_starving_channel_are_not_carried(field, value):
    assert LOAD.carried and not dataclasses.replace(LOAD, **{field: value}).carried


def test_cameras_show_people_for_their_share_of_the_time(tmp_path, portraits, recognizer):
    idle, often = write_clips(tmp_path, portraits, recognizer, (0.0, 0.3))
    shown = {}
    for path in (idle, often):
        video = cv2.VideoCapture(str(path))
        frames = enumerate(iter(video.read, (False, None)), 1)
        looks = [(number, number % 5 == 0 and bool(len(recognizer.find([image])[0]))) for number, (_, image) in frames]
        video.release()
        assert len(looks) == CYCLE_S * FPS
        shown[path] = [found for number, found in looks if number % 5 == 0]
    assert sum(shown[idle]) == 0
    assert 0.2 <= np.mean(shown[often]) <= 0.3


def test_a_camera_plays_its_clip_in_real_time_again_and_again(tmp_path, portraits, recognizer, monkeypatch):
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    (clip,) = write_clips(tmp_path, portraits, recognizer, (0.1,))
    with cameras([clip]) as (process, port):
        first, second = addresses(port, clip, 2)
        assert (first, second) == tuple(f"rtsp://127.0.0.1:{port}/present-10/{at}" for at in (0, CYCLE_S // 2))
        # A second before the end.
        video = cv2.VideoCapture(first[:-1] + str(CYCLE_S - 1), cv2.CAP_FFMPEG)
        stamps_ms = []
        for _ in range(2 * FPS):
            found, image = video.read()
            assert found and image.shape == (720, 1280, 3)
            stamps_ms.append(video.get(cv2.CAP_PROP_POS_MSEC))
        video.release()
        assert np.diff(stamps_ms[1:]) == pytest.approx(1000 / FPS, abs=2)
        assert cpu_s(process) > 0


def test_a_long_unit_is_sent_in_fragments_that_give_it_back():
    unit = bytes([0x65]) + np.random.default_rng(1).bytes(3 * MAX_PAYLOAD + 5)
    parts = payloads(unit)
    assert len(parts) == 4 and all(len(part) <= MAX_PAYLOAD + 2 for part in parts)
    assert bytes([(parts[0][0] & 0xE0) | (parts[0][1] & 0x1F)]) + b"".join(part[2:] for part in parts) == unit
    assert [part[1] & 0xC0 for part in parts] == [0x80, 0, 0, 0x40]
    sent, following = packets([b"\x67abc", unit], 65534, 7)
    assert following == 65534 + 5 and sent.count(b"$\0") >= 5


def test_a_clip_has_the_parameters_that_a_decoder_needs(tmp_path, portraits, recognizer):
    (path,) = write_clips(tmp_path, portraits, recognizer, (0.0,))
    clip = Clip.read(path)
    assert (clip.fps, clip.seconds) == (FPS, CYCLE_S)
    assert [unit[0] & 0x1F for unit in clip.parameters] == [7, 8]
    assert clip.keys[0] == 0 and len(clip.keys) >= CYCLE_S / 2
    assert "packetization-mode=1" in clip.description()
