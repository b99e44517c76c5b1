"""From names in the settings to networks that are ready to run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Set, Tuple, TypeVar, Union

import cv2
import numpy as np

from app.credentials import masked
from app.errors import ModelError
from app.inference.backends import open_network, unavailable_reason
from app.inference.engine import Engine, NetworkSpec
from app.inference.host import available_cores as available_cores
from app.inference.onnx import OnnxEngine
from app.inference.recovery import RecoveringNetwork
from app.models.catalog import read_catalog
from app.models.engines import engines_built_from
from app.models.entry import ModelEntry
from app.models.families import DETECTORS, EMBEDDERS, FAMILIES
from app.models.int8 import calibration_inputs, find_photos
from app.models.reference import ReferenceEmbeddings, read_reference
from app.models.remote import remote_network
from app.settings import AttributeSettings, Settings
from app.text import program
from app.vision.attribute_models import AntispoofModel, AttributeModels, GenderAgeModel, Landmarks106Model, MaskModel
from app.vision.detector import FaceDetector, rounded_up
from app.vision.embedder import FaceEmbedder
from app.vision.face_network import FaceNetwork
from app.vision.preprocessing import FaceInput

logger = logging.getLogger(__name__)

Factory = TypeVar("Factory")
Opened = TypeVar("Opened", bound=Union[FaceDetector, FaceNetwork])
Reader = TypeVar("Reader", bound=FaceNetwork)

MAX_FRAMES_AT_ONCE = 1
MAX_FACES_AT_ONCE = 16
"""What engines with a limited batch are built for; larger batches are run in several parts."""


class ModelLoader:
    """Opens the models that the settings choose.

    The catalogue is read once, and each model's file is verified once, however many networks are opened. What the
    settings leave to a model, such as the threshold, is resolved here and nowhere else.
    """

    def __init__(self, settings: Settings, calibration_photos: Optional[Path] = None) -> None:
        """`calibration_photos` is the folder that int8 is calibrated with, instead of the gallery. Raises SourceError
        where it holds no photos."""
        if calibration_photos is not None:
            find_photos(calibration_photos)
        self.settings = settings
        self.catalog = read_catalog(settings.models.catalog)
        self._calibration_photos = calibration_photos or settings.gallery.folder
        self._verified: Set[Path] = set()

    def with_models(self, **changes: str) -> ModelLoader:
        """A loader for other values of the section `models`, with the same catalogue."""
        other = copy.copy(self)
        other.settings = dataclasses.replace(
            self.settings,
            models=dataclasses.replace(self.settings.models, **changes),  # type: ignore[arg-type]
        )
        return other

    @property
    def detector_entry(self) -> ModelEntry:
        return self.catalog.require(self.settings.models.detector, "detection")

    @property
    def embedder_entry(self) -> ModelEntry:
        return self.catalog.require(self.settings.models.embedder, "embedding")

    def attribute_entry(self, family: str) -> ModelEntry:
        """The model that the setting `attributes.FAMILY` names."""
        name = self.settings.attributes.models[family]
        task = next(task for task, families in FAMILIES.items() if family in families)
        entry = self.catalog.require(name, task)
        if entry.family != family:
            raise ModelError(
                f"model {name!r} is of the family {entry.family!r}, but attributes.{family} takes {family!r}"
            )
        return entry

    @property
    def min_score(self) -> float:
        """The score from which a box is a face: the user's, or else the detector's own."""
        chosen = self.settings.detection.min_score
        return self.detector_entry.min_score if chosen is None else chosen

    @property
    def threshold(self) -> float:
        """The cosine from which a face has a name: the user's, or else the embedder's own."""
        chosen = self.settings.recognition.threshold
        return self.embedder_entry.threshold if chosen is None else chosen

    def reference(self) -> Optional[ReferenceEmbeddings]:
        """The embedder's embeddings of strangers and non-faces; None where there are none, which only takes away what
        needs them."""
        entry = self.embedder_entry
        if entry.reference is None:
            return None
        if not entry.reference.is_file():
            logger.warning("there is no file %s: matches have no confidence", entry.reference)
            return None
        return read_reference(entry.reference, entry)

    @property
    def fingerprint(self) -> str:
        """Changes with everything about detector and embedder that the verdict on a photo depends on."""
        detector, embedder = self.detector_entry, self.embedder_entry
        decoding = (detector.min_sizes, detector.landmark_scale, detector.min_score)
        finding = (self.settings.detection, detector.sha256, detector.preprocessing, decoding)
        return repr((finding, (embedder.sha256, embedder.preprocessing, embedder.crop)))

    @property
    def embedder_id(self) -> str:
        """Changes with the embedder: embeddings of different ones cannot be compared."""
        entry = self.embedder_entry
        return f"{entry.name}-{(entry.sha256 or '')[:12]}"

    def checks(self) -> List[Callable[[], object]]:
        """For `check_all`: one check per chosen model, whether its file is right and its family can be run."""
        return [
            lambda: self._usable(self.detector_entry, DETECTORS),
            lambda: self._usable(self.embedder_entry, EMBEDDERS),
            *(
                partial(lambda family: self.verified_file(self.attribute_entry(family)), family)
                for family in self.settings.attributes.models
            ),
        ]

    def verified_file(self, entry: ModelEntry) -> Path:
        """The model's file, whose SHA-256 has been compared with the catalogue's; so has that of its int8 file where
        the settings ask for int8."""
        if entry.file not in self._verified:
            entry.verified_file()
            self._verified.add(entry.file)
        has_int8 = self.settings.models.precision == "int8" and entry.int8_file is not None
        if has_int8 and entry.int8_file not in self._verified:
            self._verified.add(entry.verified_int8_file())
        return entry.file

    def open_detector(self, exact_precision: bool = False) -> FaceDetector:
        """The chosen detector; the caller closes it. `exact_precision` forbids a fallback to another precision."""
        entry = self.detector_entry
        factory = _family(DETECTORS, entry)
        detection = dataclasses.replace(self.settings.detection, min_score=self.min_score)
        return self._opened(entry, lambda engine: factory(engine, entry, detection), exact_precision)

    def open_embedder(self, exact_precision: bool = False) -> FaceEmbedder:
        """The chosen embedder; the caller closes it. `exact_precision` forbids a fallback to another precision."""
        entry = self.embedder_entry
        factory = _family(EMBEDDERS, entry)

        def make(engine: Engine) -> FaceEmbedder:
            return factory(engine, entry)

        return self._opened(entry, make, True) if exact_precision else self._opened_remotely(entry, make)

    def open_attributes(self, detector_predicts_masks: bool = False) -> Optional[AttributeModels]:
        """The chosen attribute models; the caller closes them. None where no attribute is wanted or predicted."""
        wanted = self.settings.attributes
        if wanted == AttributeSettings() and not detector_predicts_masks:
            return None
        with contextlib.ExitStack() as opened:
            reader = AttributeModels(
                gender_age=self._reader("gender_age", GenderAgeModel, opened),
                mask=self._reader("mask", MaskModel, opened),
                antispoof=self._reader("antispoof", AntispoofModel, opened),
                landmarks106=self._reader("landmarks106", Landmarks106Model, opened),
                head_pose=wanted.head_pose,
                min_face_px=self.settings.quality.min_face_px,
            )
            opened.pop_all()
        return reader

    def network(self, entry: ModelEntry, exact_precision: bool = False) -> NetworkSpec:
        """What the program asks of an inference backend for this model. Its file is not looked at."""
        models = self.settings.models
        exact = exact_precision and models.precision != "auto"
        inputs = partial(self.calibration_inputs, entry)
        if entry.task == "detection":
            every = [self.settings, *(self.settings.for_channel(name) for name, _ in self.settings.channels)]
            side = rounded_up(max(settings.detection.input_size for settings in every))
            largest_input = (MAX_FRAMES_AT_ONCE, 3, side, side)
        else:
            largest_input = (MAX_FACES_AT_ONCE, 3, entry.crop[1], entry.crop[0])
        return NetworkSpec(
            entry.name,
            entry.file,
            entry.sha256,
            largest_input,
            models.precision,
            models.threads,
            inputs,
            entry.int8_file,
            exact,
        )

    def calibration_inputs(self, entry: ModelEntry) -> Iterator[np.ndarray]:
        """Inputs of the network to calibrate int8 with. Raises ModelError where there are too few photos."""
        task = "detector" if entry.task == "detection" else "embedder"
        plain = self.with_models(backend="onnx", precision="fp32", **{task: entry.name})
        return calibration_inputs(plain, entry, self._calibration_photos)

    def runs_on(self, entry: ModelEntry) -> str:
        """What the model would run on if it were opened now, and why; nothing is built for the answer."""
        self.verified_file(entry)
        opened = open_network(self.network(entry), self.settings.models.backend, build_missing=False)
        opened.close()
        return str(opened)

    def _reader(
        self, family: str, factory: Callable[[Engine, FaceInput], Reader], opened: contextlib.ExitStack
    ) -> Optional[Reader]:
        """The chosen model of this family, if any; `opened` closes it should a later one fail."""
        if family not in self.settings.attributes.models:
            return None
        entry = self.attribute_entry(family)

        def make(engine: Engine) -> Reader:
            return factory(engine, entry.face_input)

        reader = self._opened_remotely(entry, make) if self.settings.remote.attributes else self._opened(entry, make)
        opened.callback(reader.close)
        return reader

    def _opened_remotely(self, entry: ModelEntry, make: Callable[[Engine], Reader]) -> Reader:
        """The network on the server, if there is one; this machine's otherwise."""
        if self.settings.remote.url is None:
            return self._opened(entry, make)
        self.verified_file(entry)
        url = masked(self.settings.remote.url)
        local = partial(self._opened, entry, make, when=f" while {url} does not answer")
        return make(remote_network(self.settings.remote, entry, make, local))

    def _opened(
        self, entry: ModelEntry, make: Callable[[Engine], Opened], exact_precision: bool = False, when: str = ""
    ) -> Opened:
        """What `make` makes of the network once it is open, which owns the engine; closes it where `make` fails."""
        self.verified_file(entry)
        backend = self.settings.models.backend
        is_for_tensorrt = backend in ("auto", "tensorrt") and not unavailable_reason("tensorrt")
        if is_for_tensorrt and not unavailable_reason("onnx") and not engines_built_from(entry, self.catalog):
            # TensorRT takes minutes to build an engine; a wrong catalogue entry is noticed before that.
            _read_by(make, OnnxEngine(entry.file, threads=1), entry).close()
        spec = self.network(entry, exact_precision)
        opened = open_network(spec, backend)
        logger.info("%s runs on %s%s", entry.name, opened, when)
        # What compares backends must not get another one than it asked for.
        return _read_by(make, opened if exact_precision else RecoveringNetwork(spec, opened), entry)

    def _usable(self, entry: ModelEntry, families: Dict[str, Factory]) -> None:
        _family(families, entry)
        self.verified_file(entry)
        if entry.reference is not None and entry.reference.is_file():
            read_reference(entry.reference, entry)


def leave_cores_to_networks() -> None:
    """Keeps OpenCV to one thread: its own pool next to the networks' workers on the same cores slows both."""
    cv2.setNumThreads(1)


def describe_network(entry: ModelEntry) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """The network's inputs and outputs as its file describes them, each as `name shape type`."""
    engine = OnnxEngine(entry.verified_file(), threads=1)
    try:
        return tuple(map(str, engine.inputs)), tuple(map(str, engine.outputs))
    finally:
        engine.close()


def _read_by(make: Callable[[Engine], Opened], engine: Engine, entry: ModelEntry) -> Opened:
    try:
        return make(engine)
    except BaseException as error:
        engine.close()
        if not isinstance(error, ModelError):
            raise
        raise ModelError(f"model {entry.name!r} ({entry.file}, described in {entry.source_file}): {error}") from error


def _family(families: Dict[str, Factory], entry: ModelEntry) -> Factory:
    if entry.family not in families:
        raise ModelError(
            f"model {entry.name!r} is of the family {entry.family!r}, which this version cannot run; "
            f"families for {entry.task} that work: {', '.join(families)}\n"
            f"  {program()} engines list shows the models"
        )
    return families[entry.family]
