"""Checks values against the JSON schema of events: the part of JSON Schema that it uses."""

import json
import re

from shipped import ROOT

SCHEMA = json.loads((ROOT / "docs" / "events.schema.json").read_text(encoding="utf-8"))

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_DESCRIPTIONS = {"$schema", "$defs", "title", "description"}


def require_event(record):
    """Asserts that a line of an event log conforms, and that the schema describes all of its fields."""
    problems = list(errors(record, SCHEMA))
    assert not problems, f"{problems} in {record}"
    known = properties({"$ref": f"#/$defs/{record['event']}"})
    assert set(record) <= known, f"fields that docs/events.schema.json lacks: {set(record) - known}"


def errors(value, schema):
    checks = {
        "$ref": lambda name: errors(value, _definition(name)),
        "const": lambda wanted: _unless(value == wanted, value, wanted),
        "enum": lambda wanted: _unless(value in wanted, value, wanted),
        "type": lambda names: _unless(_has_type(value, names), value, names),
        "minimum": lambda bound: _unless(value >= bound, value, bound),
        "maximum": lambda bound: _unless(value <= bound, value, bound),
        "pattern": lambda pattern: _unless(isinstance(value, str) and re.search(pattern, value), value, pattern),
        "minItems": lambda count: _unless(len(value) >= count, value, count),
        "maxItems": lambda count: _unless(len(value) <= count, value, count),
        "items": lambda part: (problem for item in value for problem in errors(item, part)),
        "required": lambda names: _unless(set(names) <= set(value), value, names),
        "properties": lambda parts: (
            f"{name}: {problem}" for name in parts if name in value for problem in errors(value[name], parts[name])
        ),
        "allOf": lambda parts: (problem for part in parts for problem in errors(value, part)),
        "anyOf": lambda parts: _unless(any(not [*errors(value, part)] for part in parts), value, parts),
        "oneOf": lambda parts: _unless(sum(not [*errors(value, part)] for part in parts) == 1, value, parts),
    }
    for keyword, wanted in schema.items():
        if keyword not in _DESCRIPTIONS:
            yield from checks[keyword](wanted)


def properties(schema):
    """The names of all fields that an object may have."""
    if "$ref" in schema:
        return properties(_definition(schema["$ref"]))
    return set(schema.get("properties", ())).union(*map(properties, schema.get("allOf", ())))


def _definition(reference):
    return SCHEMA["$defs"][reference.rpartition("/")[2]]


def _has_type(value, names):
    names = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in names
    return isinstance(value, tuple(kind for name in names for kind in _as_tuple(_TYPES[name])))


def _as_tuple(kinds):
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _unless(fits, value, wanted):
    if not fits:
        yield f"{value!r} does not fit {wanted!r}"
