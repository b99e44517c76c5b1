"""Each face of a frame gets an answer, and settled faces are not embedded again."""

import contextlib
import dataclasses

import cv2
import numpy as np
import pytest

from app.degrade import DegradeController
from app.gallery.gallery import Gallery
from app.identity import gates
from app.pipeline import Pipeline
from app.settings import AttentionSettings, DegradeSettings, QualitySettings
from app.tools.benchmark.channels import write_clips
from app.types import Frame, Reason
from app.vision.attribute_models import AttributeModels


class CountingEmbedder:
    """The real embedder; counts the faces of each call."""

    def __init__(self, embedder):
        self._embedder = embedder
        self.calls = []

    def embed(self, crops):
        self.calls.append(len(crops))
        return self._embedder.embed(crops)

    def __getattr__(self, name):
        return getattr(self._embedder, name)


@pytest.fixture
def pictures(people_video):
    video = cv2.VideoCapture(str(people_video))
    return [video.read()[1] for _ in range(20)]


def run_with(recognizer, settings, pictures, step_s=0.04, degrade=None):
    """The results of a pipeline that knows the people in the settings' gallery."""
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        pipeline = Pipeline(recognizer, gallery, settings, degrade=degrade)
        frames = [Frame(picture, "tape", index, 0.0, index * step_s) for index, picture in enumerate(pictures)]
        return [pipeline.process(frame) for frame in frames]


def run(recognizer, settings, pictures, folder, **recognition):
    counting = CountingEmbedder(recognizer.embedder)
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=folder),
        recognition=dataclasses.replace(settings.recognition, **recognition),
    )
    spied = dataclasses.replace(recognizer, embedder=counting)
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
    return run_with(spied, settings, pictures), counting.calls


def test_every_face_gets_an_answer_and_a_track(recognizer, settings, pictures, people_gallery):
    results, _ = run(recognizer, settings, pictures, people_gallery)
    last = results[-1]
    assert {match.name for match in last.matches} == {"Eileen Collins", "Grace Hopper", None}
    assert len(set(last.track_ids)) == len(last.faces) and 0 not in last.track_ids
    assert {track.match.name for track in last.tracks} == {match.name for match in last.matches}
    assert {"preprocess", "detect", "boxes", "track"} <= set(results[0].timings_ms)


def test_settled_faces_are_embedded_again_only_after_the_interval(recognizer, settings, pictures, people_gallery):
    _, settled = run(recognizer, settings, pictures, people_gallery, reembed_after_s=100)
    _, always = run(recognizer, settings, pictures, people_gallery, reembed_after_s=0)
    assert len(always) == len(pictures) and sum(always) >= 3 * len(pictures) - 3
    assert sum(settled) < sum(always) / 2


def test_level_1_embeds_settled_faces_less_often_and_gives_the_same_names(
    recognizer, settings, pictures, people_gallery
):
    settings = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, folder=people_gallery))
    embedded, names = {}, {}
    for level in "01":
        counting = CountingEmbedder(recognizer.embedder)
        controller = DegradeController(DegradeSettings(level=level))
        spied = dataclasses.replace(recognizer, embedder=counting)
        # 20 frames in ten seconds.
        results = run_with(spied, settings, pictures, step_s=0.5, degrade=controller)
        embedded[level], names[level] = sum(counting.calls), [match.name for match in results[-1].matches]
        assert {result.degrade_level for result in results} == {int(level)}
    assert names["0"] == names["1"]
    assert embedded["1"] < embedded["0"]


def test_a_face_that_a_gate_rejects_is_not_embedded_and_its_track_has_the_reason(recognizer, settings, pictures):
    settings = dataclasses.replace(settings, quality=QualitySettings(min_face_px=1000))
    results, embedded = run(recognizer, settings, pictures[:5], settings.gallery.folder)
    assert sum(embedded) == 3, "each face once, to see whether it is one"
    assert {match.reason for match in results[-1].matches} == {Reason.TOO_SMALL}
    assert [track.match.reason for track in results[-1].tracks] == [Reason.TOO_SMALL] * 3


def test_a_new_gate_needs_no_change_of_the_pipeline(recognizer, settings, pictures, monkeypatch):
    blurred = gates.Rejection(Reason.TOO_BLURRED, 12, 20)
    monkeypatch.setattr(gates, "GATES", (lambda quality, row, limits: blurred, *gates.GATES))
    results, embedded = run(recognizer, settings, pictures[:5], settings.gallery.folder)
    assert embedded == []
    assert {track.match.why for track in results[-1].tracks} == {"too_blurred 12<20"}


def test_a_channel_with_too_few_frames_per_second_is_reported_once(recognizer, settings, caplog):
    empty = np.full((48, 64, 3), 127, np.uint8)
    warnings = []
    for step_s in (0.2, 0.5):
        caplog.clear()
        run_with(recognizer, settings, [empty] * 60, step_s)
        warnings.append([record.args for record in caplog.records if record.name == "app.pipeline"])
    assert warnings == [[], [("tape", pytest.approx(2), 4.0)]]


