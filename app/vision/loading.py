"""From a name in the catalogue to a network that is ready to run."""

from __future__ import annotations

import contextlib
import logging
from typing import Callable, Dict, Optional, Tuple, TypeVar, Union

import cv2

from app.errors import ModelError
from app.inference.choice import absence, open_network
from app.inference.engine import Engine
from app.inference.network import Network
from app.inference.onnx import OnnxEngine
from app.settings import AttributeSettings, DetectionSettings, ModelSettings
from app.vision.attributes import AttributeReader
from app.vision.catalog import Catalog, ModelEntry, read_catalog
from app.vision.detector import SIZE_STEP, FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.face_network import FaceNetwork
from app.vision.face_readers import GenderAge, Landmarks106, LivenessReader, MaskReader
from app.vision.families import DETECTORS, EMBEDDERS, FAMILIES

logger = logging.getLogger(__name__)

Factory = TypeVar("Factory")
Opened = TypeVar("Opened", bound=Union[FaceDetector, FaceNetwork])
Reader = TypeVar("Reader", bound=FaceNetwork)

MOST_FRAMES_AT_ONCE = 1
MOST_FACES_AT_ONCE = 16
"""What engines with a limited batch are built for; more than that is run in several goes."""


def load_detector(models: ModelSettings, detection: DetectionSettings) -> FaceDetector:
    """The chosen detector, opened; whoever asked closes it."""
    entry = detector_entry(models)
    factory = _family(DETECTORS, entry)
    return _opened(entry, models, detection, lambda engine: factory(engine, entry, detection))


def load_embedder(models: ModelSettings) -> FaceEmbedder:
    """The chosen embedder, opened; whoever asked closes it."""
    entry = embedder_entry(models)
    factory = _family(EMBEDDERS, entry)
    return _opened(entry, models, DetectionSettings(), lambda engine: factory(engine, entry))


def load_attributes(models: ModelSettings, wanted: AttributeSettings, min_face_px: float) -> Optional[AttributeReader]:
    """The networks for attributes that were chosen, opened; whoever asked closes them. None when there are none."""
    if wanted == AttributeSettings():
        return None
    with contextlib.ExitStack() as opened:
        reader = AttributeReader(
            gender_age=_reader(models, wanted.gender_age, "gender_age", GenderAge, opened),
            mask=_reader(models, wanted.mask, "mask", MaskReader, opened),
            antispoof=_reader(models, wanted.antispoof, "antispoof", LivenessReader, opened),
            landmarks106=_reader(models, wanted.landmarks106, "landmarks106", Landmarks106, opened),
            head_pose=wanted.head_pose,
            min_face_px=min_face_px,
        )
        opened.pop_all()
    return reader


def detector_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.detector, "detection")


def embedder_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.embedder, "embedding")


def attribute_entry(catalog: Catalog, name: str, family: str) -> ModelEntry:
    """The model that `attributes.FAMILY` names."""
    task = next(task for task, families in FAMILIES.items() if family in families)
    entry = catalog.entry(name, task)
    if entry.family != family:
        raise ModelError(f"model {name!r} is of the family {entry.family!r}, but attributes.{family} takes {family!r}")
    return entry


def describe_network(entry: ModelEntry) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """The network's inputs and outputs as they stand in its file, each as `name shape type`."""
    engine = OnnxEngine(entry.verified_file(), threads=1)
    try:
        return tuple(map(str, engine.inputs)), tuple(map(str, engine.outputs))
    finally:
        engine.close()


def would_run_on(entry: ModelEntry, models: ModelSettings, detection: DetectionSettings) -> str:
    """What the network runs on when it is opened now, and why; nothing is built for the answer."""
    network = network_of(entry, models, largest_input_of(entry, detection))
    choice = open_network(network, models.backend, build_missing=False)
    choice.engine.close()
    return str(choice)


def leave_cores_to_networks() -> None:
    """Keeps OpenCV to one thread: its own pool beside the networks' workers on the same cores slows both."""
    cv2.setNumThreads(1)


def largest_input_of(entry: ModelEntry, detection: DetectionSettings) -> Tuple[int, int, int, int]:
    """Batch, channels, height and width of the most that will be asked of the network in one run."""
    if entry.task == "detection":
        side = -(-detection.input_size // SIZE_STEP) * SIZE_STEP
        return MOST_FRAMES_AT_ONCE, 3, side, side
    width, height = entry.crop
    return MOST_FACES_AT_ONCE, 3, height, width


def _reader(
    models: ModelSettings,
    name: Optional[str],
    family: str,
    factory: Callable[[Engine, ModelEntry], Reader],
    opened: contextlib.ExitStack,
) -> Optional[Reader]:
    """The network with this name, if any; `opened` closes it should one after it fail."""
    if name is None:
        return None
    entry = attribute_entry(read_catalog(models.catalog), name, family)
    reader = _opened(entry, models, DetectionSettings(), lambda engine: factory(engine, entry))
    opened.callback(reader.close)
    return reader


def _opened(
    entry: ModelEntry, models: ModelSettings, detection: DetectionSettings, make: Callable[[Engine], Opened]
) -> Opened:
    """What `make` makes of the network once it is open. It owns the engine; when it refuses, the engine is closed."""
    network = network_of(entry, models, largest_input_of(entry, detection))
    if _would_be_built(entry, models):
        _read_by(make, OnnxEngine(network.path, threads=1), entry).close()
    choice = open_network(network, models.backend)
    logger.info("%s runs on %s", entry.name, choice)
    made = _read_by(make, choice.engine, entry)
    made.runs_on = choice
    return made


def _would_be_built(entry: ModelEntry, models: ModelSettings) -> bool:
    """Whether TensorRT would spend minutes on a network before anybody sees that its entry is wrong.

    Where ONNX Runtime is missing this cannot be found out beforehand, and is found out afterwards.
    """
    if models.backend not in ("auto", "tensorrt") or absence("tensorrt") or absence("onnx"):
        return False
    return not read_catalog(models.catalog).engines_built_from(entry)


def _read_by(make: Callable[[Engine], Opened], engine: Engine, entry: ModelEntry) -> Opened:
    try:
        return make(engine)
    except BaseException as error:
        engine.close()
        if not isinstance(error, ModelError):
            raise
        raise ModelError(f"model {entry.name!r} ({entry.file}, described in {entry.described_in}): {error}") from error


def network_of(entry: ModelEntry, models: ModelSettings, largest_input: Tuple[int, int, int, int]) -> Network:
    return Network(entry.name, entry.verified_file(), entry.sha256, largest_input, models.precision, models.threads)


def _family(families: Dict[str, Factory], entry: ModelEntry) -> Factory:
    if entry.family not in families:
        raise ModelError(
            f"model {entry.name!r} is of the family {entry.family!r}, which this version cannot run; "
            f"families for {entry.task} that work: {', '.join(families)}\n"
            "  python -m app engines list shows the models"
        )
    return families[entry.family]
