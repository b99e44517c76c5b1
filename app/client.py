"""A client of `python -m app serve` for scripts; needs nothing but the standard library.

    from app.client import FaceClient

    with FaceClient("http://127.0.0.1:8080") as faces:
        faces.add_photos("Ann", ["ann1.jpg", "ann2.jpg"])
        for face in faces.identify("door.jpg"):
            print(face["name"], face["similarity"])

Pictures are paths, or bytes of a file. Replies are those of the API (`/openapi.json`), as dictionaries.
"""

from __future__ import annotations

import http.client
import json
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union
from urllib.parse import quote, urlsplit

from app.errors import AppError

Picture = Union[str, Path, bytes]


class ServiceError(AppError):
    """A request that the server refused, or a server that does not answer."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        self.status = status
        """None: there was no answer."""
        super().__init__(message)


class FaceClient:
    """One server, over one connection that is kept open. For one thread."""

    def __init__(self, url: str = "http://127.0.0.1:8080", token: Optional[str] = None, timeout_s: float = 60) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"{url!r}: expected an address such as http://127.0.0.1:8080")
        connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connection(parts.hostname, parts.port, timeout=timeout_s)
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def detect(self, picture: Picture) -> List[Dict[str, Any]]:
        """The faces of a picture: box, score, landmarks."""
        return self._faces("detect", picture)

    def embed(self, picture: Picture) -> List[Dict[str, Any]]:
        """The faces of a picture with their embeddings."""
        return self._faces("embed", picture)

    def identify(self, picture: Picture) -> List[Dict[str, Any]]:
        """Who is in a picture; `name` is None for a face that is unknown, and `reason` says why."""
        return self._faces("identify", picture)

    def verify(self, first: Picture, second: Picture) -> Dict[str, Any]:
        """Whether the largest faces of two pictures are of one person."""
        files = [("first", *_file(first)), ("second", *_file(second))]
        return self._request("POST", "/api/v1/verify", *_form(files))

    def people(self) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = self._request("GET", "/api/v1/people")["people"]
        return found

    def photos(self, name: str) -> List[Dict[str, Any]]:
        """The photos of a person, and what was found in each."""
        found: List[Dict[str, Any]] = self._request("GET", _person(name))["photos"]
        return found

    def add_photos(self, name: str, pictures: Sequence[Picture]) -> List[Dict[str, Any]]:
        """Adds photos of a person; the answer for each says whether it was added, and why not."""
        files = [("photos", *_file(picture)) for picture in pictures]
        outcomes: List[Dict[str, Any]] = self._request("POST", f"{_person(name)}/photos", *_form(files))["photos"]
        return outcomes

    def rename(self, name: str, new_name: str, merge: bool = False) -> None:
        """With `merge`, the new name may be that of another person, who then gets the photos."""
        body = json.dumps({"name": new_name, "merge": merge}).encode()
        self._request("PATCH", _person(name), body, "application/json")

    def remove(self, name: str) -> None:
        """Deletes a person with all photos."""
        self._request("DELETE", _person(name))

    def remove_photo(self, name: str, photo: str) -> None:
        """Deletes one photo, by its id."""
        self._request("DELETE", f"{_person(name)}/photos/{quote(photo, safe='')}")

    def version(self) -> Dict[str, Any]:
        return self._request("GET", "/api/v1/version")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> FaceClient:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _faces(self, action: str, picture: Picture) -> List[Dict[str, Any]]:
        _, data = _file(picture)
        faces: List[Dict[str, Any]] = self._request("POST", f"/api/v1/{action}", data, "image/*")["faces"]
        return faces

    def _request(
        self, method: str, path: str, body: Optional[bytes] = None, content_type: Optional[str] = None
    ) -> Dict[str, Any]:
        headers = {**self._headers, **({"Content-Type": content_type} if content_type else {})}
        try:
            status, data = self._answer(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ServiceError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        try:
            content: Dict[str, Any] = json.loads(data)
        except ValueError:
            content = {"error": data.decode("utf-8", "replace").strip()}
        if status >= 400:
            raise ServiceError(f"{method} {path}: {content.get('error', status)}", status)
        return content

    def _answer(self, method: str, path: str, body: Optional[bytes], headers: Dict[str, str]) -> Tuple[int, bytes]:
        was_open = self._connection.sock is not None
        try:
            self._connection.request(method, path, body, headers)
            reply = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server closes connections that are idle for long; a new one has not this excuse.
            self._connection.close()
            if not was_open:
                raise
            self._connection.request(method, path, body, headers)
            reply = self._connection.getresponse()
        return reply.status, reply.read()


def _person(name: str) -> str:
    return f"/api/v1/people/{quote(name, safe='')}"


def _file(picture: Picture) -> Tuple[str, bytes]:
    """Name and content of a file."""
    if isinstance(picture, bytes):
        return "picture", picture
    path = Path(picture)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror}") from error


def _form(files: Sequence[Tuple[str, str, bytes]]) -> Tuple[bytes, str]:
    """A multipart body of files (field, name, content), and its content type."""
    boundary = uuid.uuid4().hex
    body = bytearray()
    for field, filename, data in files:
        safe = filename.replace('"', "%22").replace("\r", "").replace("\n", "")
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{safe}"\r\n'.encode()
        body += b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"
