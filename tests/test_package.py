"""The installed package, as pip recorded it."""

from __future__ import annotations

from importlib import metadata

import pytest

from lab.native import DISTRIBUTION


@pytest.fixture
def files() -> list[metadata.PackagePath]:
    return metadata.files(DISTRIBUTION) or []


@pytest.mark.parametrize(
    "file",
    [
        *("native/libtap.so", "native/libdrive.so", "native/libstub.so", "native/rows.def", "native/functions.def"),
        *("py.typed", "notebooks/report.ipynb", "report/page.html"),
    ],
)
def test_what_is_no_python_is_installed_too(file: str, files: list[metadata.PackagePath]) -> None:
    assert f"lab/{file}" in map(str, files)


def test_the_wheel_brought_no_caches_of_the_checkout(files: list[metadata.PackagePath]) -> None:
    caches = [file for file in files if "__pycache__" in file.parts]

    assert [str(file) for file in caches if file.hash] == []  # those that pip made itself have no hash


def test_the_command_line_has_its_entry_point() -> None:
    assert [e.value for e in metadata.entry_points(group="console_scripts", name="lab")] == ["lab.__main__:main"]
