"""The endpoints of InsightFace-REST."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Union

import cv2
import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.credentials import HIDDEN
from app.service.core import FaceService, FoundFaces, OneRequest, Search
from app.service.drawing import draw_faces
from app.service.fetching import Fetcher, is_address
from app.service.http import Dialect, Endpoint, HttpError, Scope, from_base64, json_response, read_form
from app.service.insightface_rest.messages import (
    MSGPACK_REPLY,
    Defaults,
    DrawBody,
    ExtractBody,
    Images,
    converted,
    error_response,
    read_body,
)
from app.service.pictures import BadPictureError
from app.service.self_test import self_test_picture
from app.types import FaceAttributes, Gender
from app.vision.align import TEMPLATE_SIZE, align_faces

MAX_INPUT = 1920
"""Longer side of the detector's input that a request may ask for."""
JPEG_QUALITY = 95
HEALTH_HOLDS_S = 2.0
NOT_DECODED = "Can't decode file, possibly not an image"
LIST_FORM = "1"
"""The `api_ver` of clients that expect a list of faces for each picture."""

SOON_DECODED = 200_000
"""Characters of base64 that are decoded (0.3 ms) before another thread would have begun."""
Face = Dict[str, Any]


def insightface_rest(service: FaceService, defaults: Defaults) -> Dialect:
    routes = Routes(service, defaults)
    return Dialect(
        "InsightFace-REST",
        (
            Endpoint("POST", "/extract", routes.extract, Scope.READ),
            Endpoint("POST", "/draw_detections", routes.draw_detections, Scope.READ),
            Endpoint("POST", "/multipart/draw_detections", routes.draw_upload, Scope.READ),
            Endpoint("GET", "/info", routes.info, Scope.READ),
            Endpoint("GET", "/health", routes.health, Scope.PUBLIC),
        ),
        error_response,
    )


class Linked(NamedTuple):
    """A picture of another server."""

    address: str
    headers: Optional[Mapping[str, Any]]


@dataclass(frozen=True)
class Wanted:
    """A request with the defaults filled in."""

    search: Search
    embedding: bool
    gender_age: bool
    masks: bool
    landmarks: bool
    crops: bool
    request: OneRequest


