from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.tokens import throwaway
from lab.tokens.preflight import check
from lab.tokens.softhsm import MODULE as SOFTHSM
from tests.tokens.conftest import Arm, Settings, Tls, Workload


def test_a_scenario_that_can_run_passes(foreign: Settings) -> None:
    check([Arm(Settings()), Arm(foreign), Arm(None, Workload("null", None, None))], "x.toml")


def test_the_null_workload_needs_no_token_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOFTHSM.override, "/nowhere/libsofthsm2.so")

    check([Arm(None, Workload("null", None, None)), Arm(Settings(), Workload("null", None, None))], "x.toml")
    with pytest.raises(ScenarioError, match="not installed"):
        check([Arm(Settings())], "x.toml")


def test_the_message_names_file_arm_and_key() -> None:
    arms = [Arm(Settings(), name="good"), Arm(Settings(kind="module"), name="bad")]

    with pytest.raises(ScenarioError, match=r'^x\.toml: arm "bad": token\.path: needed'):
        check(arms, "x.toml")


def test_a_mechanism_of_the_other_key_type_is_refused_without_asking_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOFTHSM.override, "/nowhere/libsofthsm2.so")

    with pytest.raises(ScenarioError, match=r"workload\.mechanism: RSA_PKCS does not sign with a key of kind ec-p256"):
        check([Arm(Settings(), Workload(mechanism="RSA_PKCS"))], "x.toml")


HANDSHAKE = Workload("handshake", "rsa-2048", None)


def test_handshakes_that_softhsm_can_sign_or_decrypt_pass() -> None:
    static = Tls("1.2", "direct", "rsa")
    arms = [Arm(Settings(), HANDSHAKE, tls=tls) for tls in (Tls(), Tls("1.2"), static, Tls(bridge="engine", vhosts=4))]

    check([*arms, Arm(None, HANDSHAKE, tls=Tls(bridge="software"))], "x.toml")


NO_MECHANISM = """
static CK_RV initialize(void *args) { return CKR_OK; }
static CK_RV slots(CK_BBOOL present, CK_SLOT_ID *ids, CK_ULONG *count) { if (ids) *ids = 7; *count = 1; return CKR_OK; }
static CK_RV mechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    CK_MECHANISM_INFO its = { 512, 4096, %s };
    *info = its;
    return type == %s ? CKR_OK : CKR_MECHANISM_INVALID;
}
static CK_FUNCTION_LIST list = { .version = { 2, 40 }, .C_Initialize = initialize, .C_Finalize = initialize,
                                 .C_GetSlotList = slots, .C_GetMechanismInfo = mechanism };
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **found) { *found = &list; return CKR_OK; }
"""


@pytest.mark.parametrize(
    ("tls", "flags", "type_", "message"),
    [
        (
            Tls(),
            "CKF_SIGN",
            "CKM_RSA_PKCS",
            "workload.key: handshakes with it cannot be signed: .* no RSA_PKCS_PSS; .* RSA_PKCS",
        ),
        (Tls("1.2", "direct", "rsa"), "CKF_SIGN", "CKM_RSA_PKCS", "tls.key_exchange: .* RSA_PKCS for decryption"),
        (Tls("1.2", "direct", "rsa"), "CKF_DECRYPT", "CKM_ECDSA", "tls.key_exchange: .* RSA_PKCS for decryption"),
    ],
)
def test_a_token_without_what_handshakes_need_is_said_with_a_key_that_the_scenario_has(
    tls: Tls, flags: str, type_: str, message: str, compiled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SOFTHSM.override, str(compiled(NO_MECHANISM % (flags, type_))))

    with pytest.raises(ScenarioError, match=rf'^x\.toml: arm "only": {message}'):
        check([Arm(Settings(), HANDSHAKE, tls=tls)], "x.toml")


def test_arms_on_one_token_cost_it_one_login(foreign: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = throwaway.ask
    monkeypatch.setattr(
        "lab.tokens.module.ask", lambda request, *a, **k: (asked.append(request.task), original(request, *a, **k))[1]
    )

    check([Arm(foreign), Arm(replace(foreign), Workload("random", None, None)), Arm(foreign)], "x.toml")

    assert asked == ["inspect"]


def test_a_check_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    check([Arm(Settings())], "x.toml")
    with pytest.raises(ScenarioError):
        check([Arm(Settings(), Workload(mechanism="ECDSA_SHA1"))], "x.toml")

    assert list(tmp_path.iterdir()) == []
