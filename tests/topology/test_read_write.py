"""A module that has read/write sessions only, as that of AWS CloudHSM, and what token.read_write makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.tokens.model import TokenAccess
from tests.combined import Tables, inline, run
from tests.runs import Place
from tests.tokens.conftest import compiled
from tests.topology.conftest import PIN_VARIABLE

__all__ = ["compiled"]

NO_READ_ONLY = """
#include <dlfcn.h>
#include <stdlib.h>
static CK_FUNCTION_LIST list, *real;
static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE_PTR session)
{
    if (!(flags & CKF_RW_SESSION)) return CKR_FUNCTION_FAILED;
    return real->C_OpenSession(slot, flags, application, notify, session);
}
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **found)
{
    void *library = dlopen(getenv("REAL_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
    if (get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    list = *real;
    list.C_OpenSession = open_session;
    *found = &list;
    return CKR_OK;
}
"""
LOAD = '[load]\nmode = "open"\narrivals = "paced"\nrate_hz = 60\nwarmup_s = 0.1\nduration_s = 0.2\n'
ARMS: dict[str, Tables] = {
    "native": {"context": {"policy": "reinit", "session": "per-operation"}},
    "threads": {"topology": {"kind": "threads", "processes": 1, "threads": 2}},
    "python": {"context": {"locking": "none"}, "workload": {"driver": "python-pkcs11"}},
    "engine": {"workload": {"kind": "handshake"}, "tls": {"bridge": "engine"}},
}


@pytest.fixture
def token(compiled: Callable[[str], Path], access: TokenAccess) -> Tables:
    return {
        "token": {
            "kind": "module",
            "path": str(compiled(NO_READ_ONLY)),
            "token_label": access.token_label,
            "pin_env": PIN_VARIABLE,
            "key_label": "ec-p256",
            "environment": {**access.environment, "REAL_MODULE": str(access.module)},
        }
    }


def test_with_read_write_every_way_to_open_a_session_works(token: Tables, access: TokenAccess, tmp_path: Path) -> None:
    base = f"token = {inline({**token['token'], 'read_write': True})}\n[topology]\nprocesses = 2\n{LOAD}"
    arms = run(tmp_path / "run", base, ARMS, environment={PIN_VARIABLE: access.pin.reveal()})
    for name, one in arms.items():
        assert one.arm["ok"] == one.arm["planned"] > 0, name
        assert set(one.calls[one.calls.function == "C_OpenSession"].ckr) == {"CKR_OK"}, name


def test_without_it_the_first_look_is_refused_by_name(token: Tables, access: TokenAccess, place: Place) -> None:
    path = place.folder / "scenario.toml"
    path.write_text(f"blocks = 1\ntoken = {inline(token['token'])}\n{LOAD}")
    done = place.run(path, environment={PIN_VARIABLE: access.pin.reveal()})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "C_OpenSession" in line
    assert "CKR_FUNCTION_FAILED" in line
