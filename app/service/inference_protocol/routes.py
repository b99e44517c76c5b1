"""The endpoints of the Open Inference Protocol v2. Pictures of faces come in, as the networks take them."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.service.core import FaceService
from app.service.http import Dialect, Endpoint, HttpError, Scope, json_response
from app.service.inference_protocol.tensors import HEADER_LENGTH, read_request, reply
from app.vision.face_network import FaceNetwork

INPUT = "crops"
"""As in exported models (`engines export-triton`)."""


def inference_protocol(service: FaceService) -> Dialect:
    routes = Routes(service)
    model = "/v2/models/{model}"
    return Dialect(
        "Open Inference Protocol",
        (
            Endpoint("GET", "/v2", routes.server, Scope.PUBLIC),
            Endpoint("GET", "/v2/health/live", routes.alive, Scope.PUBLIC),
            Endpoint("GET", "/v2/health/ready", routes.alive, Scope.PUBLIC),
            Endpoint("GET", model, routes.describe, Scope.READ),
            Endpoint("GET", f"{model}/ready", routes.ready, Scope.READ),
            Endpoint("POST", f"{model}/infer", routes.infer, Scope.READ),
        ),
        lambda error: json_response({"error": error.message}, error.status),
    )


class Routes:
    def __init__(self, service: FaceService) -> None:
        self._service = service

    async def server(self, request: Request) -> Response:
        return json_response({"name": "face-recognition", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def alive(self, request: Request) -> Response:
        """The server listens only while its networks are open."""
        return json_response({"live": True, "ready": True})

    async def ready(self, request: Request) -> Response:
        name, _ = self._known(request)
        return json_response({"name": name, "ready": True})

    async def describe(self, request: Request) -> Response:
        name, network = self._known(request)
        width, height = network.crop_size
        sides = [-1 if side is None else side for side in network.output.shape[1:]]
        content: Dict[str, Any] = {
            "name": name,
            "versions": ["1"],
            "platform": "face-recognition",
            "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, height, width, 3]}],
            "outputs": [{"name": network.output.name, "datatype": "FP32", "shape": [-1, *sides]}],
        }
        return json_response(content)

    async def infer(self, request: Request) -> Response:
        """Embeddings as the network gives them, not of unit length."""
        name, network = self._known(request)
        width, height = network.crop_size
        asked = read_request(await request.body(), request.headers.get(HEADER_LENGTH), INPUT, (height, width, 3))
        most = self._service.settings.serve.max_pictures
        if len(asked.pixels) > most:
            raise HttpError(400, f"{len(asked.pixels)} pictures; the limit is {most} (serve.max_pictures)")
        return reply(name, asked, {network.output.name: await self._service.answers(network, asked.pixels)})

    def _known(self, request: Request) -> Tuple[str, FaceNetwork]:
        """The model that a request is about. Raises HttpError (404)."""
        settings, recognizer = self._service.settings, self._service.recognizer
        networks: Dict[str, FaceNetwork] = {settings.models.embedder: recognizer.embedder}
        if recognizer.attribute_models is not None:
            of_family = recognizer.attribute_models.networks
            names = settings.attributes.models
            networks.update({names[family]: network for family, network in of_family.items()})
        name = str(request.path_params["model"])
        if name not in networks:
            raise HttpError(404, f"there is no model {name}; this server has {', '.join(networks)}")
        return name, networks[name]
