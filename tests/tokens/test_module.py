"""SoftHSM used as a module that somebody else set up."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabFault, ScenarioError
from lab.tokens import throwaway
from lab.tokens.model import TokenAccess
from lab.tokens.module import Module
from lab.tokens.request import Request
from tests.tokens.conftest import Settings

EC = frozenset({"ec-p256"})
NO_MECHANISMS: frozenset[tuple[str, str]] = frozenset()

LIST_OF_ONE = """
static CK_RV initialize(void *args) { %s }
static CK_RV finalize(void *args) { return CKR_OK; }
static CK_FUNCTION_LIST list = { { 2, 40 }, initialize, finalize };
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **found) { *found = &list; return CKR_OK; }
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_an_existing_key_is_found_by_its_label_with_the_pin_from_the_environment(
    foreign: Settings, tmp_path: Path
) -> None:
    made = Module(foreign).prepare(EC, tmp_path / "run")

    assert made.keys["ec-p256"].label == "ec-p256"
    assert "BEGIN PUBLIC KEY" in made.keys["ec-p256"].public_pem
    assert made.token.label == "lab"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_pin_may_come_from_a_file(ending: str, foreign: Settings, access: TokenAccess, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_bytes((access.pin.reveal() + ending).encode())
    file.chmod(0o600)

    Module(replace(foreign, pin_env=None, pin_file=file)).check(EC, NO_MECHANISMS)


def test_a_pin_file_that_others_may_read_is_warned_of(
    foreign: Settings, access: TokenAccess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pin"
    file.write_text(access.pin.reveal())
    file.chmod(0o644)

    Module(replace(foreign, pin_env=None, pin_file=file)).check(EC, NO_MECHANISMS)

    said = capsys.readouterr().err
    assert "other users may read" in said
    assert access.pin.reveal() not in said


def test_every_trial_gets_the_same_token_and_the_scenario_s_environment(foreign: Settings, tmp_path: Path) -> None:
    module = Module(foreign)
    module.prepare(EC, tmp_path / "run")

    first, second = module.restore(tmp_path / "1", "ec-p256"), module.restore(tmp_path / "2", "ec-p256")

    assert first == second
    assert first.environment == foreign.environment
    assert "SOFTHSM2_CONF" not in os.environ


def test_nothing_on_the_token_changes_unless_provision_is_true(foreign: Settings, tmp_path: Path) -> None:
    module = Module(foreign)
    before = {name for name in tree(tmp_path / "token") if name.endswith(".object")}

    module.check(EC, NO_MECHANISMS)
    module.prepare(EC, tmp_path / "run")
    module.retire()

    assert {name for name in tree(tmp_path / "token") if name.endswith(".object")} == before


def test_provision_makes_only_missing_keys_and_retire_deletes_only_those(foreign: Settings, tmp_path: Path) -> None:
    settings = replace(foreign, provision=True, key_label=None)
    module = Module(settings)
    before = {name for name in tree(tmp_path / "token") if name.endswith(".object")}

    module.check(frozenset({"ec-p256", "ec-p384"}), NO_MECHANISMS)
    assert {name for name in tree(tmp_path / "token") if name.endswith(".object")} == before
    made = module.prepare(frozenset({"ec-p256", "ec-p384"}), tmp_path / "run")
    assert set(made.keys) == {"ec-p256", "ec-p384"}
    assert len({name for name in tree(tmp_path / "token") if name.endswith(".object")} - before) == 2
    module.retire()
    module.retire()

    assert {name for name in tree(tmp_path / "token") if name.endswith(".object")} == before


def test_keys_that_cannot_be_deleted_are_named_by_their_id(
    foreign: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Module(replace(foreign, provision=True, key_label="made-by-the-lab"))
    module.prepare(EC, tmp_path / "run")
    monkeypatch.setenv("FOREIGN_PIN", "no longer it")

    with pytest.raises(LabFault, match=r"still on the token, with CKA_ID [0-9a-f]{16}"):
        module.retire()


def test_labels_of_virtual_hosts_are_the_given_one_with_a_number(foreign: Settings, tmp_path: Path) -> None:
    module = Module(replace(foreign, provision=True, key_label="www"))

    made = module.prepare(frozenset({"ec-p256-0", "ec-p256-1"}), tmp_path / "run")

    assert {name: key.label for name, key in made.keys.items()} == {"ec-p256-0": "www-0", "ec-p256-1": "www-1"}
    assert module.restore(tmp_path / "trial", "ec-p256-1").key_label == "www-1"
    assert module.restore(tmp_path / "other", "ec-p256").key_label == "www"
    module.retire()


def test_a_missing_key_of_a_virtual_host_is_named_by_its_label(foreign: Settings) -> None:
    with pytest.raises(ScenarioError, match=r'^token\.key_label: no private key has the label "ec-p256-1"'):
        Module(foreign).check(frozenset({"ec-p256-1"}), NO_MECHANISMS)


def test_the_keys_that_were_looked_at_are_given(foreign: Settings) -> None:
    assert list(Module(foreign).check(EC, NO_MECHANISMS)) == ["ec-p256"]
    assert Module(replace(foreign, provision=True)).check(EC, NO_MECHANISMS) == {}


# (what is wrong, settings, environment of the lab, key asked for, mechanism, what the message says)
WRONG = {
    "no path": ({"path": None}, {}, "ec-p256", "ECDSA", r"^token\.path: needed"),
    "no such file": ({"path": "/nowhere/hsm.so"}, {}, "ec-p256", "ECDSA", r"^token\.path: /nowhere/hsm\.so is no file"),
    "a folder": ({"path": "/usr"}, {}, "ec-p256", "ECDSA", r"^token\.path: /usr is a folder"),
    "a text file": ({"path": __file__}, {}, "ec-p256", "ECDSA", r"^token\.path: not a PKCS#11 module: .*ELF"),
    "no label": ({"token_label": None}, {}, "ec-p256", "ECDSA", r"^token\.token_label: needed"),
    "no such token": (
        {"token_label": "elsewhere"},
        {},
        "ec-p256",
        "ECDSA",
        r'^token\.token_label: no token has the label "elsewhere"; this module has: "lab"$',
    ),
    "no pin named": ({"pin_env": None}, {}, "ec-p256", "ECDSA", r"^token\.pin_env: needed, or token\.pin_file"),
    "pin variable empty": ({}, {"FOREIGN_PIN": ""}, "ec-p256", "ECDSA", r"^token\.pin_env: .* FOREIGN_PIN is not set"),
    "wrong pin": (
        {},
        {"FOREIGN_PIN": "not-the-pin"},
        "ec-p256",
        "ECDSA",
        r"^token\.pin_env: the PIN is wrong; it was tried once \(C_Login answered CKR_PIN_INCORRECT\)$",
    ),
    "pin file missing": (
        {"pin_env": None, "pin_file": "/nowhere/pin"},
        {},
        "ec-p256",
        "ECDSA",
        r"^token\.pin_file: cannot read /nowhere/pin: No such file",
    ),
    "pin file a folder": (
        {"pin_env": None, "pin_file": "/usr"},
        {},
        "ec-p256",
        "ECDSA",
        r"^token\.pin_file: cannot read /usr: Is a directory",
    ),
    "pin file empty": (
        {"pin_env": None, "pin_file": os.devnull},
        {},
        "ec-p256",
        "ECDSA",
        r"^token\.pin_file: /dev/null is empty",
    ),
    "pin file long": (
        {"pin_env": None, "pin_file": __file__},
        {},
        "ec-p256",
        "ECDSA",
        r"^token\.pin_file: .* has more than one line",
    ),
    "no such key": (
        {"key_label": "other"},
        {},
        "ec-p256",
        "ECDSA",
        r'^token\.key_label: no private key has the label "other"; this token has: "ec-p256", "rsa-2048"$',
    ),
    "key of another type": (
        {"key_label": "rsa-2048"},
        {},
        "ec-p256",
        "ECDSA",
        r'^token\.key_label: key "rsa-2048" is RSA, but workload\.key is ec-p256$',
    ),
    "key of another curve": (
        {"key_label": "ec-p256"},
        {},
        "ec-p384",
        "ECDSA",
        r'^token\.key_label: key "ec-p256" is ec-p256, but workload\.key is ec-p384$',
    ),
    "key of another size": (
        {"key_label": "rsa-2048"},
        {},
        "rsa-4096",
        "RSA_PKCS",
        r'^token\.key_label: key "rsa-2048" is RSA of 2048 bits, but workload\.key is rsa-4096$',
    ),
    "mechanism not offered": (
        {},
        {},
        "ec-p256",
        "ECDSA_SHA384",
        r"^workload\.mechanism: this token has no ECDSA_SHA384; of those for ec-p256 it has: ECDSA$",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_with_the_scenario_s_key(
    what: str, foreign: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, environment, key, mechanism, message = WRONG[what]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ScenarioError, match=message):
        Module(replace(foreign, **changes)).check(frozenset({key}), frozenset({(key, mechanism)}))


def test_a_wrong_pin_is_tried_once_and_named_by_the_file_it_came_from(foreign: Settings, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("not-the-pin\n")
    file.chmod(0o600)

    with pytest.raises(ScenarioError, match=r"^token\.pin_file: the PIN is wrong; it was tried once"):
        Module(replace(foreign, pin_env=None, pin_file=file)).check(EC, NO_MECHANISMS)


def test_two_keys_with_one_label_are_refused(access: TokenAccess, tmp_path: Path) -> None:
    (tmp_path / "twins").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'twins'}\n")
    keys = {"ec-p256": "twin", "ec-p384": "twin"}

    with pytest.raises(ScenarioError, match=r'^token\.key_label: 2 private keys are labelled "twin"'):
        throwaway.ask(
            Request("provision", str(access.module), "twins", pin="1234", so_pin="1234", keys=keys),
            {"SOFTHSM2_CONF": str(configuration)},
        )


def test_a_library_without_c_get_function_list_is_no_module(foreign: Settings) -> None:
    libc = next(path for path in _mapped_files() if "libc.so" in path or "libc-" in path)

    with pytest.raises(
        ScenarioError, match=r"^token\.path: not a PKCS#11 module: .* has no function C_GetFunctionList"
    ):
        Module(replace(foreign, path=libc)).check(EC, NO_MECHANISMS)


def test_a_module_that_crashes_does_not_end_the_lab(foreign: Settings, compiled: Callable[[str], Path]) -> None:
    module = compiled(LIST_OF_ONE % "*(volatile int *)8 = 1; return CKR_OK;")

    with pytest.raises(ScenarioError, match=r"^token\.path: .*module\.so crashed with SIGSEGV in C_Initialize$"):
        Module(replace(foreign, path=module)).check(EC, NO_MECHANISMS)


def test_a_module_that_hangs_is_given_up(foreign: Settings, compiled: Callable[[str], Path]) -> None:
    module = compiled(LIST_OF_ONE % "for (;;) pause();")

    with pytest.raises(ScenarioError, match=r"^token\.path: .* did not answer within 1 s, in C_Initialize$"):
        throwaway.ask(Request("inspect", str(module)), {}, timeout_s=1)


def test_a_module_that_answers_an_error_is_quoted_by_name(foreign: Settings, compiled: Callable[[str], Path]) -> None:
    module = compiled(LIST_OF_ONE % "return CKR_DEVICE_ERROR;")

    with pytest.raises(ScenarioError, match=r"^token\.path: .*: C_Initialize answered CKR_DEVICE_ERROR$"):
        Module(replace(foreign, path=module)).check(EC, NO_MECHANISMS)


def test_a_module_that_prints_does_not_spoil_the_answer(foreign: Settings, compiled: Callable[[str], Path]) -> None:
    module = compiled(LIST_OF_ONE % 'puts("{}"); fflush(stdout); write(1, "noise", 5); return CKR_DEVICE_ERROR;')

    with pytest.raises(ScenarioError, match="CKR_DEVICE_ERROR"):
        Module(replace(foreign, path=module)).check(EC, NO_MECHANISMS)


def test_a_module_that_exits_is_a_fault_with_its_place(foreign: Settings, compiled: Callable[[str], Path]) -> None:
    module = compiled(LIST_OF_ONE % "_exit(3);")

    with pytest.raises(LabFault, match="ended with status 3 and no answer, in C_Initialize"):
        Module(replace(foreign, path=module)).check(EC, NO_MECHANISMS)


def _mapped_files() -> list[str]:
    return [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line]
