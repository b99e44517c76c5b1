"""The own API: its document says what it does."""

import re

import pytest


@pytest.fixture(scope="module")
def openapi(served):
    return served.get("/openapi.json").json


def test_the_document_describes_every_endpoint(openapi):
    assert openapi["openapi"].startswith("3.")
    operations = [one for path in openapi["paths"].values() for one in path.values()]
    assert len(operations) == len({one["operationId"] for one in operations}) >= 13
    for one in operations:
        assert one["summary"]
        assert any(status.startswith(("2", "101")) for status in one["responses"])


def test_every_reference_of_the_document_exists(openapi):
    names = set(re.findall(r"#/components/schemas/(\w+)", str(openapi)))
    assert names == set(openapi["components"]["schemas"])


def fits(value, schema, openapi):
    """Whether a value is what a schema says; enough of JSON Schema for this document."""
    if "$ref" in schema:
        return fits(value, openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]], openapi)
    if "anyOf" in schema:
        return any(fits(value, one, openapi) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind == "object":
        if "properties" not in schema:
            return isinstance(value, dict)
        properties = schema["properties"]
        return (
            isinstance(value, dict)
            and set(schema.get("required", ())) <= set(value) <= set(properties)
            and all(fits(value[key], properties[key], openapi) for key in value)
        )
    if kind == "array":
        return isinstance(value, list) and all(fits(one, schema["items"], openapi) for one in value)
    python = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}[kind]
    return isinstance(value, python)


@pytest.mark.parametrize("action", ["detect", "embed", "identify"])
def test_replies_are_what_the_document_says(served, openapi, group, action):
    path = f"/api/v1/{action}"
    schema = openapi["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    for reply in (
        served.request("POST", path, group, {"Content-Type": "image/jpeg"}),
        served.upload(path, {}, [("image", "a.jpg", group)]),
    ):
        assert reply.status == 200
        assert len(reply.json["faces"]) == 3
        assert fits(reply.json, schema, openapi)


@pytest.mark.parametrize("action", ["detect", "embed", "identify"])
def test_a_request_without_a_picture_is_told_so(served, action):
    path = f"/api/v1/{action}"
    for reply in (served.request("POST", path, b""), served.upload(path, {}, [("image", "a.jpg", b"")])):
        assert reply.status == 400 and b"no picture" in reply.body


def test_lists_and_errors_are_what_the_document_says(served, openapi):
    for path, concrete in (
        ("/api/v1/people", "/api/v1/people"),
        ("/api/v1/people/{name}", "/api/v1/people/Grace%20Hopper"),
        ("/api/v1/version", "/api/v1/version"),
        ("/api/v1/health", "/api/v1/health"),
        ("/api/v1/channels", "/api/v1/channels"),
    ):
        schema = openapi["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert fits(served.get(concrete).json, schema, openapi)
    failure = {"$ref": "#/components/schemas/Failure"}
    missing = served.get("/api/v1/people/Nobody")
    assert missing.status == 404
    assert fits(missing.json, failure, openapi)
    for body in (b"{", b"{}", b'{"name": 5}'):
        reply = served.request("PATCH", "/api/v1/people/Grace%20Hopper", body)
        assert reply.status == 400
        assert fits(reply.json, failure, openapi)


def test_what_a_run_has_seen_is_what_the_document_says(crowd, openapi):
    client, _ = crowd
    for path in ("/api/v1/channels", "/api/v1/events", "/api/v1/visits"):
        schema = openapi["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert fits(client.get(path).json, schema, openapi)


def test_a_photo_is_shown_and_not_kept_by_browsers(served):
    (first, *_) = served.get("/api/v1/people/Grace%20Hopper").json["photos"]
    reply = served.get(f"/api/v1/people/Grace%20Hopper/photos/{first['id']}")
    assert reply.status == 200
    assert reply.body[:3] == b"\xff\xd8\xff"
    assert reply.headers["cache-control"] == "private, no-store"
    assert served.get(f"/api/v1/people/Eileen%20Collins/photos/{first['id']}").status == 404
