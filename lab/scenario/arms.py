"""Base tables, [[arm]] and [matrix] to the arms of a scenario, each a name and what is given for it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lab.scenario.choice import Choice, Given
from lab.scenario.models import MAX_ARMS
from lab.scenario.problems import Problem, ProblemsError, dotted, show
from lab.scenario.wording import problems_of, unknown
from lab.scenario.written import TABLES, Written


@dataclass(frozen=True)
class GivenArm:
    name: str
    given: Given  # table -> key -> value, as merged
    timeout_s: float | None
    listed: bool  # in the file by name, or made by the matrix: its problems name it
    entry: str | None = None  # name of the [[arm]] that it comes from


def expand(data: Mapping[str, Any]) -> list[GivenArm]:
    """The arms of a document that is valid as a Written. Raises ProblemsError."""
    axes: Mapping[str, Sequence[Any]] = data.get("matrix", {})
    _check_axes(axes, data)
    entries: Sequence[Mapping[str, Any]] = data.get("arm", ({},))
    count = len(entries) * math.prod(len(values) for values in axes.values())
    if count > MAX_ARMS:
        key = "matrix" if axes else "arm"
        raise ProblemsError(Problem(key, f"{count} arms are not allowed; use at most {MAX_ARMS}"))
    labels = _labels(axes)
    arms = []
    for entry in entries:
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            given = {table: _with(chosen, table, {**data.get(table, {}), **entry.get(table, {})}) for table in TABLES}
            timeout_s = chosen.get("timeout_s", entry.get("timeout_s", data.get("timeout_s")))
            parts = [entry["name"]] if entry else []
            parts += [f"{labels[key]}={_label(value)}" for key, value in chosen.items()]
            listed = bool(parts)
            choice = Choice.of(given)
            name = " ".join(parts) if listed else _unlisted(choice)
            arms.append(GivenArm(name[:100], given, timeout_s, listed, entry.get("name")))
    for place, arm in enumerate(arms):
        if arm.name in (other.name for other in arms[:place]):
            raise ProblemsError(
                Problem("matrix" if axes else "arm", f'two arms are called "{arm.name}"; use other names')
            )
    return arms


def _check_axes(axes: Mapping[str, Sequence[Any]], data: Mapping[str, Any]) -> None:
    found = list(_axis_problems(axes, data))
    if found:
        raise ProblemsError(*found)


def _axis_problems(axes: Mapping[str, Sequence[Any]], data: Mapping[str, Any]) -> Iterator[Problem]:
    for axis, values in axes.items():
        key = dotted(("matrix", axis))
        path = axis.split(".")
        if path[0] in ("matrix", "arm"):
            yield Problem(key, f"cyclic: a matrix makes arms, it cannot vary [{path[0]}] itself")
            continue
        known = axis == "timeout_s" or (path[0] in TABLES and len(path) > 1)
        if path[0] in TABLES and len(path) == 1:
            yield Problem(key, f"{axis} is a table; name one of its keys")
        elif not known and path[0] in Written.model_fields:
            yield Problem(key, f"{axis} is of the whole scenario; use a key of {', '.join(TABLES)}, or timeout_s")
        elif not known:
            yield Problem(key, unknown(path))
        else:
            yield from _value_problems(key, path, values)
            for entry in data.get("arm", ()):
                if _gives(entry, path):
                    yield Problem(axis, "given by the arm and by the matrix; use one of them", entry["name"])


def _gives(entry: Mapping[str, Any], path: Sequence[str]) -> bool:
    inside: Any = entry
    for part in path:
        if not isinstance(inside, Mapping) or part not in inside:
            return False
        inside = inside[part]
    return True


def _value_problems(key: str, path: Sequence[str], values: Sequence[Any]) -> Iterator[Problem]:
    seen: list[Any] = []
    for value in values:
        if isinstance(value, dict | list):
            yield Problem(key, f"{show(value)} is not allowed; use plain values")
            return
        if any(value == other and type(value) is type(other) for other in seen):
            yield Problem(key, f"{show(value)} is given twice")
        seen.append(value)
        nested: Any = value
        for part in reversed(path):
            nested = {part: nested}
        try:
            Written.model_validate(nested)
        except ValidationError as error:
            text = problems_of(error, nested)[0].text
            yield Problem(key, text)
            if "no such key" in text or "PIN" in text:
                return


def _with(chosen: Mapping[str, Any], table: str, given: dict[str, Any]) -> dict[str, Any]:
    """A table with what the matrix chose for it; a key such as load.intruders.silent is inside a table of its own."""
    for key, value in chosen.items():
        of, *path = key.split(".")
        if of != table or not path:
            continue
        *outer, last = path
        inside = given
        for part in outer:
            inside[part] = dict(inside.get(part, {}))
            inside = inside[part]
        inside[last] = value
    return given


def _labels(axes: Mapping[str, Any]) -> dict[str, str]:
    """The last part of each key, or the whole key where two end alike."""
    last = {key: key.rpartition(".")[2] for key in axes}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def _unlisted(choice: Choice) -> str:
    """Name of the only arm of a file that names none: what its context is, or why it has none."""
    if choice.workload == "null":
        return "null"
    if choice.external:
        return "external"
    if choice.real:
        return choice.server
    return choice.policy if choice.has_context else "software"


def _label(value: Any) -> str:
    """A value as part of an arm's name, which is also part of a folder's name."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text)
