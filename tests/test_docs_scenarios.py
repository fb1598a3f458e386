"""docs/scenarios.md is what the schema says today."""

from __future__ import annotations

from docs import scenarios
from lab.scenario import schema


def test_the_page_is_the_schema_s() -> None:
    assert scenarios.PAGE.read_text() == scenarios.page(), "run python -m docs.scenarios"


def test_every_key_and_every_value_is_on_the_page() -> None:
    text = scenarios.page()
    document = schema()
    for name, node in document["properties"].items():
        if "$ref" in node:
            keys = document["$defs"][node["$ref"].rpartition("/")[2]]["properties"]
            for key, leaf in keys.items():
                assert f"`{name}.{key}" in text
                assert all(f"`{value}`" in text for value in leaf.get("enum", ()))
        else:
            assert f"`{name}`" in text or f"[{name}]" in text