def test_frames_without_faces_are_fine(recognizer, settings):
    empty = np.full((240, 320, 3), 127, np.uint8)
    results, calls = run(recognizer, settings, [empty], settings.gallery.folder)
    assert len(results[0].faces) == 0 and calls == []


def test_a_channel_has_its_own_limits_and_threshold(recognizer, settings, pictures, people_gallery):
    own = (("quality.min_face_px", 1000.0),), (("recognition.threshold", 1.0),), (("detection.min_score", 1.0),)
    settings = dataclasses.replace(
        settings,
        channels=tuple(zip(("far", "strict", "blind"), own)),
        gallery=dataclasses.replace(settings.gallery, folder=people_gallery),
    )
    reasons = {}
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        pipeline = Pipeline(recognizer, gallery, settings)
        for index, picture in enumerate(pictures[:6]):
            for channel in ("far", "strict", "blind", "hall"):
                result = pipeline.process(Frame(picture, channel, index, 0.0, index * 0.04))
                reasons[channel] = {str(match.reason) for match in result.matches}
    assert reasons["far"] == {"too_small"} and reasons["blind"] == set()
    assert "matched" in reasons["hall"] and "matched" not in reasons["strict"]


def test_faces_outside_of_the_watched_part_of_a_channel_are_not_reported(recognizer, settings, pictures):
    width = pictures[0].shape[1]
    (everybody,) = recognizer.find([pictures[0]])
    right = everybody.boxes[:, [0, 2]].mean(axis=1).max() / width - 0.05
    own = (("view.ignore", f"{right:.3f},0 1,0 1,1 {right:.3f},1"),)
    settings = dataclasses.replace(settings, channels=(("door", own),))
    with contextlib.closing(Gallery(settings, recognizer)) as gallery:
        gallery.load()
        pipeline = Pipeline(recognizer, gallery, settings)
        found = {name: len(pipeline.process(Frame(pictures[0], name, 0, 0.0)).faces) for name in ("door", "hall")}
    assert found == {"door": len(everybody) - 1, "hall": len(everybody)}


def test_with_an_empty_gallery_every_face_has_that_reason(recognizer, settings, pictures):
    results, _ = run(recognizer, settings, pictures[:5], settings.gallery.folder)
    assert {match.reason for match in results[-1].matches} == {Reason.NO_ONE_ENROLLED}


class CountingReader:
    """The real reader, and how many faces it was asked to look at closely in each frame."""

    def __init__(self, reader):
        self._reader = reader
        self.calls = []

    def predict(self, image, faces, rows, before):
        self.calls.append(len(rows))
        predicted = self._reader.predict(image, faces, rows, before)
        return [dataclasses.replace(one, age=30.0) if row in rows else one for row, one in enumerate(predicted)]


def test_attributes_are_predicted_with_comparisons_and_stay_with_the_face(
    recognizer, settings, pictures, people_gallery
):
    reader = CountingReader(AttributeModels(None, None, None, None, head_pose=True, min_face_px=20))
    settings = dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=people_gallery),
        recognition=dataclasses.replace(settings.recognition, reembed_after_s=100),
    )
    settings = dataclasses.replace(settings, attention=AttentionSettings(mode="off"))
    results = run_with(dataclasses.replace(recognizer, attribute_models=reader), settings, pictures)
    last, former = results[-1], results[-2]
    assert reader.calls[0] == 3 and reader.calls[-1] == 0
    assert len(last.attributes) == len(last.faces) == 3 and "attributes" in last.timings_ms
    assert [face.age for face in last.attributes] == [track.attributes.age for track in last.tracks] == [30.0] * 3
    before = {track: face.pose for track, face in zip(former.track_ids, former.attributes)}
    assert any(before[track] != face.pose for track, face in zip(last.track_ids, last.attributes))


def test_without_a_reader_there_are_no_attributes(recognizer, settings, pictures, people_gallery):
    results, _ = run(recognizer, settings, pictures[:3], people_gallery)
    assert results[-1].attributes == ()


@pytest.mark.slow
def test_each_level_looks_at_less_and_gives_the_same_names(recognizer, settings, portraits, people_gallery, tmp_path):
    """Two people who stay and move: the frames in which the detector looks at the picture, or at parts of it."""
    (clip,) = write_clips(tmp_path, portraits, recognizer, [1.0])
    video = cv2.VideoCapture(str(clip))
    pictures = [video.read()[1] for _ in range(int(video.get(cv2.CAP_PROP_FRAME_COUNT)))]
    settings = dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, folder=people_gallery))
    looked, names = [], []
    for level in "0123":
        controller = DegradeController(DegradeSettings(level=level))
        results = run_with(recognizer, settings, pictures, step_s=1 / video.get(cv2.CAP_PROP_FPS), degrade=controller)
        looked.append(sum(result.look.detected for result in results) / len(results))
        names.append({match.name for result in results[20:] for match in result.matches})
    assert names == [{"Eileen Collins", "Grace Hopper"}] * 4
    assert looked[2] < 0.8 * looked[0]
    assert looked[3] < 0.6 * looked[0]
