"""From a name in the catalogue to a network that is ready to run."""

from __future__ import annotations

import contextlib
import logging
from typing import Callable, Dict, Iterator, Optional, Tuple, TypeVar

import cv2

from app.errors import ModelError
from app.inference.choice import Choice, open_network
from app.inference.engine import Engine
from app.inference.network import Network
from app.inference.onnx import OnnxEngine
from app.settings import AttributeSettings, DetectionSettings, ModelSettings
from app.vision.attributes import AttributeReader
from app.vision.catalog import ModelEntry, read_catalog
from app.vision.detector import SIZE_STEP, FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.face_network import FaceNetwork
from app.vision.face_readers import GenderAge, Landmarks106, LivenessReader, MaskReader
from app.vision.families import DETECTORS, EMBEDDERS

logger = logging.getLogger(__name__)

Factory = TypeVar("Factory")
Reader = TypeVar("Reader", bound=FaceNetwork)

MOST_FRAMES_AT_ONCE = 1
MOST_FACES_AT_ONCE = 16
"""What engines with a limited batch are built for; more than that is run in several goes."""


def load_detector(models: ModelSettings, detection: DetectionSettings) -> FaceDetector:
    """The chosen detector, opened; whoever asked closes it."""
    entry = detector_entry(models)
    factory = _family(DETECTORS, entry)
    with _opened(entry, models, largest_input_of(entry, detection)) as choice:
        detector = factory(choice.engine, entry, detection)
    detector.runs_on = choice
    return detector


def load_embedder(models: ModelSettings) -> FaceEmbedder:
    """The chosen embedder, opened; whoever asked closes it."""
    entry = embedder_entry(models)
    factory = _family(EMBEDDERS, entry)
    with _opened(entry, models, largest_input_of(entry, DetectionSettings())) as choice:
        embedder = factory(choice.engine, entry)
    embedder.runs_on = choice
    return embedder


def load_attributes(models: ModelSettings, wanted: AttributeSettings, min_face_px: float) -> Optional[AttributeReader]:
    """The networks for attributes that were chosen, opened; whoever asked closes them. None when there are none."""
    if wanted == AttributeSettings():
        return None
    with contextlib.ExitStack() as opened:
        reader = AttributeReader(
            gender_age=_reader(models, wanted.gender_age, "attributes", "gender_age", GenderAge, opened),
            mask=_reader(models, wanted.mask, "attributes", "mask", MaskReader, opened),
            antispoof=_reader(models, wanted.antispoof, "antispoof", "antispoof", LivenessReader, opened),
            landmarks106=_reader(models, wanted.landmarks106, "landmarks", "landmarks106", Landmarks106, opened),
            head_pose=wanted.head_pose,
            min_face_px=min_face_px,
        )
        opened.pop_all()
    return reader


def detector_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.detector, "detection")


def embedder_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.embedder, "embedding")


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
    task: str,
    family: str,
    factory: Callable[[Engine, ModelEntry], Reader],
    opened: contextlib.ExitStack,
) -> Optional[Reader]:
    """The network with this name, if any; `opened` closes it should one after it fail."""
    if name is None:
        return None
    entry = read_catalog(models.catalog).entry(name, task)
    if entry.family != family:
        raise ModelError(f"model {name!r} is of the family {entry.family!r}, but attributes.{family} takes {family!r}")
    with _opened(entry, models, largest_input_of(entry, DetectionSettings())) as choice:
        reader = factory(choice.engine, entry)
    reader.runs_on = choice
    opened.callback(reader.close)
    return reader


@contextlib.contextmanager
def _opened(entry: ModelEntry, models: ModelSettings, largest_input: Tuple[int, int, int, int]) -> Iterator[Choice]:
    """Whoever takes the engine over owns it; when nobody does, it is closed."""
    choice = open_network(network_of(entry, models, largest_input), models.backend)
    logger.info("%s runs on %s", entry.name, choice)
    try:
        yield choice
    except BaseException:
        choice.engine.close()
        raise


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
