"""What CompreFace calls plugins: the detector, and what else is said about a face, each chosen by a short name."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from app.errors import SettingsError
from app.service.core import FoundFaces, Search
from app.settings import Settings
from app.types import FaceAttributes
from app.vision.head_pose import head_poses

AGE_MARGIN_YEARS = 10
AGE_PROBABILITY = 0.86
"""Of an adult's age within the margin (docs/models.md)."""

Described = Dict[str, Any]


@dataclass(frozen=True)
class Plugin:
    """Something that is said about a face if a request names its slug."""

    slug: str
    name: str
    """As clients see it: the class of CompreFace's own plugin, and the model here."""
    key: str
    """Under which key of a face it is."""
    describe: Callable[[FoundFaces, int], Any]
    """None: not known of this face."""


def available_plugins(settings: Settings, predicts_masks: bool) -> Tuple[Plugin, ...]:
    """Those that the settings enable, in the order of CompreFace's own."""
    models, attributes = settings.models, settings.attributes
    found = [
        Plugin("calculator", f"insightface.Calculator@{models.embedder}", "embedding", _embedding),
        Plugin("landmarks", "insightface.LandmarksDetector", "landmarks", _landmarks),
        Plugin("pose", "insightface.PoseEstimator", "pose", _pose),
    ]
    if attributes.gender_age is not None:
        found += [
            Plugin("age", f"insightface.AgeDetector@{attributes.gender_age}", "age", _age),
            Plugin("gender", f"insightface.GenderDetector@{attributes.gender_age}", "gender", _gender),
        ]
    if attributes.mask is not None or predicts_masks:
        found.append(Plugin("mask", f"facemask.MaskDetector@{attributes.mask or models.detector}", "mask", _mask))
    if attributes.landmarks106 is not None:
        name = f"insightface.Landmarks2d106Detector@{attributes.landmarks106}"
        found.append(Plugin("landmarks2d106", name, "landmarks", _landmarks106))
    return tuple(found)


def chosen_plugins(text: str, available: Tuple[Plugin, ...]) -> Tuple[Plugin, ...]:
    """Those that a request names, separated by commas or spaces. Unknown ones are ignored, as CompreFace does."""
    slugs = set(re.split(r"[,\s]+", text))
    if "gender_age" in slugs:
        slugs |= {"gender", "age"}
    return tuple(plugin for plugin in available if plugin.slug in slugs)


def detector_name(settings: Settings) -> str:
    return f"insightface.FaceDetector@{settings.models.detector}"


def plugin_search(threshold: Optional[float], plugins: Tuple[Plugin, ...], embeddings: bool = False) -> Search:
    """What is to be looked for in a picture. A face must be above the threshold, not at it: with 1 there is none."""
    slugs = {plugin.slug for plugin in plugins}
    return Search(
        min_score=None if threshold is None else float(np.nextafter(np.float32(threshold), np.float32(2))),
        embeddings=embeddings or "calculator" in slugs,
        attributes=bool(slugs & {"age", "gender", "mask", "landmarks2d106"}),
    )


def by_area(found: FoundFaces, limit: int) -> List[int]:
    """The rows of the faces, the largest first."""
    boxes = found.faces.boxes
    rows = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable").tolist()
    return list(rows[: limit or len(rows)])


def described_faces(found: FoundFaces, plugins: Tuple[Plugin, ...], limit: int) -> List[Described]:
    """The faces of a reply, the largest first."""
    described = []
    for row in by_area(found, limit):
        x1, y1, x2, y2 = np.rint(found.faces.boxes[row]).astype(int).tolist()
        probability = float(found.faces.scores[row])
        face: Described = {"box": {"probability": probability, "x_max": x2, "x_min": x1, "y_max": y2, "y_min": y1}}
        times = {"detector": round(found.detect_ms / len(found.faces))}
        for plugin in plugins:
            value = plugin.describe(found, row)
            if value is not None:
                face[plugin.key] = value
            times[plugin.slug] = round(found.embed_ms / len(found.faces)) if plugin.slug == "calculator" else 0
        described.append({**face, "execution_time": times})
    return described


