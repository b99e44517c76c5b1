"""The core of the program as one object: finds faces, embeds them, names people."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from types import TracebackType
from typing import Collection, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Type

import numpy as np

from app.errors import NotNowError
from app.identity.calibration import Calibration, calibrate
from app.identity.gates import Rejection, rejections
from app.identity.index import PersonIndex
from app.models.loading import MAX_FACES_AT_ONCE, ModelLoader, leave_cores_to_networks
from app.models.reference import ReferenceEmbeddings
from app.settings import QualityLimits, RecognitionSettings, Settings
from app.types import NO_ATTRIBUTES, FaceAttributes, FaceQuality, Faces, Match, Reason
from app.vision.align import align_faces, template
from app.vision.attention import Plan
from app.vision.attribute_models import AttributeModels
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.face_network import FaceNetwork, RemoteStatus
from app.vision.quality import measure, with_pixels
from app.vision.regions import find_as_planned
from app.vision.two_streams import found_in_large, with_faces

logger = logging.getLogger(__name__)


class StageTimer:
    """Milliseconds by stage, added up over all uses of a stage."""

    def __init__(self) -> None:
        self.milliseconds: Dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent = (time.perf_counter() - start) * 1000
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent


class Examined(NamedTuple):
    """Faces that were embedded if they are good enough. Keys are rows of `faces`."""

    faces: Faces
    """With embeddings; NaN where a face was rejected. Without any, none was good enough."""
    rejected: Dict[int, Rejection]
    quality: Dict[int, FaceQuality]
    """What was measured of each face that was examined, rejected or not: one row."""

    def and_of(self, others: Examined) -> Examined:
        """Together with other faces of the same image."""
        embeddings, more = self.faces.embeddings, others.faces.embeddings
        if embeddings is None or more is None:
            both = more if embeddings is None else embeddings
        else:
            both = np.where(np.isnan(embeddings), more, embeddings)
        faces = dataclasses.replace(self.faces, embeddings=both)
        return Examined(faces, {**self.rejected, **others.rejected}, {**self.quality, **others.quality})

    def passing(self, quality: FaceQuality, limits: QualityLimits, rows: np.ndarray) -> np.ndarray:
        """A mask of the faces that pass the gates. Notes the qualities, and the rejections of the others."""
        found = rejections(quality, limits)
        for at, (row, rejection) in enumerate(zip(rows.tolist(), found)):
            self.quality[row] = quality[at : at + 1]
            if rejection is not None:
                self.rejected[row] = rejection
        return np.array([rejection is None for rejection in found], np.bool_)


@dataclasses.dataclass(frozen=True, eq=False)
class Recognizer:
    """Detector, embedder and attribute models with every number that a decision needs.

    Owns the networks. For one thread at a time: that of the camera loop, or a `NetworkThread`.
    """

    detector: FaceDetector
    embedder: FaceEmbedder
    attribute_models: Optional[AttributeModels]
    """None when no attributes are wanted."""
    threshold: float
    """The cosine from which a face has a name."""
    margin: float
    """How much less similar the second nearest person must be."""
    min_score: float
    """The score from which a box is a face."""
    photo_score: float
    """The score from which a face in a gallery photo is certain, unless the settings give another."""
    fingerprint: str
    """Changes with everything about the networks that the verdict on a photo depends on."""
    reference: Optional[ReferenceEmbeddings] = None
    """The embedder's strangers and non-faces; None: it has none, and nothing can be calibrated."""
    recognition: RecognitionSettings = RecognitionSettings()
    embedder_id: str = ""
    """Changes with the embedder: embeddings of different ones cannot be compared."""

    def with_settings(self, settings: Settings) -> Recognizer:
        """The same networks with other settings for detection and names, as a channel may have. It is closed with this
        one. Values of None are those of this one."""
        threshold = settings.recognition.threshold
        detector = self.detector.with_settings(settings.detection)
        return dataclasses.replace(
            self,
            detector=detector,
            threshold=self.threshold if threshold is None else threshold,
            margin=settings.recognition.margin,
            min_score=detector.min_score,
            recognition=settings.recognition,
        )

    def for_video(self) -> Recognizer:
        """The same for faces that are seen again: raises NotNowError where they can be embedded later, because the
        server that does it does not answer (`remote.fallback`). It is closed with this one."""
        if not self.embedder.can_defer:
            return self
        return dataclasses.replace(self, embedder=self.embedder.deferring())

    def find(
        self,
        images: Sequence[np.ndarray],
        timer: Optional[StageTimer] = None,
        input_size: Optional[int] = None,
        close_ups: bool = True,
        min_score: Optional[float] = None,
    ) -> List[Faces]:
        """The faces of each image (H x W x 3, uint8, BGR), best first, in the image's own pixels.

        Images may differ in size; those that need the same network input are run together. `input_size` is the
        longer side of an image inside the detector, and `min_score` the score from which a box is a face, unless they
        are those of the settings. Faces that fill the image are found at a second look, which `close_ups=False` saves.
        """
        return self.detector.detect(images, input_size, (timer or StageTimer()).stage, close_ups, min_score)

    def find_as_planned(self, image: np.ndarray, plan: Plan, timer: Optional[StageTimer] = None) -> Faces:
        """The faces in the parts of a frame that a plan names (`app/vision/attention.py`), best first."""
        return find_as_planned(self.detector, image, plan, (timer or StageTimer()).stage)

    def embed(
        self,
        image: np.ndarray,
        faces: Faces,
        rows: Optional[Sequence[int]] = None,
        timer: Optional[StageTimer] = None,
        crops: Optional[np.ndarray] = None,
    ) -> Faces:
        """The same faces with embeddings of unit length: of all, or of these rows (NaN in the others).

        `crops` are those of these faces, if they were aligned before.
        """
        timer = timer or StageTimer()
        chosen = np.arange(len(faces)) if rows is None else np.asarray(rows, np.int64)
        if crops is None:
            with timer.stage("align"):
                crops = self.crops(image, faces[chosen])
        with timer.stage("embed"):
            vectors = self.embed_crops(crops)
        embeddings = np.full((len(faces), vectors.shape[1]), np.nan, np.float32)
        embeddings[chosen] = vectors
        return dataclasses.replace(faces, embeddings=embeddings)

    def crops(self, image: np.ndarray, faces: Faces) -> np.ndarray:
        """The faces as the embedder takes them: upright, all of one size (N x height x width x 3, BGR)."""
        return align_faces(image, faces.landmarks, self.embedder.crop_size)

    def embed_crops(self, crops: np.ndarray) -> np.ndarray:
        """Embeddings of unit length (N x D) of aligned faces."""
        return self.embedder.embed(crops)

    def embed_crops_with_norms(self, crops: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The same, and the length of each embedding before it was normalised (N)."""
        return self.embedder.embed_with_norms(crops)

    def non_face_similarities(self, embeddings: np.ndarray) -> np.ndarray:
        """How similar each embedding (N x D) is to the nearest non-face; NaN for an embedder without a reference."""
        if self.reference is None or not len(self.reference.non_faces):
            return np.full(len(embeddings), np.nan)
        return np.asarray((embeddings @ self.reference.non_faces.T).max(axis=1))

    def embed_good(
        self,
        image: np.ndarray,
        faces: Faces,
        rows: Sequence[int],
        limits: QualityLimits,
        timer: Optional[StageTimer] = None,
        unverified: Collection[int] = (),
    ) -> Examined:
        """Embeds those of `rows` that pass the quality gates, and says why the others do not.

        Only faces whose size and pose are good enough are aligned, and their sharpness and exposure measured. Those
        that are too small to be compared, but `unverified`, are embedded as well, to see whether they are faces.
        """
        timer = timer or StageTimer()
        height, width = image.shape[:2]
        examined = Examined(faces, {}, {})
        chosen = np.asarray(rows, np.int64)
        with timer.stage("align"):
            quality = measure(faces[chosen], (width, height))
            passed = examined.passing(quality, limits, chosen)
            chosen, quality = chosen[passed], quality[passed]
            if len(chosen):
                crops = self.crops(image, faces[chosen])
                quality = with_pixels(quality, crops)
                passed = examined.passing(quality, limits, chosen)
                chosen, crops, quality = chosen[passed], crops[passed], quality[passed]
        self._verify(image, examined, limits, timer, unverified)
        if not len(chosen):
            return examined
        faces = self.embed(image, faces, chosen.tolist(), timer, crops)
        embeddings = faces.embeddings
        if embeddings is not None:
            quality = dataclasses.replace(quality, non_face=self.non_face_similarities(embeddings[chosen]))
            passed = examined.passing(quality, limits, chosen)
            embeddings[chosen[~passed]] = np.nan
        return examined._replace(faces=faces)

    def embed_good_from(
        self,
        large: Sequence[np.ndarray],
        image: np.ndarray,
        faces: Faces,
        rows: Sequence[int],
        limits: QualityLimits,
        timer: Optional[StageTimer] = None,
        unverified: Collection[int] = (),
    ) -> Tuple[Examined, int]:
        """The same with the pixels of larger frames of nearly the same moment; and how many faces were found in them.

        A face that is found in none of them is embedded as it is in the image.
        """
        timer = timer or StageTimer()
        left = list(rows)
        examined = Examined(faces, {}, {})
        for frame in large:
            again = found_in_large(faces, left, image, frame, lambda parts, px: self.find(parts, timer, px, False))
            if again:
                moved = with_faces(faces, again)
                examined = examined.and_of(self.embed_good(frame, moved, list(again), limits, timer, unverified))
                left = [row for row in left if row not in again]
            if not left:
                return examined, len(rows)
        rest = self.embed_good(image, faces, left, limits, timer, unverified)
        return examined.and_of(rest), len(rows) - len(left)

    def _verify(
        self,
        image: np.ndarray,
        examined: Examined,
        limits: QualityLimits,
        timer: StageTimer,
        unverified: Collection[int],
    ) -> None:
        """Measures of faces that are too small whether they are faces; small ones of people are (16 pixels: 99 %)."""
        rows = [
            row
            for row, rejection in examined.rejected.items()
            if rejection.reason is Reason.TOO_SMALL and row in unverified
        ]
        if not rows or self.reference is None:
            return
        with timer.stage("align"):
            crops = self.crops(image, examined.faces[rows])
        with timer.stage("embed"):
            similarities = self.non_face_similarities(self.embed_crops(crops))
        for at, row in enumerate(rows):
            quality = dataclasses.replace(examined.quality[row], non_face=similarities[at : at + 1])
            examined.passing(quality, limits, np.array([row]))

    def identify(
        self,
        faces: Faces,
        people: PersonIndex,
        rows: Optional[Sequence[int]] = None,
        timer: Optional[StageTimer] = None,
        settled: Collection[int] = (),
    ) -> List[Match]:
        """Who the faces are, one answer each: of all, or of these rows alone. They must have been embedded. HNSW alone
        may say that `settled` rows, which were compared before, resemble nobody."""
        if faces.embeddings is None:
            raise ValueError("identify needs faces with embeddings: call embed first")
        timer = timer or StageTimer()
        with timer.stage("match"):
            vectors = faces.embeddings if rows is None else faces.embeddings[np.asarray(rows, np.int64)]
            threshold = self.threshold
            if people.threshold is not None and self.recognition.threshold is None:
                threshold = people.threshold
            is_settled = np.isin(range(len(faces)) if rows is None else rows, list(settled))
            return people.identify(vectors, threshold, self.margin, is_settled)

    def calibrate(self, embeddings: np.ndarray, people: Sequence[str]) -> Optional[Calibration]:
        """What a gallery's embeddings say about thresholds and names; None without people or a reference."""
        if self.reference is None:
            return None
        strangers, same_person = self.reference.strangers, self.reference.same_person
        return calibrate(embeddings, people, strangers, same_person, self.recognition)

    def attributes(
        self, image: np.ndarray, faces: Faces, rows: Sequence[int], before: Sequence[FaceAttributes]
    ) -> List[FaceAttributes]:
        """What the attribute models say of each face; `before` is what was known of them.

        Lasting attributes are predicted for `rows` only, momentary ones for every face.
        """
        if self.attribute_models is None:
            return list(before)
        return self.attribute_models.predict(image, faces, list(rows), before)

    @classmethod
    def from_settings(cls, settings: Optional[Settings] = None) -> Recognizer:
        """The models that the settings choose (default: the built-in ones), ready to run.

        Example:
            >>> with Recognizer.from_settings() as recognizer:
            ...     (faces,) = recognizer.find([np.zeros((480, 640, 3), np.uint8)])
            >>> len(faces)
            0
        """
        return cls.from_loader(ModelLoader(settings or Settings()))

    @classmethod
    def from_loader(cls, loader: ModelLoader, with_attributes: bool = True) -> Recognizer:
        """The models of this loader, opened and warmed up; without attribute models where only names are wanted."""
        leave_cores_to_networks()
        settings = loader.settings
        reference = loader.reference()
        if settings.recognition.rate_to_follow is not None and reference is None:
            logger.info(
                "%s has no reference (docs/engines.md): its own threshold is used, however many people are enrolled",
                loader.embedder_entry.name,
            )
        with contextlib.ExitStack() as opened:
            detector = opened.enter_context(contextlib.closing(loader.open_detector()))
            embedder = opened.enter_context(contextlib.closing(loader.open_embedder()))
            attributes = loader.open_attributes(detector.predicts_masks) if with_attributes else None
            if attributes is not None:
                opened.callback(attributes.close)
            recognizer = cls(
                detector,
                embedder,
                attributes,
                threshold=loader.threshold,
                margin=settings.recognition.margin,
                min_score=loader.min_score,
                photo_score=loader.detector_entry.photo_score,
                fingerprint=loader.fingerprint,
                reference=reference,
                recognition=settings.recognition,
                embedder_id=loader.embedder_id,
            )
            recognizer.warm_up((settings.capture.width, settings.capture.height))
            opened.pop_all()
        return recognizer

    @property
    def remotes(self) -> Dict[str, RemoteStatus]:
        """How the servers are that run networks, by what these are for."""
        models = self.attribute_models
        networks: Dict[str, FaceNetwork] = {"embedder": self.embedder, **({} if models is None else models.networks)}
        return {name: status for name, network in networks.items() if (status := network.remote) is not None}

    def warm_up(self, frame_size: Tuple[int, int]) -> None:
        """Runs the networks once in each shape, for frames of this width and height.

        The first run takes memory and picks algorithms, and should not happen while a camera waits.
        """
        width, height = frame_size
        image = np.zeros((height, width, 3), np.uint8)
        self.find([image])
        box = np.array([[0, 0, width, height]], np.float32)
        for count in (1, MAX_FACES_AT_ONCE):
            landmarks = np.repeat(template()[None], count, axis=0)
            faces = Faces(np.repeat(box, count, axis=0), np.ones(count, np.float32), landmarks)
            with contextlib.suppress(NotNowError):
                self.for_video().embed(image, faces)
            self.attributes(image, faces, range(count), [NO_ATTRIBUTES] * count)
        logger.debug("networks warmed up")

    def close(self) -> None:
        """Releases the networks."""
        self.detector.close()
        self.embedder.close()
        if self.attribute_models is not None:
            self.attribute_models.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
