"""The endpoints of CompreFace's core, with its checks in its order and its words for errors."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import Mapping, Optional, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.service.compreface_core.plugins import (
    Plugin,
    available_plugins,
    chosen_plugins,
    described_faces,
    detector_name,
    plugin_search,
)
from app.service.core import FaceService, FoundFaces
from app.service.http import Dialect, Endpoint, HttpError, Scope, json_response, read_form
from app.service.pictures import BadPictureError
from app.service.similarity import coefficients

NO_CACHE = {"Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, proxy-revalidate"}
SCANNER = "ScannerWithPlugins"


def compreface_core(service: FaceService) -> Dialect:
    routes = Routes(service)
    endpoints = (
        Endpoint("GET", "/healthcheck", routes.healthcheck, Scope.PUBLIC),
        Endpoint("GET", "/status", routes.status, Scope.READ),
        Endpoint("POST", "/find_faces", routes.find_faces, Scope.READ),
        Endpoint("POST", "/find_faces_base64", routes.find_faces_base64, Scope.READ),
        Endpoint("POST", "/scan_faces", routes.scan_faces, Scope.READ),
    )
    # CompreFace's web server has its core at /core as well.
    below_core = tuple(replace(endpoint, path=f"/core{endpoint.path}") for endpoint in endpoints)
    return Dialect("CompreFace core", endpoints + below_core, error_response)


def error_response(error: HttpError) -> Response:
    """`{"message": ...}`. Errors of requests begin with the status, as in CompreFace."""
    prefix = "400 Bad Request: " if error.status == 400 else ""
    return json_response({"message": prefix + error.message}, error.status, NO_CACHE)


class Routes:
    def __init__(self, service: FaceService) -> None:
        self._service = service
        self._plugins = available_plugins(service.settings, service.recognizer.detector.predicts_masks)
        self._detector_name = detector_name(service.settings)

    async def healthcheck(self, request: Request) -> Response:
        """Answers also while the networks are busy."""
        return json_response({"status": "OK"}, headers=NO_CACHE)

    async def status(self, request: Request) -> Response:
        calculator = next(plugin.name for plugin in self._plugins if plugin.slug == "calculator")
        return json_response(
            {
                "status": "OK",
                "build_version": __version__,
                "calculator_version": calculator,
                "similarity_coefficients": list(coefficients(self._service.gallery)),
                "available_plugins": {
                    "detector": self._detector_name,
                    **{plugin.slug: plugin.name for plugin in self._plugins},
                },
            },
            headers=NO_CACHE,
        )

    async def find_faces(self, request: Request) -> Response:
        data, values = await _upload(request)
        return await self._reply(data, values)

    async def find_faces_base64(self, request: Request) -> Response:
        body = await request.body()
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise HttpError(500, "TypeError: 'NoneType' object is not subscriptable")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, f"Failed to decode JSON object: {error}") from error
        if not isinstance(content, dict) or "file" not in content:
            raise HttpError(500, "KeyError: 'file'")
        try:
            # What is no base64 between the letters is left out, as in CompreFace; a data URL is taken, too.
            data = base64.b64decode(str(content["file"]).rpartition(",")[2])
        except binascii.Error as error:
            raise HttpError(500, f"Error: {error}") from error
        return await self._reply(data, dict(request.query_params))

    async def scan_faces(self, request: Request) -> Response:
        data, values = await _upload(request)
        plugins = chosen_plugins("calculator", self._plugins)
        found = await self._found(data, values, plugins)
        faces = described_faces(found, plugins, _limit(values))
        return json_response({"calculator_version": SCANNER, "result": faces}, headers=NO_CACHE)

    async def _reply(self, data: bytes, values: Mapping[str, str]) -> Response:
        plugins = chosen_plugins(values.get("face_plugins", ""), self._plugins)
        whole = values.get("detect_faces") == "false"
        if whole:
            plugins = tuple(plugin for plugin in plugins if plugin.slug not in ("pose", "mask"))
        found = await self._found(data, values, plugins, whole)
        faces = described_faces(found, plugins, _limit(values))
        versions = {"detector": self._detector_name, **{plugin.slug: plugin.name for plugin in plugins}}
        return json_response({"plugins_versions": versions, "result": faces}, headers=NO_CACHE)

    async def _found(
        self, data: bytes, values: Mapping[str, str], plugins: Tuple[Plugin, ...], whole: bool = False
    ) -> FoundFaces:
        """The faces of a picture; with `whole`, the picture is the face."""
        try:
            try:
                search = plugin_search(_threshold(values), plugins)
            except HttpError:
                # A picture that cannot be read is reported first.
                async with self._service.opened(data):
                    raise
            found = await (self._service.whole_picture_in if whole else self._service.find_in)(data, search)
        except BadPictureError as error:
            raise HttpError(400, "Image has incorrect format or is broken") from error
        if not len(found.faces):
            raise HttpError(400, "No face is found in the given image")
        return found


async def _upload(request: Request) -> Tuple[bytes, Mapping[str, str]]:
    """The picture of a request, and its values from query and form."""
    form = await read_form(request)
    upload = form.file("file")
    if upload is None:
        raise HttpError(400, "No file is attached")
    if not upload.filename:
        raise HttpError(400, "No file is selected")
    return upload.data, form.fields


def _threshold(values: Mapping[str, str]) -> Optional[float]:
    text = values.get("det_prob_threshold", "")
    if not text:
        return None
    try:
        threshold = float(text)
    except ValueError as error:
        raise HttpError(500, f"ValueError: {error}") from error
    if not 0 <= threshold <= 1:
        raise HttpError(400, "Detection threshold incorrect (0 <= det_prob_threshold <= 1)")
    return threshold


def _limit(values: Mapping[str, str]) -> int:
    """How many faces are wanted; 0: all."""
    text = values.get("limit", "")
    if not text:
        return 0
    try:
        limit = int(text)
    except ValueError as error:
        raise HttpError(400, "Limit format is invalid (limit >= 0)") from error
    if limit < 0:
        raise HttpError(400, "Limit value is invalid (limit >= 0)")
    return limit
