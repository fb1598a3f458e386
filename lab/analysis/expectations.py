"""[expect] of a scenario against a summary: which are not met. Unmet expectations make exit status 3."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_COMPARED: Final = re.compile(r"\s*(>=|<=|>|<|!=|==)\s*(\S.*?)\s*$")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "!=": operator.ne,
    "==": operator.eq,
}


def unmet(summary: Mapping[str, Any], expect: Mapping[str, Any]) -> list[str]:
    """One sentence for each expectation that is not met.

    Paths are keys and list indexes joined by dots; a key may hold dots itself ("response_ms.p99.9", arm names), and
    then the reading that exists counts. A value is equal, or a text such as "> 0", ">= 3", "< 10". A path that the
    summary does not have, and a missing (null) value compared by size, are not met.
    """
    return [sentence for path, wanted in expect.items() if (sentence := _unmet(summary, path, wanted))]


def _unmet(summary: Mapping[str, Any], path: str, wanted: Any) -> str | None:
    found = next(_lookups(summary, path.split(".")), _ABSENT)
    if found is _ABSENT:
        return f"{path}: the summary has no such value"
    if _meets(found, wanted):
        return None
    shown = "n/a" if found is None else found
    return f"{path}: is {shown}, expected {wanted}"


def _meets(found: Any, wanted: Any) -> bool:
    compared = _COMPARED.match(wanted) if isinstance(wanted, str) else None
    if compared is None:
        return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)
    try:
        number = float(compared[2])
    except ValueError:
        return bool(found == wanted)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return _OPERATORS[compared[1]](found, number)


def _lookups(value: Any, parts: list[str]) -> Iterator[Any]:
    """Every value that the parts lead to; several parts together may be one key."""
    if not parts:
        yield value
    elif isinstance(value, Mapping):
        for taken in range(len(parts), 0, -1):
            key = ".".join(parts[:taken])
            if key in value:
                yield from _lookups(value[key], parts[taken:])
    elif isinstance(value, list) and re.fullmatch(r"-?\d+", parts[0]) and -len(value) <= int(parts[0]) < len(value):
        yield from _lookups(value[int(parts[0])], parts[1:])


_ABSENT: Final = object()