class Routes:
    def __init__(self, service: FaceService, defaults: Defaults) -> None:
        self._service = service
        self._defaults = defaults
        self._fetcher = Fetcher(service.settings.serve)
        self._is_healthy: Optional[bool] = None
        """None: not checked yet."""
        self._check_again = 0.0

    async def extract(self, request: Request) -> Response:
        began = time.perf_counter()
        body = await read_body(request, ExtractBody)
        wanted = self._wanted(body)
        pictures = self._pictures(body.images, body.img_req_headers or self._defaults.img_req_headers)
        one = self._embed_crop if body.embed_only else self._extract_one
        entries = await asyncio.gather(*(one(picture, wanted) for picture in pictures))
        total_ms = 1000 * (time.perf_counter() - began)
        reply: Any
        if str(body.api_ver or self._defaults.api_ver) == LIST_FORM and not body.embed_only:
            reply = [[in_list_form(face) for face in entry["faces"]] for entry in entries]
        else:
            took = {"total_ms": total_ms}
            if body.verbose_timings:
                took["read_imgs_ms"] = sum(entry.pop("read_ms", 0.0) for entry in entries)
                took["embed_all_ms"] = sum(entry["took_ms"] for entry in entries)
            reply = {"took": took, "data": entries}
            if body.embed_only:
                failed = [entry for entry in entries if entry["status"] != "ok"]
                reply.update(took_ms=total_ms, status="failed" if failed else "ok")
                if failed:
                    reply["traceback"] = failed[0]["traceback"]
        for entry in entries:
            entry.pop("read_ms", None)
        accepts = [value.strip() for value in request.headers.get("accept", "").split(",")]
        if body.msgpack or MSGPACK_REPLY in accepts:
            return Response(packed(reply), headers={"content-type": MSGPACK_REPLY})
        return json_response(reply)

    async def draw_detections(self, request: Request) -> Response:
        body = await read_body(request, DrawBody)
        pictures = self._pictures(body.images)
        if not pictures:
            raise HttpError(422, "expected a picture - at `$.images`")
        masks = self._defaults.detect_masks if body.detect_masks is None else body.detect_masks
        search = self._search(body.threshold, None, body.limit_faces, body.min_face_size, attributes=masks)
        jpeg = await self._drawn(pictures[0], search, body)
        return Response(jpeg, media_type="image/png")

    async def draw_upload(self, request: Request) -> Response:
        form = await read_form(request)
        upload = form.file("file")
        if upload is None:
            raise HttpError(422, "Field required - at `$.file`")
        try:
            options = converted({"threshold": 0.6, **form.fields, "images": {}, "detect_masks": False}, DrawBody)
        except msgspec.ValidationError as error:
            raise HttpError(422, str(error)) from error
        search = self._search(options.threshold, None, options.limit_faces, options.min_face_size, attributes=False)
        jpeg = await self._drawn(upload.data, search, options)
        return Response(jpeg, media_type="image/jpg")

    async def info(self, request: Request) -> Response:
        settings = self._service.settings
        defaults = self._defaults
        return json_response(
            {
                "version": __version__,
                "tensorrt_version": None,
                "log_level": settings.run.log_level.upper(),
                "models": {
                    "inference_backend": settings.models.backend,
                    "det_name": settings.models.detector,
                    "rec_name": settings.models.embedder,
                    "max_size": [settings.detection.input_size] * 2,
                    "ga_name": settings.attributes.gender_age,
                    "mask_detector": settings.attributes.mask,
                    "rec_batch_size": 32,
                    "det_batch_size": 1,
                    "force_fp16": settings.models.precision == "fp16",
                    "triton_uri": None,
                },
                "defaults": {
                    "return_face_data": defaults.return_face_data,
                    "return_landmarks": defaults.return_landmarks,
                    "extract_embedding": defaults.extract_embedding,
                    "extract_ga": defaults.extract_ga,
                    "detect_masks": defaults.detect_masks,
                    "det_thresh": defaults.det_thresh,
                    "img_req_headers": dict.fromkeys(defaults.img_req_headers, HIDDEN),
                    "sslv3_hack": False,
                },
            }
        )

    async def health(self, request: Request) -> Response:
        """Finds a face in a picture that comes with the program, with the real networks.

        Anyone may ask; so that no one keeps the networks busy with it, an answer holds for a while.
        """
        now = time.monotonic()
        if self._is_healthy is None or now >= self._check_again:
            self._check_again = now + HEALTH_HOLDS_S
            async with self._service.opened(self_test_picture()) as image:
                found = await self._service.find(image, Search())
            self._is_healthy = len(found.faces) > 0
        if not self._is_healthy:
            raise HttpError(500, "self check failed")
        return json_response({"status": "ok"})

    def _wanted(self, body: ExtractBody) -> Wanted:
        defaults = self._defaults

        def either(given: Optional[bool], default: bool) -> bool:
            return default if given is None else given

        embedding = either(body.extract_embedding, defaults.extract_embedding)
        gender_age = either(body.extract_ga, defaults.extract_ga)
        masks = either(body.detect_masks, defaults.detect_masks)
        return Wanted(
            self._search(
                body.threshold,
                body.max_size,
                body.limit_faces,
                body.min_face_size,
                embeddings=embedding,
                attributes=gender_age or masks,
            ),
            embedding,
            gender_age,
            masks,
            either(body.return_landmarks, defaults.return_landmarks),
            either(body.return_face_data, defaults.return_face_data),
            OneRequest(),
        )

    def _search(
        self,
        threshold: Optional[float],
        max_size: Union[List[int], int, None],
        limit: Optional[int],
        min_face: Optional[int],
        *,
        embeddings: bool = False,
        attributes: bool = False,
    ) -> Search:
        size: Optional[int] = None
        if max_size is not None:
            longest = max_size if isinstance(max_size, int) else max(max_size, default=0)
            size = min(longest, MAX_INPUT) if longest > 0 else MAX_INPUT
        return Search(
            min_score=self._defaults.det_thresh if threshold is None else threshold,
            input_size=size,
            min_face_px=min_face or 0,
            max_faces=limit or 0,
            embeddings=embeddings,
            attributes=attributes,
        )

    def _pictures(self, images: Images, headers: Optional[Mapping[str, Any]] = None) -> List[Any]:
        """`headers` are for the servers of pictures."""
        if images.urls is not None:
            found: List[Any] = [Linked(url, headers) if is_address(url) else Path(url) for url in images.urls]
        else:
            found = list(images.data or ())
        limit = self._service.settings.serve.max_pictures
        if len(found) > limit:
            raise HttpError(413, f"{len(found)} pictures; the limit is {limit} (serve.max_pictures)")
        return found

    async def _bytes_of(self, picture: Any) -> bytes:
        """Raises BadPictureError."""
        if isinstance(picture, Linked):
            return await self._fetcher.fetch(picture.address, picture.headers)
        if isinstance(picture, Path):
            return await self._service.run(lambda: self._service.read_file(picture))
        if isinstance(picture, (bytes, bytearray)):
            return bytes(picture)
        if not isinstance(picture, str):
            raise BadPictureError(f"expected base64, found {type(picture).__name__}")
        try:
            if len(picture) <= SOON_DECODED:
                return from_base64(picture)
            return await self._service.run(lambda: from_base64(picture))
        except ValueError as error:
            raise BadPictureError(f"the base64 text is broken: {error}") from error

    async def _extract_one(self, picture: Any, wanted: Wanted) -> Dict[str, Any]:
        began = time.perf_counter()
        try:
            data = await self._bytes_of(picture)
        except BadPictureError as error:
            return failed_entry(str(error))
        try:
            if wanted.crops:
                async with self._service.opened(data, wanted.request) as image:
                    found = await self._service.find(image, wanted.search)
                    faces = await self._service.run(lambda: self._faces(found, wanted, image))
            else:
                found = await self._service.find_in(data, wanted.search, wanted.request)
                faces = self._faces(found, wanted)
        except BadPictureError as error:
            return failed_entry(f"{NOT_DECODED}: {error}")
        took_ms = 1000 * (time.perf_counter() - began)
        read_ms = took_ms - found.detect_ms - found.embed_ms
        return {"status": "ok", "took_ms": took_ms, "read_ms": read_ms, "faces": faces}

    def _faces(self, found: FoundFaces, wanted: Wanted, image: Optional[np.ndarray] = None) -> List[Face]:
        """The faces as clients read them; with the picture, also their crops."""
        faces, size = found.faces, wanted.search.input_size or self._service.settings.detection.input_size
        described = [
            {
                "bbox": box.astype(int).tolist(),
                "prob": float(faces.scores[row]),
                "num_det": row,
                "scale": min(1.0, size / max(found.size)),
                "size": int(box[2]) - int(box[0]),
                "landmarks": faces.landmarks[row].astype(int).tolist() if wanted.landmarks else None,
                "facedata": None,
                **recognised(
                    None if faces.embeddings is None else faces.embeddings[row],
                    float(found.norms[row]) if len(found.norms) else None,
                    found.attributes[row] if found.attributes else None,
                    wanted,
                ),
            }
            for row, box in enumerate(faces.boxes)
        ]
        if image is not None:
            for face, crop in zip(described, align_faces(image, faces.landmarks)):
                jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                face["facedata"] = base64.b64encode(jpeg.tobytes()).decode("ascii")
        return described

    async def _embed_crop(self, picture: Any, wanted: Wanted) -> Dict[str, Any]:
        began = time.perf_counter()
        try:
            async with self._service.opened(await self._bytes_of(picture), wanted.request) as image:
                if image.shape[:2] != (TEMPLATE_SIZE, TEMPLATE_SIZE):
                    raise BadPictureError(
                        f"{image.shape[1]} x {image.shape[0]} pixels; with embed_only, pictures are faces of "
                        f"{TEMPLATE_SIZE} x {TEMPLATE_SIZE} pixels"
                    )
                found = await self._service.whole_picture(image, wanted.search)
                (face,) = self._faces(found, wanted, image if wanted.crops else None)
        except BadPictureError as error:
            return failed_entry(str(error))
        return {"status": "ok", "took_ms": 1000 * (time.perf_counter() - began), "faces": [{**face, "status": "ok"}]}

    async def _drawn(self, picture: Any, search: Search, body: DrawBody) -> bytes:
        name = self._service.settings.models.detector
        # All of them are drawn, unless a request says no.
        landmarks, scores, sizes = (
            wanted is not False for wanted in (body.draw_landmarks, body.draw_scores, body.draw_sizes)
        )
        try:
            async with self._service.opened(await self._bytes_of(picture)) as image:
                found = await self._service.find(image, search)
                masks = [attributes.mask for attributes in found.attributes]
                return await self._service.run(
                    lambda: draw_faces(image, found.faces, masks, landmarks, scores, sizes, name)
                )
        except BadPictureError as error:
            raise HttpError(500, f"{NOT_DECODED}: {error}") from error


