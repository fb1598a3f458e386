from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lab.errors import LabFault, ScenarioError
from lab.tokens.keys import KEYS, key_names
from lab.tokens.model import TokenAccess
from lab.tokens.module import Module
from lab.tokens.softhsm import MODULE, SoftHsm
from tests.tokens.conftest import Settings


def test_all_five_key_kinds_are_made_and_their_public_keys_read(tmp_path: Path) -> None:
    token = SoftHsm(Settings())

    made = token.prepare(frozenset(KEYS), tmp_path / "golden")

    assert set(made.keys) == set(KEYS)
    assert made.info.manufacturer == "SoftHSM"
    for kind, key in made.keys.items():
        public = load_pem_public_key(key.public_pem.encode())
        assert isinstance(public, rsa.RSAPublicKey if KEYS[kind].type == "RSA" else ec.EllipticCurvePublicKey)
        assert public.key_size == KEYS[kind].bits
        assert key.label == kind
    assert made.keys["ec-p384"].mechanisms[0] == "ECDSA"
    assert "SHA256_RSA_PKCS" in made.keys["rsa-4096"].mechanisms


def test_only_the_keys_that_are_asked_for_are_made(tmp_path: Path) -> None:
    assert list(SoftHsm(Settings()).prepare(frozenset({"ec-p384"}), tmp_path / "golden").keys) == ["ec-p384"]


def test_each_virtual_host_has_a_key_of_its_own(tmp_path: Path) -> None:
    names = key_names("ec-p256", 3)

    made = SoftHsm(Settings()).prepare(frozenset(names), tmp_path / "golden").keys

    assert [made[name].label for name in names] == ["ec-p256-0", "ec-p256-1", "ec-p256-2"]
    assert {made[name].kind for name in names} == {"ec-p256"}
    assert len({key.public_pem for key in made.values()}) == 3


def test_an_rsa_key_that_the_lab_makes_signs_and_decrypts(tmp_path: Path) -> None:
    token, keys = SoftHsm(Settings()), frozenset({"rsa-2048"})

    token.check(frozenset(), frozenset(), tmp_path, decrypt=keys)
    made = token.prepare(keys, tmp_path / "golden", decrypt=keys)

    assert set(made.keys) == keys


def test_a_key_that_only_decrypts_is_made_too(tmp_path: Path) -> None:
    made = SoftHsm(Settings()).prepare(frozenset({"ec-p256"}), tmp_path / "golden", frozenset({"rsa-2048"}))

    assert set(made.keys) == {"ec-p256", "rsa-2048"}


def test_a_restored_copy_may_be_broken_and_the_golden_one_stays(golden: SoftHsm, tmp_path: Path) -> None:
    broken = golden.restore(tmp_path / "broken", "ec-p256")
    objects = list((tmp_path / "broken/tokens").rglob("*.object"))
    assert objects
    for file in objects:
        file.unlink()

    with pytest.raises(ScenarioError, match="no token has the label"):
        _look(broken, tmp_path / "seen-broken")
    _look(golden.restore(tmp_path / "whole", "ec-p256"), tmp_path / "seen-whole")


def test_a_damaged_object_of_one_copy_is_whole_in_the_next(golden: SoftHsm, tmp_path: Path) -> None:
    golden.restore(tmp_path / "first")
    for file in (tmp_path / "first/tokens").rglob("*.object"):
        file.write_bytes(b"\xff" * 40)

    golden.restore(tmp_path / "second")

    assert all(file.read_bytes() != b"\xff" * 40 for file in (tmp_path / "second/tokens").rglob("*.object"))


def test_folders_of_tokens_are_private(access: TokenAccess, tmp_path: Path) -> None:
    for folder in (tmp_path / "token", tmp_path / "token/tokens"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("given", "written"), [(True, "true"), (False, "false"), (None, "false")])
def test_reset_on_fork_reaches_the_configuration(given: bool | None, written: str, tmp_path: Path) -> None:
    token = SoftHsm(Settings(reset_on_fork=given))
    token.prepare(frozenset(), tmp_path / "golden")

    access = token.restore(tmp_path / "trial")

    assert f"library.reset_on_fork = {written}\n" in Path(access.environment["SOFTHSM2_CONF"]).read_text()


def test_each_run_has_a_pin_of_its_own(tmp_path: Path) -> None:
    pins = []
    for name in ("first", "second"):
        token = SoftHsm(Settings())
        token.prepare(frozenset(), tmp_path / name)
        pins.append(token.restore(tmp_path / f"{name}-trial").pin.reveal())

    assert pins[0] != pins[1]


def test_retire_leaves_no_golden_copy(tmp_path: Path) -> None:
    token = SoftHsm(Settings())
    token.prepare(frozenset(), tmp_path / "golden")

    token.retire()
    token.retire()

    assert not (tmp_path / "golden").exists()


def test_restore_before_prepare_is_a_fault_of_the_lab(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match="before prepare"):
        SoftHsm(Settings()).restore(tmp_path / "trial")


def test_a_missing_softhsm_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE.override, "/nowhere/libsofthsm2.so")

    with pytest.raises(ScenarioError, match=r"token\.kind: softhsm is not installed.*Debian package softhsm2"):
        SoftHsm(Settings()).check(frozenset(), frozenset())


def test_the_override_is_used_where_it_names_a_module(access: TokenAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path(access.environment["SOFTHSM2_CONF"]).with_name("elsewhere.so")
    os.symlink(access.module, link)
    monkeypatch.setenv(MODULE.override, str(link))

    SoftHsm(Settings()).check(frozenset(), frozenset({("ec-p256", "ECDSA")}))


def test_a_mechanism_that_softhsm_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(ScenarioError, match=r"workload\.mechanism: this token has no ECDSA_SHA1;.*it has: ECDSA"):
        SoftHsm(Settings()).check(frozenset(), frozenset({("ec-p256", "ECDSA_SHA1")}))


def _look(access: TokenAccess, folder: Path) -> None:
    os.environ["LOOK_PIN"] = access.pin.reveal()
    try:
        settings = replace(
            Settings(kind="module", pin_env="LOOK_PIN", token_label=access.token_label, key_label=access.key_label),
            path=access.module,
            environment=access.environment,
        )
        Module(settings).prepare(frozenset({"ec-p256"}), folder)
    finally:
        del os.environ["LOOK_PIN"]
