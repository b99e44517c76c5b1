"""From a name in the catalogue to a network that is ready to run."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Callable, Dict, Iterator, List, Optional, Tuple, TypeVar, Union

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import open_network, unavailable_reason
from app.inference.engine import Engine, NetworkSpec
from app.inference.onnx import OnnxEngine
from app.models.built_engines import engines_built_from
from app.models.catalog import Catalog, read_catalog
from app.models.entry import ModelEntry
from app.models.families import DETECTORS, EMBEDDERS, FAMILIES
from app.settings import AttributeSettings, DetectionSettings, ModelSettings
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

InputsFor = Callable[[ModelEntry], Iterator[np.ndarray]]
"""What a network is given at run time, to learn int8 from; raises ModelError where int8 is not offered for it, or
there are too few pictures."""

MOST_FRAMES_AT_ONCE = 1
MOST_FACES_AT_ONCE = 16
"""What engines with a limited batch are built for; more than that is run in several goes."""


def load_detector(
    models: ModelSettings,
    detection: DetectionSettings,
    inputs_for: Optional[InputsFor] = None,
    exact_precision: bool = False,
) -> FaceDetector:
    """The chosen detector, opened; whoever asked closes it. `exact_precision`: in no other one than the wanted."""
    entry = detector_entry(models)
    factory = _family(DETECTORS, entry)
    network = network_of(entry, models, detection, inputs_for, exact_precision)
    return _opened(entry, models, network, lambda engine: factory(engine, entry, detection))


def load_embedder(
    models: ModelSettings, inputs_for: Optional[InputsFor] = None, exact_precision: bool = False
) -> FaceEmbedder:
    """The chosen embedder, opened; whoever asked closes it. `exact_precision`: in no other one than the wanted."""
    entry = embedder_entry(models)
    factory = _family(EMBEDDERS, entry)
    network = network_of(entry, models, inputs_for=inputs_for, exact_precision=exact_precision)
    return _opened(entry, models, network, lambda engine: factory(engine, entry))


def load_attributes(
    models: ModelSettings,
    wanted: AttributeSettings,
    min_face_px: float,
    detector_predicts_masks: bool = False,
    inputs_for: Optional[InputsFor] = None,
) -> Optional[AttributeModels]:
    """The networks for attributes that were chosen, opened; whoever asked closes them.

    None when nothing is chosen and the detector tells nothing by itself.
    """
    if wanted == AttributeSettings() and not detector_predicts_masks:
        return None
    with contextlib.ExitStack() as opened:
        reader = AttributeModels(
            gender_age=_reader(models, wanted.gender_age, "gender_age", GenderAgeModel, inputs_for, opened),
            mask=_reader(models, wanted.mask, "mask", MaskModel, inputs_for, opened),
            antispoof=_reader(models, wanted.antispoof, "antispoof", AntispoofModel, inputs_for, opened),
            landmarks106=_reader(models, wanted.landmarks106, "landmarks106", Landmarks106Model, inputs_for, opened),
            head_pose=wanted.head_pose,
            min_face_px=min_face_px,
        )
        opened.pop_all()
    return reader


def model_checks(models: ModelSettings, attributes: Optional[AttributeSettings] = None) -> List[Callable[[], object]]:
    """One check for each chosen model, whether it is here and can be run: opening even one of them may take minutes."""
    catalog = read_catalog(models.catalog)
    return [
        lambda: _usable(detector_entry(models), DETECTORS),
        lambda: _usable(embedder_entry(models), EMBEDDERS),
        *(
            partial(lambda family, name: attribute_entry(catalog, name, family).verified_file(), family, name)
            for family, name in (attributes.models if attributes else {}).items()
        ),
    ]


def detector_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).require(models.detector, "detection")


def embedder_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).require(models.embedder, "embedding")


def attribute_entry(catalog: Catalog, name: str, family: str) -> ModelEntry:
    """The model that `attributes.FAMILY` names."""
    task = next(task for task, families in FAMILIES.items() if family in families)
    entry = catalog.require(name, task)
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


def would_run_on(
    entry: ModelEntry, models: ModelSettings, detection: DetectionSettings, inputs_for: Optional[InputsFor]
) -> str:
    """What the network runs on when it is opened now, and why; nothing is built for the answer."""
    entry.verified_file()
    choice = open_network(network_of(entry, models, detection, inputs_for), models.backend, build_missing=False)
    choice.engine.close()
    return str(choice)


def leave_cores_to_networks() -> None:
    """Keeps OpenCV to one thread: its own pool beside the networks' workers on the same cores slows both."""
    cv2.setNumThreads(1)


def network_of(
    entry: ModelEntry,
    models: ModelSettings,
    detection: Optional[DetectionSettings] = None,
    inputs_for: Optional[InputsFor] = None,
    exact_precision: bool = False,
) -> NetworkSpec:
    """The network as the program asks for it; `detection` matters for detectors only. Its file is not looked at."""
    largest_input = _largest_input_of(entry, detection or DetectionSettings())
    pictures = None if inputs_for is None else partial(inputs_for, entry)
    exact = exact_precision and models.precision != "auto"
    return NetworkSpec(
        entry.name, entry.file, entry.sha256, largest_input, models.precision, models.threads, pictures, exact
    )


def _largest_input_of(entry: ModelEntry, detection: DetectionSettings) -> Tuple[int, int, int, int]:
    """Batch, channels, height and width of the most that will be asked of the network in one run."""
    if entry.task == "detection":
        side = rounded_up(detection.input_size)
        return MOST_FRAMES_AT_ONCE, 3, side, side
    width, height = entry.crop
    return MOST_FACES_AT_ONCE, 3, height, width


def _reader(
    models: ModelSettings,
    name: Optional[str],
    family: str,
    factory: Callable[[Engine, FaceInput], Reader],
    inputs_for: Optional[InputsFor],
    opened: contextlib.ExitStack,
) -> Optional[Reader]:
    """The network with this name, if any; `opened` closes it should one after it fail."""
    if name is None:
        return None
    entry = attribute_entry(read_catalog(models.catalog), name, family)
    network = network_of(entry, models, inputs_for=inputs_for)
    reader = _opened(entry, models, network, lambda engine: factory(engine, entry.face_input))
    opened.callback(reader.close)
    return reader


def _opened(entry: ModelEntry, models: ModelSettings, network: NetworkSpec, make: Callable[[Engine], Opened]) -> Opened:
    """What `make` makes of the network once it is open. It owns the engine; when it refuses, the engine is closed."""
    entry.verified_file()
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
    if models.backend not in ("auto", "tensorrt") or unavailable_reason("tensorrt") or unavailable_reason("onnx"):
        return False
    return not engines_built_from(entry, read_catalog(models.catalog))


def _read_by(make: Callable[[Engine], Opened], engine: Engine, entry: ModelEntry) -> Opened:
    try:
        return make(engine)
    except BaseException as error:
        engine.close()
        if not isinstance(error, ModelError):
            raise
        raise ModelError(f"model {entry.name!r} ({entry.file}, described in {entry.source_file}): {error}") from error


def _usable(entry: ModelEntry, families: Dict[str, Factory]) -> None:
    _family(families, entry)
    entry.verified_file()


def _family(families: Dict[str, Factory], entry: ModelEntry) -> Factory:
    if entry.family not in families:
        raise ModelError(
            f"model {entry.name!r} is of the family {entry.family!r}, which this version cannot run; "
            f"families for {entry.task} that work: {', '.join(families)}\n"
            f"  {program()} engines list shows the models"
        )
    return families[entry.family]