def with_compreface_variables(settings: Settings, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that CompreFace's environment variables ask for. Raises SettingsError.

    `FACE_DETECTION_PLUGIN`, `CALCULATION_PLUGIN` and `EXTRA_PLUGINS` choose models of the catalogue by `@model`.
    Without it, and with CompreFace's own names for the models, those of the settings are used. `MAX_REQUEST_SIZE`
    limits the body of a request.
    """
    models, attributes = settings.models, settings.attributes
    detector, embedder = (
        _own_model(environment.get(name, "")) for name in ("FACE_DETECTION_PLUGIN", "CALCULATION_PLUGIN")
    )
    models = dataclasses.replace(models, detector=detector or models.detector, embedder=embedder or models.embedder)
    for plugin in re.split(r"[,\s]+", environment.get("EXTRA_PLUGINS", "").strip()):
        own = _own_model(plugin)
        if re.search(r"\.(Age|Gender|GenderAge)Detector", plugin):
            attributes = dataclasses.replace(attributes, gender_age=own or attributes.gender_age or "genderage_utk")
        elif ".MaskDetector" in plugin:
            attributes = dataclasses.replace(attributes, mask=own or attributes.mask or "mask_drawn")
        elif ".Landmarks2d106Detector" in plugin:
            attributes = dataclasses.replace(attributes, landmarks106=own or attributes.landmarks106 or "2d106det")
    longest = environment.get("IMG_LENGTH_LIMIT")
    detection = settings.detection
    if longest is not None:
        if not (longest.isdigit() and 64 <= int(longest) <= 4096):
            raise SettingsError(f"IMG_LENGTH_LIMIT={longest!r}: expected a number of pixels from 64 to 4096")
        detection = dataclasses.replace(detection, input_size=int(longest))
    serve, max_request = settings.serve, size_variable("MAX_REQUEST_SIZE", environment)
    if max_request is not None:
        serve = dataclasses.replace(serve, max_body_mb=max_request / 1e6)
    return dataclasses.replace(settings, models=models, attributes=attributes, detection=detection, serve=serve)


def size_variable(name: str, environment: Mapping[str, str] = os.environ) -> Optional[int]:
    """The bytes that an environment variable says, such as 5MB, 10M or 500000. Raises SettingsError."""
    text = environment.get(name, "").strip()
    if not text:
        return None
    match = re.fullmatch(r"([1-9]\d{0,11})([KMG]?)B?", text.upper())
    if match is None:
        raise SettingsError(f"{name}={text!r}: expected a size such as 5MB, 10M or 500000")
    return int(match[1]) << 10 * " KMG".index(match[2] or " ")


_COMPREFACE_MODELS = re.compile(
    r"retinaface_(mnet025|r50)_v\d|arcface[_-].*|mobilefacenet_casia_masked|mobilenet_.*|\d{8}-\d{6}|inception_.*"
)


def _own_model(plugin: str) -> Optional[str]:
    """The model after the @, unless it is one of those that come with CompreFace."""
    model = plugin.partition("@")[2]
    return None if not model or _COMPREFACE_MODELS.fullmatch(model) else model


def _embedding(found: FoundFaces, row: int) -> Any:
    # As CompreFace's: not normalised.
    embeddings = found.faces.embeddings
    return None if embeddings is None else embeddings[row] * np.float32(found.norms[row])


def _landmarks(found: FoundFaces, row: int) -> Any:
    return np.rint(found.faces.landmarks[row]).astype(int).tolist()


def _pose(found: FoundFaces, row: int) -> Any:
    yaw, pitch, roll = head_poses(found.faces.landmarks[row : row + 1])[0].tolist()
    return {"pitch": pitch, "roll": roll, "yaw": yaw}


def _age(found: FoundFaces, row: int) -> Any:
    age = _attributes(found, row).age
    if age is None:
        return None
    low, high = max(0, round(age) - AGE_MARGIN_YEARS), round(age) + AGE_MARGIN_YEARS
    return {"probability": AGE_PROBABILITY, "high": high, "low": low}


def _gender(found: FoundFaces, row: int) -> Any:
    known = _attributes(found, row)
    return None if known.gender is None else {"probability": known.gender_probability, "value": str(known.gender)}


def _mask(found: FoundFaces, row: int) -> Any:
    known = _attributes(found, row)
    if known.mask_probability is None:
        return None
    without = 1 - known.mask_probability if known.no_mask_probability is None else known.no_mask_probability
    if known.mask:
        return {"probability": known.mask_probability, "value": "with_mask"}
    return {"probability": without, "value": "without_mask"}


def _landmarks106(found: FoundFaces, row: int) -> Any:
    points = _attributes(found, row).landmarks106
    return None if points is None else np.rint(points).astype(int).tolist()


def _attributes(found: FoundFaces, row: int) -> FaceAttributes:
    return found.attributes[row] if found.attributes else FaceAttributes()
