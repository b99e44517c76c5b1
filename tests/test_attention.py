"""The pipeline with attention: where the detector looked, and that faces and names are those of whole frames."""

import contextlib
import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from app.gallery.gallery import Gallery
from app.look import Look
from app.pipeline import Pipeline
from app.settings import AttentionSettings
from app.types import Frame, Reason

FPS = 10


@pytest.fixture(scope="module")
def wall():
    """A room that is not empty for a detector: noise, edges and blobs."""
    rng = np.random.default_rng(5)
    rough = cv2.resize(rng.integers(60, 200, (9, 16, 3), np.uint8), (1280, 720), interpolation=cv2.INTER_CUBIC)
    return np.clip(rough.astype(int) + rng.integers(-4, 5, rough.shape), 0, 255).astype(np.uint8)


@contextlib.contextmanager
def watching(recognizer, settings, folder, mode="auto"):
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=folder),
        attention=AttentionSettings(mode=mode),
    )
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        yield Pipeline(recognizer, gallery, settings)


def results(pipeline, pictures, fps=FPS, channel="door"):
    return [pipeline.process(Frame(picture, channel, at, 0.0, at / fps)) for at, picture in enumerate(pictures)]


@pytest.fixture(scope="module")
def face(recognizer, people_video):
    """A frontal face with its surroundings, and its width in them."""
    _, picture = cv2.VideoCapture(str(people_video)).read()
    (faces,) = recognizer.find([picture])
    x1, y1, x2, y2 = faces.boxes[0]
    width, height = x2 - x1, y2 - y1
    left, top = max(0, int(x1 - 0.4 * width)), max(0, int(y1 - 0.4 * height))
    return picture[top : int(y2 + 0.4 * height), left : int(x2 + 0.4 * width)], float(width)


def with_face(room, face, x, y, width_px):
    pixels, width = face
    small = cv2.resize(pixels, None, fx=width_px / width, fy=width_px / width, interpolation=cv2.INTER_AREA)
    picture = room.copy()
    part = picture[y : y + small.shape[0], x : x + small.shape[1]]
    part[:] = small[: part.shape[0], : part.shape[1]]
    return picture


def test_an_empty_scene_is_left_alone(recognizer, settings, wall, tmp_path):
    with watching(recognizer, settings, tmp_path) as pipeline:
        looks = [result.look for result in results(pipeline, [wall] * 60)]
    assert looks[0] is Look.SCAN
    assert set(looks[20:]) == {Look.IDLE}
    assert looks.count(Look.SCAN) <= 3


def test_off_looks_at_every_frame_whole(recognizer, settings, wall, tmp_path):
    with watching(recognizer, settings, tmp_path, mode="off") as pipeline:
        assert {result.look for result in results(pipeline, [wall] * 5)} == {Look.SCAN}


@pytest.mark.parametrize("width_px", [20, 40, 100, 280])
def test_a_face_that_appears_is_found_within_three_frames_whatever_its_size(
    recognizer, settings, wall, face, tmp_path, width_px
):
    came = with_face(wall, face, 700, 150, width_px)
    with watching(recognizer, settings, tmp_path) as pipeline:
        found = [len(result.faces) for result in results(pipeline, [wall] * 30 + [came] * 4)]
    assert found[29] == 0 and found[-1] == 1


def test_a_face_that_fills_the_picture_is_found(recognizer, settings, face, tmp_path):
    close_up = cv2.resize(face[0], (1280, 720))
    with watching(recognizer, settings, tmp_path) as pipeline:
        seen = results(pipeline, [close_up] * 20)
    # So large, an eye and a cheek may count as a face of their own.
    heights = [(result.faces.boxes[:, 3] - result.faces.boxes[:, 1]).max(initial=0) for result in seen]
    assert min(heights) > 450


def test_names_are_those_of_whole_frames(recognizer, settings, people_video, people_gallery):
    video = cv2.VideoCapture(str(people_video))
    pictures = list(itertools.takewhile(lambda picture: picture is not None, (video.read()[1] for _ in range(50))))
    with watching(recognizer, settings, people_gallery, "off") as whole:
        expected = results(whole, pictures, fps=25)
    with watching(recognizer, settings, people_gallery) as pipeline:
        seen = results(pipeline, pictures, fps=25)
    for before, now in zip(expected[5:], seen[5:]):
        assert sorted(str(match.name) for match in now.matches) == sorted(str(match.name) for match in before.matches)
        assert len(now.tracks) == len(before.tracks)
    assert sum(result.look is Look.PREDICTED for result in seen) >= len(pictures) // 4


