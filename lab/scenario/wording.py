"""What pydantic found, in the words of the scenario file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from lab.scenario.json_schema import keys_of, schema
from lab.scenario.models import ARM_PATTERN, NAME_PATTERN, USER_PATTERN, VARIABLE_PATTERN
from lab.scenario.problems import Problem, dotted, show
from lab.scenario.written import METRICS, TABLES

_PIN: Final = frozenset({"pin", "pins", "user_pin", "so_pin", "pin_value", "password", "passphrase", "secret"})
_PATTERNS: Final = {
    NAME_PATTERN: "1 to 64 letters, digits, dots, hyphens or underscores, the first a letter or digit",
    ARM_PATTERN: "1 to 100 letters, digits, spaces or any of ._=+-, the first a letter or digit",
    VARIABLE_PATTERN: "the name of an environment variable",
    USER_PATTERN: "the name of a user",
}


def problems_of(error: ValidationError, data: Mapping[str, Any]) -> list[Problem]:
    """One Problem for each thing that pydantic found in the data of a Written."""
    found = []
    for item in error.errors(include_url=False, include_context=False):
        arm, path = _arm_of(item["loc"], data)
        path = _without_union_members(path)
        secret = path[:1] == ("token",) and (len(path) == 1 or str(path[1]).startswith(("pin", "environment")))
        if item["type"] == "extra_forbidden":
            found.append(Problem(dotted(path), unknown([str(part) for part in path]), arm))
        elif item["type"] == "missing":
            found.append(Problem(dotted(path), f"missing; use {allowed(path, arm is not None)}", arm))
        else:
            shown = "this value" if secret else show(item["input"])
            found.append(Problem(dotted(path), f"{shown} is not allowed; use {allowed(path, arm is not None)}", arm))
    return found


def unknown(path: Sequence[str]) -> str:
    """Why a key that does not exist is refused, with the nearest that does. Never shows the value."""
    name = path[-1]
    if name.lower() in _PIN:
        return "a PIN is never written in a scenario; use pin_env (the name of an environment variable) or pin_file"
    node = _node(path[:-1], False)
    siblings = list(node.get("properties", {})) if node else []
    for table in TABLES:
        if name in keys_of(table) and path[:-1] != [table]:
            return f"no such key here; did you mean {table}.{name}?"
    if near := difflib.get_close_matches(name, siblings, n=1):
        return f"no such key; did you mean {near[0]}?"
    return f"no such key; use one of {', '.join(siblings)}" if siblings else "no such key"


def allowed(path: Sequence[str | int], in_arm: bool) -> str:
    """What a key takes, from the JSON Schema: `one of os, none`, `a whole number from 1 to 200`."""
    if path[:1] == ("margin",) and len(path) > 1:
        return "a fraction between 0 and 1, such as 0.05"
    if path[:1] == ("expect",) and len(path) > 1:
        return "a number, text, true or false"
    if path[:1] == ("matrix",) and len(path) > 1:
        return "a list of one or more values"
    node = _node(path, in_arm) or {}
    if "enum" in node:
        return "one of " + ", ".join(node["enum"])
    if "anyOf" in node and path == ("blocks",):
        number, word = node["anyOf"]
        return f"a whole number from {number['minimum']} to {number['maximum']}, or {show(word['const'])}"
    match node.get("type"):
        case "integer":
            return f"a whole number from {node['minimum']} to {node['maximum']}"
        case "number" if "exclusiveMinimum" in node:
            return f"a number above {show(node['exclusiveMinimum'])}, up to {show(node['maximum'])}"
        case "number":
            return f"a number from {show(node['minimum'])} to {show(node['maximum'])}"
        case "boolean":
            return "true or false"
        case "string" if node.get("pattern") in _PATTERNS:
            return _PATTERNS[node["pattern"]]
        case "string":
            return f"text of {node.get('minLength', 0)} to {node.get('maxLength', 4096)} characters"
        case "array":
            return "[[arm]] tables, one or more"
        case "object" if path and path[0] == "margin":
            return f"a table of one or more of {', '.join(METRICS)}"
        case "object" if path and path[0] == "matrix":
            return "a table of one or more keys, each with a list of values"
        case _:
            return "a table of text values" if "environment" in path else "a table"


def _arm_of(loc: tuple[str | int, ...], data: Mapping[str, Any]) -> tuple[str | None, tuple[str | int, ...]]:
    """Split ("arm", 0, "load", ...) to the arm's name, or its place from 1, and the path inside it."""
    if loc[0] != "arm" or len(loc) < 2 or not isinstance(loc[1], int):
        return None, loc
    entry = data["arm"][loc[1]]
    name = entry.get("name") if isinstance(entry, dict) else None
    return (name if isinstance(name, str) and name else f"number {loc[1] + 1}"), loc[2:] or ("arm",)


def _without_union_members(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """pydantic names the member of a union, and the list's index, after the key: the key is enough."""
    if path[:1] == ("blocks",):
        return path[:1]
    return path[:2] if path and path[0] in ("expect", "margin", "matrix") else path


def _node(path: Sequence[str | int], in_arm: bool) -> dict[str, Any] | None:
    whole = schema()
    node = whole["$defs"]["WrittenArm"] if in_arm else whole
    for part in path:
        node = node.get("properties", {}).get(part)
        if node is None:
            return None
        if "$ref" in node:
            node = whole["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return dict(node)
