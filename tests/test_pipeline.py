"""The loop's heart: every face of a frame gets an answer, and what is settled is not asked again."""

import dataclasses

import cv2
import numpy as np
import pytest

from app.assembly import open_enrolment
from app.pipeline import Pipeline
from app.types import Frame, Reason
from app.vision.attribute_models import AttributeModels


class CountingEmbedder:
    """The real embedder, and how many faces it was asked for in each call."""

    def __init__(self, embedder):
        self._embedder = embedder
        self.calls = []

    def embed(self, crops):
        self.calls.append(len(crops))
        return self._embedder.embed(crops)

    def __getattr__(self, name):
        return getattr(self._embedder, name)


@pytest.fixture
def pictures(people_film):
    film = cv2.VideoCapture(str(people_film))
    return [film.read()[1] for _ in range(20)]


def run(networks, settings, pictures, folder, step_s=0.04, **recognition):
    detector, embedder = networks
    counting = CountingEmbedder(embedder)
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=folder),
        recognition=dataclasses.replace(settings.recognition, **recognition),
    )
    with open_enrolment(settings, detector, embedder) as enrolment:
        enrolment.enrol_all()
        pipeline = Pipeline(detector, counting, enrolment, settings)
        frames = [Frame(picture, "tape", index, 0.0, index * step_s) for index, picture in enumerate(pictures)]
        return [pipeline.process([frame])[0] for frame in frames], counting.calls


def test_every_face_gets_an_answer_and_a_track(networks, settings, pictures, people_gallery):
    results, _ = run(networks, settings, pictures, people_gallery)
    last = results[-1]
    assert {match.name for match in last.matches} == {"Eileen Collins", "Grace Hopper", None}
    assert len(set(last.track_ids)) == len(last.faces) and 0 not in last.track_ids
    assert {track.match.name for track in last.tracks} == {match.name for match in last.matches}
    assert {"preprocess", "detect", "boxes", "track"} <= set(last.timings_ms)


def test_settled_faces_are_embedded_again_only_after_the_interval(networks, settings, pictures, people_gallery):
    _, settled = run(networks, settings, pictures, people_gallery, reembed_after_s=100)
    _, always = run(networks, settings, pictures, people_gallery, reembed_after_s=0)
    assert len(always) == len(pictures) and sum(always) >= 3 * len(pictures) - 3
    assert sum(settled) < sum(always) / 2


def test_a_batch_gives_what_the_frames_give_one_by_one(networks, settings, pictures, people_gallery):
    detector, embedder = networks
    settings = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, folder=people_gallery))
    with open_enrolment(settings, detector, embedder) as enrolment:
        enrolment.enrol_all()
        frames = [Frame(pictures[0], channel, 0, 0.0, 0.0) for channel in ("left", "right")]
        together = Pipeline(detector, embedder, enrolment, settings).process(frames)
        alone = [Pipeline(detector, embedder, enrolment, settings).process([frame])[0] for frame in frames]
    for one, other in zip(together, alone):
        np.testing.assert_allclose(one.faces.boxes, other.faces.boxes, atol=1e-2)
        assert [match.name for match in one.matches] == [match.name for match in other.matches]


def test_no_frames_and_frames_without_faces_are_fine(networks, settings):
    empty = np.full((240, 320, 3), 127, np.uint8)
    results, calls = run(networks, settings, [empty], settings.gallery.folder)
    assert len(results[0].faces) == 0 and calls == []


def test_with_an_empty_gallery_every_face_is_unknown_for_that_reason(networks, settings, pictures):
    results, _ = run(networks, settings, pictures[:5], settings.gallery.folder)
    assert {match.reason for match in results[-1].matches} == {Reason.NO_ONE_ENROLLED}


class CountingReader:
    """The real reader, and how many faces it was asked to look at closely in each frame."""

    def __init__(self, reader):
        self._reader = reader
        self.calls = []

    def predict(self, image, faces, rows, before):
        self.calls.append(len(rows))
        told = self._reader.predict(image, faces, rows, before)
        return [dataclasses.replace(one, age=30.0) if row in rows else one for row, one in enumerate(told)]


def test_attributes_are_asked_for_with_the_looks_and_stay_with_the_face(networks, settings, pictures, people_gallery):
    detector, embedder = networks
    reader = CountingReader(AttributeModels(None, None, None, None, head_pose=True, min_face_px=20))
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=people_gallery),
        recognition=dataclasses.replace(settings.recognition, reembed_after_s=100),
    )
    with open_enrolment(settings, detector, embedder) as enrolment:
        enrolment.enrol_all()
        pipeline = Pipeline(detector, embedder, enrolment, settings, reader)
        frames = [Frame(picture, "tape", index, 0.0, index * 0.04) for index, picture in enumerate(pictures)]
        results = [pipeline.process([frame])[0] for frame in frames]
    last, former = results[-1], results[-2]
    assert reader.calls[0] == 3 and reader.calls[-1] == 0
    assert len(last.attributes) == len(last.faces) == 3 and "attributes" in last.timings_ms
    assert [told.age for told in last.attributes] == [track.attributes.age for track in last.tracks] == [30.0] * 3
    before = {track: told.pose for track, told in zip(former.track_ids, former.attributes)}
    assert any(before[track] != told.pose for track, told in zip(last.track_ids, last.attributes))


def test_without_a_reader_there_are_no_attributes(networks, settings, pictures, people_gallery):
    results, _ = run(networks, settings, pictures[:3], people_gallery)
    assert results[-1].attributes == ()
