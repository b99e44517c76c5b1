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
import ssl
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

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        token: Optional[str] = None,
        timeout_s: float = 60,
        ca_file: Union[str, Path, None] = None,
    ) -> None:
        """`ca_file` is what signed the server's certificate, or the certificate itself if that is self-signed."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"{url!r}: expected an address such as http://127.0.0.1:8080")
        if parts.scheme == "https":
            try:
                trust = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
            except OSError as error:
                raise ServiceError(f"{ca_file} cannot be used as ca_file: {error}") from error
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=trust
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
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

    def rename(self, name: str, new_name: str, merge: bool = False, version: Optional[str] = None) -> Dict[str, Any]:
        """With `merge`, the new name may be that of another person, who then gets the photos.

        Here and below: `changed` says what is whose now, `undo` is the id for `undo`. With `version`, it is refused
        (409) if it is not the one of `people` or `strangers` any more.
        """
        return self._send("PATCH", _person(name), {"name": new_name, "merge": merge, "version": version})

    def move_photo(self, name: str, photo: str, to: str, version: Optional[str] = None) -> Dict[str, Any]:
        """The photo with this id shows someone else."""
        return self._send("POST", f"{_photo(name, photo)}/move", {"name": to, "version": version})

    def remove(self, who: str) -> Dict[str, Any]:
        """Deletes everything that is stored of a person, or of a stranger such as `stranger-7`, for good."""
        return self._request("DELETE", _stranger(who) if who.startswith("stranger-") else _person(who))

    def remove_photo(self, name: str, photo: str) -> None:
        """Deletes one photo, by its id."""
        self._request("DELETE", _photo(name, photo))

    def export(self, who: str) -> bytes:
        """Everything that is stored of a person, or of a stranger such as `stranger-7`, as a ZIP file."""
        path = _stranger(who) if who.startswith("stranger-") else _person(who)
        return self._content("GET", f"{path}/export.zip")

    def strangers(self, ignored: bool = False) -> List[Dict[str, Any]]:
        """Unknown people who have a number, and with `ignored` those who are ignored."""
        path = f"/api/v1/strangers?all={int(ignored)}"
        found: List[Dict[str, Any]] = self._request("GET", path)["strangers"]
        return found

    def name_stranger(self, stranger: str, name: str, version: Optional[str] = None) -> Dict[str, Any]:
        """Enrols a stranger: pictures become photos, and past visits get the name."""
        return self._send("POST", f"{_stranger(stranger)}/name", {"name": name, "version": version})

    def merge_strangers(self, stranger: str, others: Sequence[str], version: Optional[str] = None) -> Dict[str, Any]:
        """The others are the same person as `stranger`, whose number stays."""
        return self._send("POST", f"{_stranger(stranger)}/merge", {"others": list(others), "version": version})

    def split_stranger(self, stranger: str, version: Optional[str] = None) -> Dict[str, Any]:
        """Divides the visits into those of two people."""
        return self._send("POST", f"{_stranger(stranger)}/split", {"version": version})

    def ignore_stranger(self, stranger: str, ignored: bool = True, version: Optional[str] = None) -> Dict[str, Any]:
        return self._send("POST", f"{_stranger(stranger)}/ignore", {"ignored": ignored, "version": version})

    def search(self, picture: Picture) -> Dict[str, Any]:
        """Whether the face in a photo was seen before: the nearest person, and past visits."""
        return self._request("POST", "/api/v1/strangers/search", _file(picture)[1], "image/*")

    def changes(self) -> List[Dict[str, Any]]:
        """What can be undone, the latest first."""
        found: List[Dict[str, Any]] = self._request("GET", "/api/v1/undo")["changes"]
        return found

    def undo(self, change: str) -> Dict[str, Any]:
        """Undoes a change. Refused (409) where something that came later depends on it."""
        return self._send("POST", f"/api/v1/undo/{quote(change, safe='')}", {})

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

    def _send(self, method: str, path: str, fields: Dict[str, Any]) -> Dict[str, Any]:
        """Sends JSON."""
        return self._request(method, path, json.dumps(fields).encode(), "application/json")

    def _request(
        self, method: str, path: str, body: Optional[bytes] = None, content_type: Optional[str] = None
    ) -> Dict[str, Any]:
        content: Dict[str, Any] = json.loads(self._content(method, path, body, content_type))
        return content

    def _content(
        self, method: str, path: str, body: Optional[bytes] = None, content_type: Optional[str] = None
    ) -> bytes:
        headers = {**self._headers, **({"Content-Type": content_type} if content_type else {})}
        try:
            status, data = self._answer(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ServiceError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        if status >= 400:
            try:
                why = json.loads(data)["error"]
            except (ValueError, KeyError, TypeError):
                why = data.decode("utf-8", "replace").strip() or status
            raise ServiceError(f"{method} {path}: {why}", status)
        return data

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


def _photo(name: str, photo: str) -> str:
    return f"{_person(name)}/photos/{quote(photo, safe='')}"


def _stranger(stranger: str) -> str:
    return f"/api/v1/strangers/{quote(stranger, safe='')}"


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
