"""The faces of pictures in requests: a pool of threads decodes, the thread of the networks finds and embeds.

Requests share the networks with each other and with the video of a run. Faces of all requests that wait are embedded in
one batch; pictures are searched one by one, since a batch of pictures brings a processor nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, AsyncIterator, Callable, Deque, List, NamedTuple, Optional, Tuple, TypeVar

import cv2
import numpy as np

from app.gallery.gallery import Gallery
from app.network_thread import NetworkThread, ShutDownError
from app.recognizer import Recognizer
from app.service.http import HttpError
from app.service.pictures import BadPictureError, decode, picture_header, read_below
from app.settings import Settings
from app.settings.serve import ServeSettings
from app.types import NO_ATTRIBUTES, FaceAttributes, Faces, Match
from app.vision.align import TEMPLATE_SIZE, template
from app.vision.face_network import FaceNetwork

T = TypeVar("T")

MAX_SHRUNK_PIXELS = 4_000_000
"""Pixels that a shrunk JPEG keeps at most, and a quarter of them at least: more than a detector looks at."""
MAX_INPUT_OF_SHRUNK = 960

MAX_FACES_IN_BATCH = 32
"""Faces that are embedded at once, fewer on a processor. A frame of live video waits for one batch."""


@dataclass(frozen=True)
class Search:
    """What a request wants to know about the faces of a picture."""

    min_score: Optional[float] = None
    """None: that of the settings."""
    input_size: Optional[int] = None
    """The longer side of the picture in the detector. None: that of the settings."""
    min_face_px: float = 0
    """Minimum width of a face's box."""
    max_faces: int = 0
    """If there are more, the largest ones are kept, largest first. 0 = no limit."""
    embeddings: bool = True
    attributes: bool = False


class FoundFaces(NamedTuple):
    """The faces of one picture."""

    faces: Faces
    norms: np.ndarray
    """One per face: the length of its embedding before it was normalised. Empty if nothing was embedded."""
    attributes: List[FaceAttributes]
    """One per face, or none."""
    size: Tuple[int, int]
    """Width and height of the picture."""
    detect_ms: float
    embed_ms: float


MAX_DECODED_MP = 24
"""Pictures of requests that are in memory at once, with three bytes for each pixel; the others wait as they came."""


class OneRequest:
    """As soon as one of its pictures is worked on, the others wait for their turn instead of being turned away."""

    has_begun = False


