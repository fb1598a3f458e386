"""Makes docs/scenarios.md: every key of a scenario file, from the JSON Schema that `python -m lab schema` prints.

python -m docs.scenarios
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from docs.tables import table
from lab.scenario import schema

PAGE: Final = Path(__file__).parent / "scenarios.md"

_HEAD: Final = """# Scenario files

Made by `python -m docs.scenarios` from the schema that `python -m lab schema` prints; nothing here is written by hand.
Every key may be left out. A key of a table may also stand in an `[[arm]]`, which then overrides it, and in `[matrix]`,
with a list of values. `--set table.key=value` on the command line overrides any of them.
"""
_FIRST: Final = ("name", "question", "seed", "blocks", "timeout_s", "skip_unusable")
_OWN: Final = ("margin", "arm", "matrix", "expect")


def page() -> str:
    """The whole page."""
    document = schema()
    top = document["properties"]
    tables = [name for name, node in top.items() if "$ref" in node]
    names = sorted(set(top) - {*tables, *_OWN}, key=_FIRST.index)
    scalars = {name: top[name] for name in names}
    parts = [_HEAD, "## The whole scenario\n", _keys("", scalars, document)]
    for name in tables:
        parts += [
            f"\n## [{name}]\n",
            f"{top[name]['description']}\n",
            _keys(f"{name}.", _target(top[name], document), document),
        ]
    parts += [f"\n## {_heading(name)}\n\n{top[name]['description']}" for name in _OWN]
    return "\n".join(parts) + "\n"


def _heading(name: str) -> str:
    return "[[arm]]" if name == "arm" else f"[{name}]"


def _target(node: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of the table that a node refers to."""
    found: Mapping[str, Any] = document["$defs"][node["$ref"].rpartition("/")[2]]["properties"]
    return found


def _keys(prefix: str, keys: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    return table(("key", "takes", "what it is"), _rows(prefix, keys, document))


def _rows(prefix: str, keys: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, node in keys.items():
        if "$ref" in node:  # a table in a table
            yield from _rows(f"{prefix}{name}.", _target(node, document), document)
        else:
            yield [f"`{prefix}{name}`", _takes(node), _cell(node["description"])]


def _takes(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return ", or ".join(_takes(each) for each in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    if node.get("type") == "object":
        return "a table of names and texts"
    if node.get("type") == "boolean":
        return "`true`, `false`"
    if node.get("type") in ("integer", "number"):
        what = "a whole number" if node["type"] == "integer" else "a number"
        low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum")
        above = "above" if "exclusiveMinimum" in node else "from"
        return what + (f" {above} {low:,}" if low is not None else "") + (f" to {high:,}" if high is not None else "")
    return "a text"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    PAGE.write_text(page())
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
