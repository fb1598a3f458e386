"""C and Python read the one definition of rows alike: offsets, sizes and numbers, as the compiler has them."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from lab.record import dtypes
from lab.record.names import FUNCTION_NUMBER
from tests.native.build import SOURCES, compile_c

HEADER_FIELDS = list(dtypes.HEADER.fields or ())


def fields_of(row: str) -> list[str]:
    return re.findall(rf"^FIELD\({row}, \w+, (\w+),", (SOURCES / "rows.def").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What a compiled program prints: `<name> <number>` per line."""
    lines = []
    for struct, fields in (
        ("rows_header", HEADER_FIELDS),
        ("operation_row", fields_of("operation")),
        ("call_row", fields_of("call")),
        ("connection_row", fields_of("connection")),
    ):
        lines.append(f'printf("{struct} %zu\\n", sizeof(struct {struct}));')
        for field in fields:
            lines.append(f'printf("{struct}.{field} %zu\\n", offsetof(struct {struct}, {field}));')
            lines.append(f'printf("{struct}.{field}.bytes %zu\\n", sizeof(((struct {struct} *)0)->{field}));')
    for group in ("KIND", "PHASE", "LAYER", "LOCKING", "TLS", "NETWORK", "SIDE"):
        lines += [f'printf("{group}_{name} %d\\n", {group}_{name});' for name in getattr(dtypes, group)]
    for name in ("ROW_EMPTY", "ROW_BEGUN", "ROW_ENDED", "ROWS_HEADER_BYTES", "ROW_BYTES"):
        lines.append(f'printf("{name} %d\\n", {name});')
    lines += [f'printf("{name} %d\\n", NUMBER_{name});' for name in FUNCTION_NUMBER]
    lines.append('printf("functions %d\\n", NUMBER_END - 1);')
    folder = tmp_path_factory.mktemp("layout")
    body = "\n    ".join(lines)
    source = folder / "layout.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n"
        '#include "rows.h"\n#include "lists.h"\n'
        f"int main(void)\n{{\n    {body}\n    return 0;\n}}\n"
    )
    program = compile_c(folder / "layout", source, shared=False)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"^(\S+) (\d+)$", printed, re.MULTILINE)}


@pytest.mark.parametrize(
    ("struct", "dtype"),
    [
        ("rows_header", dtypes.HEADER),
        ("operation_row", dtypes.OPERATION),
        ("call_row", dtypes.CALL),
        ("connection_row", dtypes.CONNECTION),
    ],
)
def test_every_field_has_one_place_and_size(in_c: dict[str, int], struct: str, dtype: np.dtype[np.void]) -> None:
    assert in_c[struct] == dtype.itemsize
    assert dtype.names
    assert dtype.fields
    for field in dtype.names:
        kind, offset = dtype.fields[field][:2]
        assert (in_c[f"{struct}.{field}"], in_c[f"{struct}.{field}.bytes"]) == (offset, kind.itemsize), field
    listed = {name.split(".")[1] for name in in_c if name.startswith(f"{struct}.")}
    assert listed == set(dtype.names)


@pytest.mark.parametrize("group", ["KIND", "PHASE", "LAYER", "LOCKING"])
def test_every_value_has_one_number(in_c: dict[str, int], group: str) -> None:
    values = getattr(dtypes, group)
    assert values
    assert {name: in_c[f"{group}_{name}"] for name in values} == values


def test_states_and_sizes_agree(in_c: dict[str, int]) -> None:
    states = (dtypes.EMPTY, dtypes.BEGUN, dtypes.ENDED)
    assert tuple(in_c[name] for name in ("ROW_EMPTY", "ROW_BEGUN", "ROW_ENDED")) == states
    assert in_c["ROWS_HEADER_BYTES"] == dtypes.HEADER_BYTES
    assert in_c["ROW_BYTES"] == dtypes.CALL.itemsize == 64


def test_functions_have_one_numbering(in_c: dict[str, int]) -> None:
    assert in_c["functions"] == len(FUNCTION_NUMBER) == 92
    assert {name: in_c[name] for name in FUNCTION_NUMBER} == FUNCTION_NUMBER