class Admission:
    """How many pixels are worked on. Used by the event loop's thread."""

    def __init__(self, max_megapixels: float) -> None:
        self._max = max_megapixels * 1e6
        self._pixels = 0
        self._seconds_per_pixel = 0.0
        self._decoded = 0
        self._waiting: Deque[asyncio.Future[None]] = deque()
        self._begun: List[asyncio.Future[None]] = []
        """Pictures of requests that have begun, until another picture is done."""

    @asynccontextmanager
    async def of(self, pixels: int, request: Optional[OneRequest] = None) -> AsyncIterator[None]:
        """Counts a picture until it is done, and waits until it may be decoded. Raises HttpError (503) if it is too
        much for this server."""
        while self._pixels and self._pixels + pixels > self._max:
            if request is None or not request.has_begun:
                wait_s = max(1, math.ceil(self._pixels * self._seconds_per_pixel))
                raise HttpError(503, "too many requests at the moment", headers={"Retry-After": str(min(wait_s, 60))})
            another_done = asyncio.get_running_loop().create_future()
            self._begun.append(another_done)
            await another_done
        if request is not None:
            request.has_begun = True
        self._pixels += pixels
        began, ahead = time.monotonic(), self._pixels
        try:
            async with self._room_for(pixels):
                yield
        finally:
            self._pixels -= pixels
            begun, self._begun = self._begun, []
            for another_done in begun:
                if not another_done.done():
                    another_done.set_result(None)
            self._seconds_per_pixel += 0.1 * ((time.monotonic() - began) / ahead - self._seconds_per_pixel)

    @asynccontextmanager
    async def _room_for(self, pixels: int) -> AsyncIterator[None]:
        """Waits until so many more pixels fit into memory, in the order of arrival."""
        has_turn = not self._waiting
        while not has_turn or (self._decoded and self._decoded + pixels > MAX_DECODED_MP * 1e6):
            turn = asyncio.get_running_loop().create_future()
            # Who had a turn, but no room, stays the first.
            self._waiting.appendleft(turn) if has_turn else self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
            has_turn = True
        self._decoded += pixels
        self._next()
        try:
            yield
        finally:
            self._decoded -= pixels
            self._next()

    def _next(self) -> None:
        """Gives the turn to the first that still waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    @property
    def megapixels(self) -> float:
        """Those of all pictures that are worked on or wait."""
        return self._pixels / 1e6


if TYPE_CHECKING:
    Embedding = Future[Tuple[np.ndarray, np.ndarray]]


class EmbeddingBatcher:
    """Joins the faces of all requests that wait for the networks into one batch."""

    def __init__(
        self,
        networks: NetworkThread,
        embed: Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]],
        max_faces: int = MAX_FACES_IN_BATCH,
    ) -> None:
        """`max_faces`: of several requests together; one request may have more."""
        self._networks = networks
        self._embed = embed
        self._max_faces = max_faces
        self._lock = threading.Lock()
        self._waiting: Deque[Tuple[np.ndarray, Embedding]] = deque()

    def submit(self, crops: np.ndarray) -> Embedding:
        """Embeddings of unit length and their lengths before that, of some aligned faces."""
        future: Embedding = Future()
        with self._lock:
            self._waiting.append((crops, future))
            is_first = len(self._waiting) == 1
        if is_first:
            self._ask()
        return future

    def _ask(self) -> None:
        self._networks.submit(self._run).add_done_callback(self._refuse_if_closed)

    def _run(self) -> None:
        batch: List[Tuple[np.ndarray, Embedding]] = []
        with self._lock:
            faces = 0
            while self._waiting and (not batch or faces + len(self._waiting[0][0]) <= self._max_faces):
                crops, future = self._waiting.popleft()
                # A request that was not answered in time has cancelled its part.
                if future.set_running_or_notify_cancel():
                    batch.append((crops, future))
                    faces += len(crops)
            more = bool(self._waiting)
        if more:
            self._ask()
        if not batch:
            return
        try:
            vectors, norms = self._embed(np.concatenate([crops for crops, _ in batch]))
        except Exception as error:  # noqa: BLE001 - the root of a job on the networks' thread
            for _, future in batch:
                future.set_exception(error)
            return
        start = 0
        for crops, future in batch:
            end = start + len(crops)
            future.set_result((vectors[start:end], norms[start:end]))
            start = end

    def _refuse_if_closed(self, done: Future[None]) -> None:
        if isinstance(done.exception(), ShutDownError):
            with self._lock:
                refused = list(self._waiting)
                self._waiting.clear()
            for _, future in refused:
                if future.set_running_or_notify_cancel():
                    future.set_exception(ShutDownError())


class FaceService:
    """What the dialects ask for. Its coroutines run on the event loop of the HTTP server."""

    def __init__(self, settings: Settings, recognizer: Recognizer, gallery: Gallery, networks: NetworkThread) -> None:
        self.settings = settings
        self.recognizer = recognizer
        self.gallery = gallery
        self._networks = networks
        self._limits: ServeSettings = settings.serve
        self._admission = Admission(settings.serve.max_waiting_mp)
        runs_on = recognizer.embedder.runs_on
        max_faces = (runs_on and runs_on.max_batch) or MAX_FACES_IN_BATCH
        self._batcher = EmbeddingBatcher(networks, recognizer.embed_crops_with_norms, max_faces)
        threads = max(1, (os.cpu_count() or 2) - 1)
        self._pool = ThreadPoolExecutor(threads, "pictures", initializer=cv2.setNumThreads, initargs=(1,))

    @asynccontextmanager
    async def opened(self, data: bytes, request: Optional[OneRequest] = None) -> AsyncIterator[np.ndarray]:
        """A picture (H x W x 3, uint8, BGR), counted among those that are worked on. Raises BadPictureError.

        `request` is the one that it is of, if that has several.
        """
        header = picture_header(data, self._limits.max_picture_mp)
        async with self._admission.of(header.width * header.height, request):
            yield await self.run(lambda: decode(data))

    async def find_in(self, data: bytes, search: Search, request: Optional[OneRequest] = None) -> FoundFaces:
        """The faces of a picture as a client sent it, in its own pixels; `request` is as in `opened`. Raises
        BadPictureError.

        A large JPEG is decoded at a half or a quarter of its size, which takes a third of the time, and once more in
        full only if a face is too small for its crop.
        """
        header = picture_header(data, self._limits.max_picture_mp)
        input_size = search.input_size or self.settings.detection.input_size
        enough = MAX_SHRUNK_PIXELS if header.format == "JPEG" and input_size <= MAX_INPUT_OF_SHRUNK else None
        async with self._admission.of(header.width * header.height, request):
            image = await self.run(lambda: decode(data, enough))
            (height, width), full = image.shape[:2], header.upright_size
            if (width, height) == full:
                return await self.find(image, search)
            scale = np.array([full[0] / width, full[1] / height], np.float32)
            only_found = replace(search, embeddings=False, attributes=False, min_face_px=search.min_face_px / scale[0])
            found = await self.find(image, only_found)
            boxes, landmarks = found.faces.boxes * np.tile(scale, 2), found.faces.landmarks * scale
            faces = replace(found.faces, boxes=boxes, landmarks=landmarks)
            in_image = found.faces
            if (search.embeddings or search.attributes) and _smallest_side(in_image) < TEMPLATE_SIZE:
                image, in_image = await self.run(lambda: decode(data)), faces
            embedding = self._embedding(image, in_image, search)
            described = await self._described(image, search, in_image, found.detect_ms, embedding)
            return described._replace(faces=replace(faces, embeddings=described.faces.embeddings), size=full)

    async def find(self, image: np.ndarray, search: Search) -> FoundFaces:
        """The faces of a picture (H x W x 3, uint8, BGR)."""
        recognizer = self.recognizer
        began = time.perf_counter()

        def find_and_ask() -> Tuple[Faces, float, Optional[Embedding]]:
            (found,) = recognizer.find([image], input_size=search.input_size, min_score=search.min_score)
            faces = chosen(found, search)
            # Asked for here: each step from thread to thread takes a part of what the networks take.
            return faces, 1000 * (time.perf_counter() - began), self._embedding(image, faces, search)

        return await self._described(image, search, *await self.with_networks(find_and_ask))

    async def whole_picture(self, image: np.ndarray, search: Search) -> FoundFaces:
        """The same for a picture that is one face, upright and from edge to edge."""
        height, width = image.shape[:2]
        box = np.array([[0, 0, width, height]], np.float32)
        scale = np.array([width / TEMPLATE_SIZE, height / TEMPLATE_SIZE], np.float32)
        faces = Faces(box, np.ones(1, np.float32), (template() * scale)[None])
        return await self._described(image, search, faces, 0.0, self._embedding(image, faces, search))

    async def whole_picture_in(self, data: bytes, search: Search) -> FoundFaces:
        """The same for a picture as a client sent it. Raises BadPictureError."""
        async with self.opened(data) as image:
            return await self.whole_picture(image, search)

    def _embedding(self, image: np.ndarray, faces: Faces, search: Search) -> Optional[Embedding]:
        if search.embeddings and len(faces):
            return self._batcher.submit(self.recognizer.crops(image, faces))
        return None

    async def _described(
        self, image: np.ndarray, search: Search, faces: Faces, detect_ms: float, embedding: Optional[Embedding]
    ) -> FoundFaces:
        recognizer = self.recognizer
        began = time.perf_counter()
        norms = np.empty(0, np.float32)
        if embedding is not None:
            vectors, norms = await asyncio.wrap_future(embedding)
            faces = replace(faces, embeddings=vectors)
        attributes: List[FaceAttributes] = []
        if search.attributes and len(faces):
            rows, unknown = range(len(faces)), [NO_ATTRIBUTES] * len(faces)
            attributes = await self.with_networks(lambda: recognizer.attributes(image, faces, rows, unknown))
        size = (image.shape[1], image.shape[0])
        return FoundFaces(faces, norms, attributes, size, detect_ms, 1000 * (time.perf_counter() - began))

    async def answers(self, network: FaceNetwork, crops: np.ndarray) -> np.ndarray:
        """What a network of the recognizer says of faces as it takes them. Embeddings are not of unit length."""
        async with self._admission.of(crops.shape[0] * crops.shape[1] * crops.shape[2]):
            if network is self.recognizer.embedder:
                vectors, lengths = await asyncio.wrap_future(self._batcher.submit(crops))
                return np.asarray(vectors * lengths[:, None])
            return await self.with_networks(lambda: network.answers(crops))

    def identify(self, faces: Faces) -> List[Match]:
        """Who the faces are, one answer each. They must have been embedded."""
        return self.recognizer.identify(faces, self.gallery.index) if len(faces) else []

    def read_file(self, path: Path) -> bytes:
        """A picture in the folder that requests may name files of. Raises BadPictureError."""
        root = self.settings.serve.root_images
        if root is None:
            raise BadPictureError("no folder of pictures is open to requests (serve.root_images, --root-images)")
        return read_below(root, path, int(self._limits.max_body_mb * 1e6))

    async def run(self, work: Callable[[], T]) -> T:
        """Does work that takes a while, such as writing a picture, without holding up other requests."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    async def with_networks(self, work: Callable[[], T]) -> T:
        """Does work with the recognizer, on the thread of the networks."""
        return await asyncio.wrap_future(self._networks.submit(work))


def chosen(faces: Faces, search: Search) -> Faces:
    """Those that are wide enough, and of these the largest."""
    widths = faces.boxes[:, 2] - faces.boxes[:, 0]
    faces = faces[np.flatnonzero(widths >= search.min_face_px)]
    if 0 < search.max_faces < len(faces):
        areas = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)
        faces = faces[np.argsort(-areas, kind="stable")[: search.max_faces]]
    return faces


def _smallest_side(faces: Faces) -> float:
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return float(sides.min()) if len(faces) else math.inf
