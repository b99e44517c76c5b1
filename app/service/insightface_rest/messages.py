"""Requests of InsightFace-REST's clients: every field has a default, which environment variables may change."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Type, TypeVar, Union

import msgspec
from starlette.requests import Request

from app.errors import SettingsError
from app.models.catalog import read_catalog
from app.service.http import HttpError, json_response
from app.settings import Settings

MSGPACK_REQUEST = "application/msgpack"
MSGPACK_REPLY = "application/x-msgpack"
"""Clients compare the content type of a reply with exactly this."""

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=msgspec.Struct)


class Images(msgspec.Struct):
    """The pictures of a request: their data, or else where they are."""

    data: Optional[List[Any]] = None
    """Base64, also as a data URL; in a msgpack request also bytes."""
    urls: Optional[List[str]] = None


class ExtractBody(msgspec.Struct):
    """`None` is what a request does not say: clients send `null` for it, too."""

    images: Images
    max_size: Union[List[int], int, None] = None
    """Width and height that pictures are scaled to. 0: as they are."""
    threshold: Optional[float] = None
    embed_only: Optional[bool] = None
    return_face_data: Optional[bool] = None
    return_landmarks: Optional[bool] = None
    extract_embedding: Optional[bool] = None
    extract_ga: Optional[bool] = None
    detect_masks: Optional[bool] = None
    limit_faces: Optional[int] = None
    min_face_size: Optional[int] = None
    verbose_timings: Optional[bool] = None
    msgpack: Optional[bool] = None
    img_req_headers: Optional[Dict[str, Any]] = None
    api_ver: Union[str, int, None] = None


class DrawBody(msgspec.Struct):
    images: Images
    threshold: Optional[float] = None
    draw_landmarks: Optional[bool] = None
    draw_scores: Optional[bool] = None
    draw_sizes: Optional[bool] = None
    limit_faces: Optional[int] = None
    min_face_size: Optional[int] = None
    detect_masks: Optional[bool] = None


class Defaults(msgspec.Struct, frozen=True):
    """What applies where a request says nothing. The variables are InsightFace-REST's own."""

    det_thresh: float = 0.6
    return_face_data: bool = False
    return_landmarks: bool = False
    extract_embedding: bool = True
    extract_ga: bool = False
    detect_masks: bool = False
    api_ver: str = "2"
    img_req_headers: Dict[str, str] = {}
    """For servers of pictures (`urls`). In the variable: a JSON object."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Defaults:
        """Raises ValueError for a variable with a wrong value."""
        variables = {name: f"DEF_{name.upper()}" for name in cls.__struct_fields__}
        given: Dict[str, Any] = {
            name: environment[variable] for name, variable in variables.items() if environment.get(variable)
        }
        try:
            if "img_req_headers" in given:
                given["img_req_headers"] = msgspec.json.decode(given["img_req_headers"])
            return converted(given, cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"an environment variable DEF_... is wrong: {error}") from error


def with_root_images(settings: Settings, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings with the folder that InsightFace-REST's ROOT_IMAGES_DIR names, unless they name one."""
    folder = environment.get("ROOT_IMAGES_DIR")
    if not folder or settings.serve.root_images is not None:
        return settings
    return dataclasses.replace(settings, serve=dataclasses.replace(settings.serve, root_images=Path(folder)))


_MODEL_VARIABLES = ("DET_NAME", "REC_NAME", "GA_NAME", "MASK_DETECTOR")


def with_insightface_variables(settings: Settings, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that InsightFace-REST's variables for its models ask for. Raises SettingsError.

    A model that is not in our catalogue, such as InsightFace-REST's default, is left out with a warning.
    """
    known = {name: text for name in _MODEL_VARIABLES if (text := environment.get(name, "")) not in ("", "None")}
    entries = read_catalog(settings.models.catalog).entries if known else {}
    for variable in [name for name, model in known.items() if model not in entries]:
        logger.warning("%s=%s: the catalogue of models has none of this name; ignored", variable, known.pop(variable))
    models, attributes = settings.models, settings.attributes
    models = dataclasses.replace(
        models, detector=known.get("DET_NAME", models.detector), embedder=known.get("REC_NAME", models.embedder)
    )
    attributes = dataclasses.replace(
        attributes,
        gender_age=known.get("GA_NAME", attributes.gender_age),
        mask=known.get("MASK_DETECTOR", attributes.mask),
    )
    if environment.get("FORCE_FP16", "").lower() in ("true", "1", "yes", "on"):
        models = dataclasses.replace(models, precision="fp16")
    detection, size = settings.detection, environment.get("MAX_SIZE", "").strip("[]() ")
    if size:
        sides = [side.strip() for side in size.split(",")]
        if not all(side.isdecimal() and 64 <= int(side) <= 4096 for side in sides):
            raise SettingsError(f"MAX_SIZE={size!r}: expected width and height from 64 to 4096, such as 640,640")
        detection = dataclasses.replace(detection, input_size=max(map(int, sides)))
    return dataclasses.replace(settings, models=models, attributes=attributes, detection=detection)


YES_OR_NO = {"yes": True, "y": True, "on": True, "t": True, "no": False, "n": False, "off": False, "f": False}
"""What clients may write besides true and false, 1 and 0."""


def converted(content: Any, kind: Type[T]) -> T:
    """The fields of a request. Raises msgspec.ValidationError."""
    if isinstance(content, dict):
        content = {
            key: YES_OR_NO.get(value.lower(), value) if isinstance(value, str) else value
            for key, value in content.items()
        }
    return msgspec.convert(content, kind, strict=False)


async def read_body(request: Request, kind: Type[T]) -> T:
    """The body of a request. Raises HttpError: 422 for a wrong field, 400 for broken msgpack."""
    body = await request.body()
    try:
        if request.headers.get("content-type") == MSGPACK_REQUEST:
            return converted(msgspec.msgpack.decode(body), kind)
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except msgspec.ValidationError:
            return converted(msgspec.json.decode(body), kind)
    except msgspec.ValidationError as error:
        raise HttpError(422, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if request.headers.get("content-type") == MSGPACK_REQUEST:
            raise HttpError(400, "There was an error parsing the body") from error
        raise HttpError(422, f"JSON decode error: {error}") from error


def error_response(error: HttpError) -> Any:
    """`{"detail": ...}`; for a wrong field in the form that FastAPI's clients know."""
    detail: Any = error.message
    if error.status == 422:
        message, _, path = error.message.partition(" - at `$")
        steps = [step for step in path.rstrip("`").replace("[", ".").replace("]", "").split(".") if step]
        detail = [{"type": "value_error", "loc": ["body", *steps], "msg": message, "input": None}]
    return json_response({"detail": detail}, error.status)
