"""The PIN is in no argument, no file, no text of the lab, and not in the environment of the module's process."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.tokens.model import Secret, TokenAccess
from lab.tokens.module import Module
from lab.tokens.request import Request
from lab.tokens.softhsm import SoftHsm
from tests.tokens.conftest import Settings

TELL_ALL = """
#include <stdlib.h>
#include <fcntl.h>
static void copy(const char *from, const char *name) {
    char to[4096], block[4096];
    snprintf(to, sizeof to, "%s/%s", getenv("TELL"), name);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0600);
    for (ssize_t got; (got = read(in, block, sizeof block)) > 0;)
        if (write(out, block, (size_t)got) != got)
            break;
    close(out);
}
static CK_RV initialize(void *args) {
    copy("/proc/self/cmdline", "cmdline");
    copy("/proc/self/environ", "environ");
    copy("/proc/self/comm", "comm");
    return CKR_DEVICE_ERROR;
}
static CK_FUNCTION_LIST list = { { 2, 40 }, initialize };
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **found) { *found = &list; return CKR_OK; }
"""


def test_a_secret_shows_itself_in_no_text() -> None:
    secret = Secret("1234-open")

    assert secret.reveal() == "1234-open"
    assert "1234" not in f"{secret} {secret!r} {secret:>20} {[secret]} {vars(type(secret))}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_a_request_shows_no_pin_but_carries_it() -> None:
    request = Request("inspect", "/m.so", "label", pin="1234-open", so_pin="5678-open")

    assert "open" not in repr(request)
    assert Request.from_json(request.to_json()) == request


def test_no_file_of_a_token_holds_the_pin_in_clear(golden: SoftHsm, tmp_path: Path) -> None:
    access = golden.restore(tmp_path / "trial", "ec-p256")

    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        assert access.pin.reveal().encode() not in file.read_bytes(), file


def test_arguments_environment_and_title_of_the_module_s_process_hold_no_pin(
    foreign: Settings, access: TokenAccess, tmp_path: Path, compiled: Callable[[str], Path]
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    settings = replace(foreign, path=compiled(TELL_ALL), environment={"TELL": str(told)})

    with pytest.raises(ScenarioError, match="CKR_DEVICE_ERROR"):
        Module(settings).check(frozenset({"ec-p256"}), frozenset())

    assert (told / "cmdline").read_bytes() == f"{sys.executable}\0-m\0lab.tokens.probe\0".encode()
    assert b"TELL=" in (told / "environ").read_bytes()
    for file in told.iterdir():
        assert access.pin.reveal().encode() not in file.read_bytes()


def test_errors_and_their_tracebacks_hold_no_pin(foreign: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREIGN_PIN", "wrong-1234-open")

    with pytest.raises(ScenarioError) as caught:
        Module(foreign).check(frozenset({"ec-p256"}), frozenset())

    assert "1234" not in "".join(traceback.format_exception(caught.value))
