"""The OpenAPI document, made from the endpoints and their types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple, Type

import msgspec

from app import __version__
from app.service.api.messages import Failure
from app.service.http import Endpoint, Scope

REFERENCES = "#/components/schemas/{name}"
TAGS = {
    "pictures": ("identify", "verify", "detect", "embed"),
    "events": ("events", "visits", "live"),
    "server": ("health", "version", "status", "doctor", "fleet", "settings", "retention", "metrics"),
    "access": ("session", "tickets"),
}
"""What belongs together, by the first part of the path. Others are a group of their own."""


@dataclass(frozen=True)
class Described:
    """An endpoint of the own API, with what its document says."""

    endpoint: Endpoint
    summary: str
    reply: Optional[Type[msgspec.Struct]] = None
    """None: not JSON."""
    media_type: str = "application/json"
    """Of the reply."""
    body: Optional[Type[msgspec.Struct]] = None
    optional_body: Optional[Type[msgspec.Struct]] = None
    files: Tuple[str, ...] = ()
    """Fields of a form that are files. One called `image` may also be the whole body."""
    query: Tuple[Tuple[str, str], ...] = ()
    """Parameters with their types; none is needed."""
    header: Optional[str] = None
    """One that a request must have; a web page of another origin cannot send it."""
    status: int = 200
    failures: Tuple[int, ...] = ()


def document(endpoints: Sequence[Described]) -> Dict[str, Any]:
    types = {kind for one in endpoints for kind in (one.reply, one.body, one.optional_body) if kind is not None} | {
        Failure
    }
    ordered = sorted(types, key=lambda kind: kind.__name__)
    references, schemas = msgspec.json.schema_components(ordered, ref_template=REFERENCES)
    by_type = dict(zip(ordered, references))
    paths: Dict[str, Dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.endpoint.path, {})[one.endpoint.method.lower()] = _operation(one, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Face recognition", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _tag(path: str) -> str:
    name = path.split("/")[3]
    return next((tag for tag, names in TAGS.items() if name in names), name)


def _operation(one: Described, by_type: Dict[Type[msgspec.Struct], Any]) -> Dict[str, Any]:
    endpoint = one.endpoint
    content: Any = {"schema": {"type": "string", "format": "binary"}}
    if one.reply is not None:
        content = {"schema": by_type[one.reply]}
    refused = (400, 401, 403, 413, 429, 503) if endpoint.scope is not Scope.PUBLIC else ()
    name = f"{endpoint.method.lower()} {endpoint.path.replace('/api/v1', '')}"
    operation: Dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", name).strip("_"),
        "summary": one.summary,
        "tags": [_tag(endpoint.path)],
        "security": [] if endpoint.scope is Scope.PUBLIC else [{"token": [str(endpoint.scope)]}],
        "responses": {
            str(one.status): {"description": one.summary, "content": {one.media_type: content}},
            **{
                str(status): {
                    "description": "refused",
                    "content": {"application/json": {"schema": by_type[Failure]}},
                }
                for status in sorted({*refused, *one.failures})
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": {"type": kind}} for name, kind in one.query
    ]
    if one.header is not None:
        value = {"type": "string"}
        parameters.append({"name": one.header, "in": "header", "required": True, "example": "1", "schema": value})
    if parameters:
        operation["parameters"] = parameters
    body = one.body or one.optional_body
    if body is not None:
        content = {"application/json": {"schema": by_type[body]}}
        operation["requestBody"] = {"required": one.body is not None, "content": content}
    if one.files:
        operation["requestBody"] = {"required": True, "content": _uploads(one.files)}
    return operation


def _uploads(files: Tuple[str, ...]) -> Dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": binary, "minItems": 1}
    fields = {name: several if name.endswith("s") else binary for name in files}
    form = {"schema": {"type": "object", "properties": fields, "required": list(files)}}
    content: Dict[str, Any] = {"multipart/form-data": form}
    if files == ("image",):
        content["image/*"] = {"schema": binary}
    return content
