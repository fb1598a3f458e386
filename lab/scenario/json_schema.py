"""The JSON Schema of scenario files, for editors and for `lab schema`."""

from __future__ import annotations

from functools import cache
from typing import Any

from lab.scenario.models import MAX_ARMS
from lab.scenario.written import METRICS, TABLES, Written

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file as it is written; not to be changed by the caller."""
    document = _without_null(Written.model_json_schema())
    tables = document["$defs"]
    properties = document["properties"]
    lists: dict[str, Any] = {}
    for table in TABLES:
        for key, node in _keys(document, table).items():
            if "$ref" in node:  # a table in a table: its keys, not itself
                inner = tables[node["$ref"].rsplit("/", 1)[1]]["properties"]
                lists |= {f"{table}.{key}.{name}": _list_of(leaf) for name, leaf in inner.items()}
            elif node.get("type") != "object":
                lists[f"{table}.{key}"] = _list_of(node)
    lists["timeout_s"] = _list_of(properties["timeout_s"])
    properties["matrix"] |= _dotted(lists)
    properties["margin"] |= _dotted(dict.fromkeys(METRICS, properties["margin"]["additionalProperties"]))
    scalars = {"type": ["boolean", "number", "string"]}
    tables["Expectation"] = {"anyOf": [scalars, {"type": "object", "additionalProperties": {"$ref": _EXPECTATION}}]}
    properties["expect"]["additionalProperties"] = {"$ref": _EXPECTATION}
    properties["arm"]["maxItems"] = MAX_ARMS
    return {"$schema": DIALECT, **document, "title": "Scenario of the PKCS#11 context lab"}


def keys_of(table: str) -> dict[str, Any]:
    """The JSON Schema of each key of one of TABLES; not to be changed by the caller."""
    return _keys(schema(), table)


def _keys(document: dict[str, Any], table: str) -> dict[str, Any]:
    model = document["properties"][table]["$ref"].rpartition("/")[2]
    keys: dict[str, Any] = document["$defs"][model]["properties"]
    return keys


_EXPECTATION = "#/$defs/Expectation"


def _without_null(node: Any) -> Any:
    """TOML has no null: `X or null, default null` becomes X."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    clean = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    if {"type": "null"} in clean.get("anyOf", ()):
        (kept,) = (item for item in clean.pop("anyOf") if item != {"type": "null"})
        clean = {**kept, **clean}
    if isinstance(clean.get("title"), str):  # pydantic's titles repeat the key
        del clean["title"]
    return clean


def _list_of(node: dict[str, Any]) -> dict[str, Any]:
    items = {key: value for key, value in node.items() if key not in ("default", "description")}
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": items, "description": node["description"]}


def _dotted(nodes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """An object that takes each dotted key quoted ("a.b" = ...) and bare (a.b = ..., which nests)."""
    properties: dict[str, Any] = {}
    for key, node in nodes.items():
        properties[key] = node
        *outer, last = key.split(".")
        inside = properties
        for part in outer:
            table = inside.setdefault(part, {"type": "object", "properties": {}, "additionalProperties": False})
            if "properties" not in table:  # p99 is a figure, and the start of p99.9
                break
            inside = table["properties"]
        else:
            inside[last] = node
    return {"type": "object", "properties": properties, "additionalProperties": False}