def failed_entry(reason: str) -> Dict[str, Any]:
    """What is said about a picture that cannot be examined; the others of the request are."""
    return {"status": "failed", "took_ms": 0.0, "faces": [], "traceback": reason}


def in_list_form(face: Face) -> Face:
    """With the keys that clients of the list form read."""
    masks = face["mask_probs"]
    return {**face, "det": face["num_det"], "mask_prob": None if masks is None else masks["mask"], "status": "Ok"}


def recognised(
    vector: Optional[np.ndarray], norm: Optional[float], attributes: Optional[FaceAttributes], wanted: Wanted
) -> Face:
    """The keys of embedding and attributes, `null` where they were not asked for: typed clients need all of them."""
    known = attributes or FaceAttributes()
    gender = known.gender if wanted.gender_age else None
    mask = known.mask_probability if wanted.masks else None
    return {
        "vec": vector,
        "norm": norm,
        "gender": None if gender is None else int(gender is Gender.MALE),
        "age": None if known.age is None or not wanted.gender_age else round(known.age),
        "mask": None if mask is None else known.mask,
        "mask_probs": None
        if mask is None
        else {"mask": mask, "no_mask": 1 - mask if known.no_mask_probability is None else known.no_mask_probability},
    }


def packed(reply: Any) -> bytes:
    """As msgpack, with numbers of 32 bits, as clients expect."""
    import msgpack

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} cannot be packed")

    packed_reply: bytes = msgpack.packb(reply, use_single_float=True, default=plain)
    return packed_reply