def test_a_moving_face_is_predicted_where_it_is(recognizer, settings, wall, face, tmp_path):
    places = [300 + 6 * at for at in range(75)]
    pictures = [with_face(wall, face, x, 200, 90) for x in places]
    with watching(recognizer, settings, tmp_path) as pipeline:
        seen = results(pipeline, pictures, fps=25)
    predicted = [(result, x) for result, x in zip(seen[15:], places[15:]) if result.look is Look.PREDICTED]
    assert len(predicted) > 15
    offsets = [float(result.faces.boxes[0, 0]) - x for result, x in predicted]
    assert np.ptp(offsets) < 25, "pixels, for a face that moves by 6 in each frame"
    assert all(result.tracks[0].expected_box is not None for result, _ in predicted)
    assert len({track for result in seen[15:] for track in result.track_ids}) == 1


def test_a_face_that_goes_is_forgotten_as_before(recognizer, settings, wall, face, tmp_path):
    stays = with_face(wall, face, 700, 150, 100)
    with watching(recognizer, settings, tmp_path) as pipeline:
        seen = results(pipeline, [stays] * 30 + [wall] * 30)
    assert len(seen[29].faces) == 1
    assert len(seen[36].faces) == 0, "not shown where nobody is"
    gone = next(at for at, result in enumerate(seen[30:]) if not result.tracks) / FPS
    assert gone <= settings.tracking.forget_after_s + 0.5


def test_another_person_who_takes_the_place_of_a_face_is_noticed(recognizer, settings, people_video, people_gallery):
    _, picture = cv2.VideoCapture(str(people_video)).read()
    (faces,) = recognizer.find([picture])
    room = np.full((720, 1280, 3), 127, np.uint8)
    scenes = []
    for x1, y1, x2, y2 in faces.boxes[:2].astype(int).tolist():
        margin = (x2 - x1) // 3
        head = picture[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin]
        scene = room.copy()
        scene[150:450, 500:750] = cv2.resize(head, (250, 300))
        scenes.append(scene)
    with watching(recognizer, settings, people_gallery, "off") as whole:
        names = [results(whole, [scene] * 8, channel=str(at))[-1].matches[0].name for at, scene in enumerate(scenes)]
    assert names[0] != names[1]
    with watching(recognizer, settings, people_gallery) as pipeline:
        seen = results(pipeline, [scenes[0]] * 30 + [scenes[1]] * 10, fps=25)
    assert seen[29].matches[0].name == names[0]
    assert all(match.name != names[0] for result in seen[31:] for match in result.matches)
    assert seen[-1].matches[0].name == names[1]


def test_pictures_of_a_folder_are_looked_at_whole_and_with_always_in_full_resolution(
    recognizer, settings, wall, face, tmp_path
):
    small = with_face(cv2.resize(wall, (2560, 1440)), face, 1700, 850, 24)
    found = {}
    for mode in ("auto", "always"):
        with watching(recognizer, settings, tmp_path, mode) as pipeline:
            frames = [Frame(small, "photos", at, 0.0, continues=False, file=f"{at}.jpg") for at in range(2)]
            last = [pipeline.process(frame) for frame in frames][-1]
        found[mode] = len(last.faces)
        assert last.look is Look.SCAN
    assert found == {"auto": 0, "always": 1}


def test_a_small_face_in_a_4k_picture_in_which_nothing_moves_is_found_in_time(
    recognizer, settings, wall, face, tmp_path
):
    large = cv2.resize(wall, (3840, 2160))
    picture = with_face(large, face, 2900, 1500, 24)
    settings = dataclasses.replace(settings, attention=AttentionSettings(scan_every_s=2))
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        pipeline = Pipeline(recognizer, gallery, settings)
        seen = results(pipeline, [picture] * (2 * 5 + 5), fps=5)
    assert len(seen[-1].faces) == 1
    assert seen[-1].matches[0].reason in (Reason.TOO_SMALL, Reason.NO_ONE_ENROLLED)
