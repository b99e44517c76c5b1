"""People are seen to move; noise, light, weather, lamps, leaves and compression are not."""

import itertools

import cv2
import numpy as np
import pytest

from app.capture.motion import MotionDetector
from app.output.video_encoders import open_video_writer

WIDTH, HEIGHT = 1280, 720
FRAMES_PER_S = 10


def texture(seed, width=WIDTH, height=HEIGHT):
    """A picture with large and small structures."""
    rng = np.random.default_rng(seed)

    def layer(cell, low, high, interpolation):
        values = rng.integers(low, high, (height // cell + 1, width // cell + 1, 3), np.uint8)
        return cv2.resize(values, (width, height), interpolation=interpolation).astype(np.float32)

    large, middle, small = (
        layer(80, 20, 236, cv2.INTER_CUBIC),
        layer(12, 0, 256, cv2.INTER_CUBIC),
        layer(3, 0, 256, 1),
    )
    return np.clip(0.55 * large + 0.22 * middle + 0.1 * small + 10, 0, 255).astype(np.uint8)


ROOM = texture(1)
CLOTHES = texture(77, 400, 600)


class Camera:
    """Adds the noise of a sensor."""

    def __init__(self, sigma=4.0):
        self.rng = np.random.default_rng(3)
        self._noise = self.rng.normal(0, sigma, (HEIGHT, WIDTH, 3)).astype(np.int16)

    def take(self, scene):
        noise = np.roll(self._noise, (self.rng.integers(HEIGHT), self.rng.integers(WIDTH)), (0, 1))
        return np.clip(scene + noise, 0, 255).astype(np.uint8)


def watch(scenes, camera=None, detector=None):
    """What moves in each frame after the first one, in which nothing is known yet."""
    camera, detector = camera or Camera(), detector or MotionDetector()
    motions = [detector.update(camera.take(scene), 1 / FRAMES_PER_S) for scene in scenes]
    assert motions[0].everywhere
    return motions[1:]


def share(motions):
    """Of the frames in which something moves."""
    return float(np.mean([motion.everywhere or len(motion.areas) > 0 for motion in motions]))


def person(x, y, width, height, contrast=None, room=ROOM):
    scene = room.astype(np.int16)
    left, right = max(x, 0), min(x + width, WIDTH)
    if left < right:
        body = cv2.resize(CLOTHES, (width, height))[:, left - x : right - x]
        part = slice(y, y + height), slice(left, right)
        scene[part] = body if contrast is None else scene[part] + contrast
    return scene


def is_seen(motion, x, y):
    areas = motion.areas
    return bool(np.any((areas[:, 0] <= x) & (areas[:, 2] > x) & (areas[:, 1] <= y) & (areas[:, 3] > y)))


@pytest.mark.parametrize("sigma", [1, 4, 12])
def test_nothing_moves_in_the_noise_of_a_sensor(sigma):
    motions = watch([ROOM] * 100, Camera(sigma))
    assert share(motions) <= 0.01


@pytest.mark.parametrize(
    "light",
    [
        lambda at: ROOM * [1.0, 0.6, 1.3, 0.8][at // 10 % 4],
        lambda at: ROOM * (1 + 0.3 * np.sin(at / 8)),
        lambda at: ROOM * 0.8 + [0, 30, 10][at // 15 % 3],
        lambda at: 255 * (ROOM / 255) ** [1.0, 0.8, 1.25][at // 10 % 3],
    ],
    ids=["steps", "auto-exposure", "veil", "gamma"],
)
def test_light_on_everything_is_no_motion(light):
    motions = watch(np.clip(light(at), 0, 255) for at in range(80))
    assert share(motions) <= 0.01


def test_a_person_is_seen_while_the_light_changes():
    scenes = [
        np.clip(person(400 + 10 * max(0, at - 20), 300, 60, 180) * [1.0, 0.7][at // 5 % 2], 0, 255) for at in range(40)
    ]
    motions = watch(scenes)[20:]
    assert np.mean([is_seen(motion, 431 + 10 * at, 390) for at, motion in enumerate(motions)]) >= 0.9
    assert not any(motion.everywhere for motion in motions)


def rain(rng, drops, length, thickness):
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y in zip(rng.integers(0, WIDTH, drops).tolist(), rng.integers(0, HEIGHT, drops).tolist()):
        cv2.line(layer, (x, y), (x + length // 7, y + length), 40, thickness)
    return ROOM + layer[..., None].astype(np.int16)


def snow(rng, flakes, radius):
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y in zip(rng.integers(0, WIDTH, flakes).tolist(), rng.integers(0, HEIGHT, flakes).tolist()):
        cv2.circle(layer, (x, y), int(rng.integers(1, radius)), 80, -1)
    return ROOM + layer[..., None].astype(np.int16)


@pytest.mark.parametrize(
    "weather",
    [
        lambda rng: rain(rng, 200, 40, 2),
        lambda rng: rain(rng, 800, 40, 2),
        lambda rng: rain(rng, 60, 120, 4),
        lambda rng: snow(rng, 200, 6),
    ],
    ids=["rain", "heavy rain", "near drops", "snow"],
)
def test_after_five_seconds_of_rain_or_snow_nothing_moves(weather):
    rng = np.random.default_rng(5)
    motions = watch(weather(rng) for _ in range(150))
    assert share(motions[50:]) <= 0.05


def test_a_person_is_seen_in_the_rain():
    rng = np.random.default_rng(5)
    scenes = []
    for at in range(90):
        scene = rain(rng, 200, 40, 2)
        x = 10 * (at - 60)
        if x > 0:
            scene[300:480, x : x + 60] = cv2.resize(CLOTHES, (60, 180))
        scenes.append(scene)
    motions = watch(scenes)
    assert np.mean([is_seen(motions[at - 1], 10 * (at - 60) + 30, 390) for at in range(63, 90)]) >= 0.9


def lit(on):
    scene = ROOM.astype(np.int16)
    if on:
        cv2.circle(scene, (900, 200), 60, (255, 255, 255), -1)
        scene[260:400, 700:1100] += 40
    return scene


@pytest.mark.parametrize("frames_on", [1, 3, 5])
def test_a_lamp_that_flickers_is_no_motion_after_ten_seconds(frames_on):
    motions = watch(lit(at // frames_on % 2) for at in range(160))
    assert share(motions[100:]) <= 0.02


def test_a_person_is_seen_in_front_of_a_lamp_that_flickers():
    scenes = [lit(at // 3 % 2) for at in range(120)]
    for at in range(100, 120):
        x = 700 + 20 * (at - 100)
        scenes[at][250:600, x : x + 120] = cv2.resize(CLOTHES, (120, 350))
    motions = watch(scenes)
    assert all(is_seen(motions[at - 1], 760 + 20 * (at - 100), 500) for at in range(102, 120))


def test_leaves_in_the_wind_are_no_motion_after_half_a_minute():
    leaves, scenes = texture(5), []
    for at in range(400):
        scene = ROOM.copy()
        for branch in range(6):
            x = int(200 + 12 * np.sin(at * (0.6 + 0.1 * branch) + branch))
            y = int(100 + 60 * branch + 8 * np.sin(at * 0.9 + 2 * branch))
            scene[y : y + 60, x : x + 200] = leaves[100 + 60 * branch : 160 + 60 * branch, 300:500]
        scenes.append(scene)
    motions = watch(scenes)
    assert share(motions[300:]) <= 0.2


@pytest.mark.parametrize("crf", [23, 35])
def test_compression_and_its_key_frames_are_no_motion(crf, tmp_path):
    video, camera = tmp_path / "room.mp4", Camera(6)
    writer = open_video_writer(video, (WIDTH, HEIGHT), crf, FRAMES_PER_S)
    for at in range(60):
        writer.write(camera.take(ROOM), at / FRAMES_PER_S)
    writer.close(1 / FRAMES_PER_S)
    capture, detector, motions = cv2.VideoCapture(str(video)), MotionDetector(), []
    for _, image in iter(capture.read, (False, None)):
        motions.append(detector.update(image, 1 / FRAMES_PER_S))
    capture.release()
    assert len(motions) == 60 and share(motions[1:]) <= 0.01


@pytest.mark.parametrize("speed", [1, 4, 10, 25])
def test_a_small_person_who_walks_in_is_seen_within_two_frames(speed):
    """A body of 40 x 120 pixels: the face is 16 pixels high."""
    places = [*[-100] * 20, *range(-20, 500, speed)][:60]
    motions = watch(person(x, 300, 40, 120) for x in places)
    seen = [motion.everywhere or len(motion.areas) > 0 for motion in motions]
    assert not any(seen[:18])
    assert seen.index(True) <= 21
    assert np.mean([is_seen(motion, max(x + 20, 0), 360) for motion, x in zip(motions[21:], places[22:])]) >= 0.95


@pytest.mark.parametrize(("contrast", "sigma"), [(12, 4), (-15, 8)])
def test_a_person_with_little_contrast_is_seen(contrast, sigma):
    motions = watch((person(10 * at - 200, 300, 40, 120, contrast) for at in range(60)), Camera(sigma))
    assert np.mean([is_seen(motions[at - 1], 10 * at - 180, 360) for at in range(22, 60)]) >= 0.9


def test_somebody_who_stays_is_motion_for_seconds_and_then_belongs_to_the_background():
    scenes = [*[ROOM] * 10, *[person(600, 300, 60, 180)] * 600]
    motions = watch(scenes)
    assert all(is_seen(motion, 630, 390) for motion in motions[11:110])
    assert share(motions[-100:]) == 0


def test_somebody_who_stays_for_five_seconds_and_leaves_is_no_motion_afterwards():
    there = [person(600 + int(6 * np.sin(at / 3)), 200, 200, 500) for at in range(50)]
    motions = watch([*[ROOM] * 10, *there, *[person(600 + 80 * at, 200, 200, 500) for at in range(10)], *[ROOM] * 20])
    assert all(is_seen(motion, 700, 400) for motion in motions[11:55])
    assert share(motions[-19:]) == 0


@pytest.mark.parametrize("change", ["cut", "camera", "light"])
def test_a_picture_that_changes_everywhere_is_reported_once(change):
    other = {"cut": texture(2), "camera": np.roll(ROOM, 40, 1), "light": np.maximum(ROOM, texture(9))}[change]
    motions = watch([*[ROOM] * 10, *[other] * 20])
    assert [at for at, motion in enumerate(motions) if motion.everywhere] == [9]
    assert share(motions[10:]) == 0


def test_areas_are_pixels_of_the_frame_whatever_its_size():
    for width, height in [(1280, 720), (3840, 2160), (720, 1280), (1000, 563), (320, 240), (64, 48)]:
        room = texture(4, width, height)
        moved = room.copy()
        left, top, right, bottom = width // 2, height // 4, width // 2 + width // 6, height // 2
        moved[top:bottom, left:right] = 255 - moved[top:bottom, left:right]
        detector = MotionDetector()
        (area,) = [detector.update(image) for image in (room, room, moved, moved)][-1].areas
        assert area.dtype == np.int32
        margin = 3 * 2 * max(1, max(width, height) // 300)
        assert np.all(np.abs(area - [left, top, right, bottom]) <= margin), (width, height, area)
        assert 0 <= area[0] < area[2] <= width and 0 <= area[1] < area[3] <= height


def test_two_people_have_an_area_each_and_areas_do_not_overlap():
    scenes = [ROOM] * 5
    for at in range(10):
        x, y = 200 + 8 * at, 200 + 8 * at
        scene = person(x, 300, 60, 180)
        scenes.append(person(900, y, 80, 240, room=scene))
    for at, motion in enumerate(watch(scenes)[5:], 1):
        assert is_seen(motion, 230 + 8 * at, 390) and is_seen(motion, 940, 320 + 8 * at)
        assert len(motion.areas) >= 2
        for one, other in itertools.combinations(motion.areas.tolist(), 2):
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_motion_in_an_ignored_part_does_not_count():
    ignored = np.zeros((360, 640), np.bool_)
    ignored[:, 320:] = True
    scenes = [ROOM] * 10 + [person(10 * at, 300, 60, 180) for at in range(128)]
    motions = watch(scenes, detector=MotionDetector(ignored))
    assert all(len(motion.areas) for motion in motions[11:70])
    assert share(motions[75:]) == 0


def test_another_frame_size_starts_again():
    detector = MotionDetector()
    assert detector.update(ROOM).everywhere
    assert not detector.update(ROOM).everywhere
    assert detector.update(cv2.resize(ROOM, (640, 360))).everywhere


@pytest.mark.parametrize("shape", [(1, 1), (4, 4000), (4000, 4), (2160, 3840)])
def test_frames_may_have_any_shape(shape):
    scenes = np.random.default_rng(0).integers(0, 255, (3, *shape, 3), dtype=np.uint8)
    detector = MotionDetector(np.zeros((320, 320), np.bool_))
    assert detector.update(scenes[0]).everywhere
    for scene in scenes[1:]:
        areas = detector.update(scene).areas
        assert areas.shape[1] == 4 and (areas <= [shape[1], shape[0]] * 2).all()
