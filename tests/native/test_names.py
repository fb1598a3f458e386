"""The names that the lab shows are those of the installed PKCS#11 header."""

from __future__ import annotations

import re
import subprocess

import pytest

from lab.record.names import FUNCTIONS, MECHANISM, ckr_name
from tests.native.build import cryptoki_flags


@pytest.fixture(scope="module")
def header() -> str:
    """Text of the header, with its macros: `gcc -dD -E`."""
    command = ["gcc", "-E", "-dD", "-x", "c", *cryptoki_flags(), "-include", "p11-kit/pkcs11.h", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def numbers(header: str, prefix: str) -> dict[str, int]:
    found = re.findall(rf"^#define ({prefix}_\w+)\s+\(?(0x[0-9a-fA-F]+|\d+)U?L?\)?\s*$", header, re.MULTILINE)
    return {name: int(text, 0) for name, text in found}


def test_every_code_of_the_header_has_its_name(header: str) -> None:
    codes = numbers(header, "CKR")
    assert len(codes) > 80
    wrong = {name: (hex(code), ckr_name(code)) for name, code in codes.items() if ckr_name(code) != name}
    wrong.pop("CKR_VENDOR_DEFINED", None)
    assert wrong == {}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x1B5, "CKR_EXCEEDED_MAX_ITERATIONS"),
        (0x1B6, "CKR_FIPS_SELF_TEST_FAILED"),
        (0x1B7, "CKR_LIBRARY_LOAD_FAILED"),
        (0x1B8, "CKR_PIN_TOO_WEAK"),
        (0x1B9, "CKR_PUBLIC_KEY_INVALID"),
    ],
)
def test_codes_that_p11_kit_numbers_in_its_own_way_have_the_standards_names_too(code: int, name: str) -> None:
    assert ckr_name(code) == name


def test_mechanisms_have_the_numbers_of_the_header(header: str) -> None:
    in_header = numbers(header, "CKM")
    assert {name: in_header[f"CKM_{name}"] for name in MECHANISM} == MECHANISM


def test_functions_are_in_the_order_of_the_headers_list(header: str) -> None:
    body = re.search(r"struct (?:ck_function_list|_?CK_FUNCTION_LIST)\s*\{(.*?)\n\}", header, re.DOTALL)
    assert body
    assert tuple(re.findall(r"CK_C_\w+\s+(C_\w+);", body[1])) == FUNCTIONS[:68]


def test_unknown_and_vendor_codes_are_shown_as_numbers() -> None:
    assert ckr_name(0x80000011) == "CKR_VENDOR_DEFINED+0x11"
    assert ckr_name(0xFFFF) == "CKR_0xffff"
