"""TOML text and --set overrides to one plain document, and the places that its keys came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.scenario.problems import Problem, ProblemsError, dotted

FLAT: Final = ("margin", "matrix", "expect")
"""Tables whose keys are dotted paths: `"a.b" = 1` and `a.b = 1` mean the same there."""


@dataclass(frozen=True)
class Document:
    data: dict[str, Any]  # as in the file, margin, matrix and expect flat
    overridden: frozenset[str]  # dotted keys that --set gave


def read(text: str, overrides: Sequence[str]) -> Document:
    """Raises ProblemsError where the text is not TOML or an override is none."""
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ProblemsError(Problem("", "not TOML that can be read: nested too deeply")) from None
    except ValueError as error:  # also of int(), for numbers of thousands of digits
        raise ProblemsError(Problem("", f"not TOML: {error}")) from None
    for table in FLAT:
        if isinstance(data.get(table), dict):
            data[table] = _flat(table, data[table])
    keys = [_apply(data, override) for override in overrides]
    return Document(data, frozenset(keys))


def _flat(table: str, nested: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for path, value in _leaves(nested):
        key = ".".join(path)
        if key in flat:
            raise ProblemsError(Problem(dotted((table, key)), "given twice"))
        flat[key] = value
    return flat


def _leaves(nested: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _apply(data: dict[str, Any], override: str) -> str:
    """Put one KEY=VALUE into the document; give the key."""
    path, value = _parse(override)
    if path[0] in FLAT:
        if len(path) == 1:
            data[path[0]] = _flat(path[0], value) if isinstance(value, dict) else value
            return path[0]
        path = (path[0], ".".join(path[1:]))
    target: Any = data
    steps = path
    if path[0] == "arm":
        target, steps = _arm(data, path), path[2:]
    for step in steps[:-1]:
        target = target.setdefault(step, {})
        if not isinstance(target, dict):
            raise ProblemsError(Problem(dotted(path), f"{step} is not a table", given_by_set=True))
    target[steps[-1]] = value
    return dotted(path)


def _parse(override: str) -> tuple[tuple[str, ...], Any]:
    equals = _equals(override)
    key = override[:equals].strip() if equals >= 0 else ""
    # the text is not shown: it may hold a PIN
    if not key:
        raise ProblemsError(Problem("", "--set takes KEY=VALUE, for example --set load.duration_s=1"))
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except (ValueError, RecursionError):
        raise ProblemsError(Problem("", "--set: the key is not a dotted TOML key, such as load.duration_s")) from None
    path: list[str] = []
    while isinstance(node, dict):
        if len(node) != 1:
            raise ProblemsError(Problem("", "--set: the key is not a dotted TOML key, such as load.duration_s"))
        ((step, node),) = node.items()
        path.append(step)
    text = override[equals + 1 :].strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
        value = parsed["value"] if len(parsed) == 1 else text
    except (ValueError, RecursionError):
        value = text
    return tuple(path), value


def _equals(override: str) -> int:
    """Place of the first equals sign outside quotes; -1 for none."""
    quote = ""
    for place, character in enumerate(override):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "=":
            return place
    return -1


def _arm(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    arms = [arm for arm in data.get("arm", ()) if isinstance(arm, dict)] if isinstance(data.get("arm"), list) else []
    names = ", ".join(str(arm.get("name")) for arm in arms) or "none (the file has no [[arm]])"
    if len(path) < 3:
        raise ProblemsError(Problem(dotted(path), f"write arm.NAME.KEY=VALUE; the arms are {names}", given_by_set=True))
    for arm in arms:
        if arm.get("name") == path[1]:
            return arm
    raise ProblemsError(Problem(dotted(path), f"no arm of this name; the arms are {names}", given_by_set=True))
