"""NSS as it is installed: databases made through the module alone, and keys whose signatures OpenSSL verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lab.errors import LabFault, ScenarioError
from lab.tokens.keys import KEYS, mechanisms_for
from lab.tokens.kinds import open_token
from lab.tokens.model import Prepared, Secret, TokenAccess
from lab.tokens.nss import MODULE, Nss, init_string
from lab.tokens.preflight import check
from lab.tokens.request import Request
from lab.tokens.throwaway import ask
from tests.secrecy import holders
from tests.tokens.conftest import Arm, Settings, Workload

EVERYTHING = frozenset((kind, mechanism) for kind in KEYS for mechanism in mechanisms_for(kind))
DIGEST = bytes(range(32))
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # DigestInfo of RFC 8017, before the digest

# A signature per key, in a process of its own: a module is foreign code.
SIGN = """
import json, sys
from pathlib import Path
from lab.native.cryptoki import Cryptoki
asked = json.load(sys.stdin)
module = Cryptoki(Path(asked["module"]))
module.initialize("os", asked["init_string"])
session = module.open_session(module.find_token(asked["label"]))
module.login(session, asked["pin"])
signed = {}
for label, (mechanism, data) in asked["keys"].items():
    (key,) = module.find_objects(session, {0: 3, 3: label})  # CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL
    module.sign_init(session, mechanism, key)
    signed[label] = module.sign(session, bytes.fromhex(data)).hex()
print(json.dumps(signed))
"""
CKM_RSA_PKCS, CKM_ECDSA = 0x1, 0x1041


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nss, Prepared, Path]]:
    """A token with all five kinds of keys, what was seen of it, and where it lies."""
    token, folder = Nss(Settings("nss")), tmp_path_factory.mktemp("nss") / "golden"
    yield token, token.prepare(frozenset(KEYS), folder), folder
    token.retire()


def look(access: TokenAccess, *keys: str) -> dict[str, Any]:
    """A login, and the keys read."""
    request = Request(
        "inspect",
        str(access.module),
        access.token_label,
        pin=access.pin.reveal(),
        init_string=access.init_string,
        keys={key: key for key in keys},
    )
    return ask(request, access.environment)


def test_all_five_kinds_of_keys_sign_and_openssl_verifies_it(made: tuple[Nss, Prepared, Path], tmp_path: Path) -> None:
    token, prepared, _ = made
    access = token.restore(tmp_path / "trial")
    rsa_data, ec_data = (SHA256_INFO + DIGEST).hex(), DIGEST.hex()
    asked = {
        "module": str(access.module),
        "init_string": access.init_string,
        "label": access.token_label,
        "pin": access.pin.reveal(),
        "keys": {k: (CKM_RSA_PKCS, rsa_data) if KEYS[k].type == "RSA" else (CKM_ECDSA, ec_data) for k in KEYS},
    }

    done = subprocess.run([sys.executable, "-c", SIGN], input=json.dumps(asked), capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    for kind, signature in json.loads(done.stdout).items():
        public, raw = load_pem_public_key(prepared.keys[kind].public_pem.encode()), bytes.fromhex(signature)
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(raw, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            assert isinstance(public, ec.EllipticCurvePublicKey)
            r, s = (int.from_bytes(half) for half in (raw[: len(raw) // 2], raw[len(raw) // 2 :]))
            public.verify(encode_dss_signature(r, s), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
        assert public.key_size == KEYS[kind].bits


def test_every_mechanism_of_the_lab_is_offered(made: tuple[Nss, Prepared, Path]) -> None:
    _, prepared, _ = made

    for kind in KEYS:
        assert prepared.keys[kind].mechanisms == mechanisms_for(kind)
    assert prepared.info.manufacturer == "Mozilla Foundation"
    assert prepared.token.label == "lab"


def test_a_check_asks_for_mechanisms_and_decryption_and_leaves_nothing(tmp_path: Path) -> None:
    Nss(Settings("nss")).check(frozenset({"ec-p256"}), EVERYTHING, tmp_path, decrypt=frozenset({"rsa-2048"}))

    assert list(tmp_path.iterdir()) == []


def test_a_preflight_of_arms_with_nss_finds_nothing_wrong(tmp_path: Path) -> None:
    arms = [Arm(Settings("nss")), Arm(Settings("nss"), Workload(key="rsa-2048", mechanism="SHA256_RSA_PKCS_PSS"))]

    check(arms, "s.toml", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_becomes_of_one_copy_does_not_reach_the_next(made: tuple[Nss, Prepared, Path], tmp_path: Path) -> None:
    token, _, _ = made
    damaged, lost = token.restore(tmp_path / "damaged"), token.restore(tmp_path / "lost")
    (tmp_path / "damaged/key4.db").write_bytes(b"\xff" * 4096)
    (tmp_path / "lost/key4.db").unlink()

    for broken in (damaged, lost):
        with pytest.raises(ScenarioError):
            look(broken, "ec-p256")
    assert look(token.restore(tmp_path / "whole"), "ec-p256")["keys"].keys() == {"ec-p256"}


@pytest.mark.parametrize("name", ["a b", "it's", 'a "b"', "back\\slash", "x' configdir='sql:elsewhere", "{ü}"])
def test_any_folder_can_hold_a_token(name: str, tmp_path: Path) -> None:
    token, odd = Nss(Settings("nss")), tmp_path / name
    odd.mkdir()

    token.prepare(frozenset({"ec-p256"}), odd / "golden")
    found = look(token.restore(odd / "trial", "ec-p256"), "ec-p256")

    assert found["keys"].keys() == {"ec-p256"}
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert sorted(path.name for path in (odd / "trial").iterdir()) == ["cert9.db", "key4.db"]


def test_a_folder_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabFault, match=r"\\udcff.*is not UTF-8.*use another TMPDIR"):
        init_string(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")))


def test_no_file_holds_the_pin_and_each_run_has_its_own(made: tuple[Nss, Prepared, Path], tmp_path: Path) -> None:
    token, _, golden = made
    other = Nss(Settings("nss"))
    other.prepare(frozenset(), tmp_path / "other")
    pins = [each.restore(tmp_path / f"trial-{n}").pin.reveal() for n, each in enumerate((token, other))]

    assert pins[0] != pins[1]
    for pin in pins:
        assert holders(golden, pin) == holders(tmp_path, pin) == []
    with pytest.raises(ScenarioError, match=r"the PIN is wrong"):
        look(replace(other.restore(tmp_path / "mixed"), pin=Secret(pins[0])))


def test_the_folders_of_tokens_and_what_is_in_them_are_private(
    made: tuple[Nss, Prepared, Path], tmp_path: Path
) -> None:
    made[0].restore(tmp_path / "trial")

    for folder in (made[2], tmp_path / "trial"):
        assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0, 0]


def test_retire_leaves_no_golden_copy_and_nothing_can_be_restored_before_prepare(tmp_path: Path) -> None:
    token = open_token(Settings("nss"))
    with pytest.raises(LabFault, match="before prepare"):
        token.restore(tmp_path / "trial")
    token.prepare(frozenset(), tmp_path / "golden")

    token.retire()
    token.retire()

    assert not (tmp_path / "golden").exists()


def test_a_missing_nss_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE.override, "/nowhere/libsoftokn3.so")

    with pytest.raises(ScenarioError, match=r'arm "only": token\.kind: nss is not installed.*Debian package libnss3'):
        check([Arm(Settings("nss"))], "s.toml")


def test_the_override_is_used_and_what_is_no_module_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = MODULE.find()
    assert installed is not None
    link = tmp_path / "elsewhere.so"
    link.symlink_to(installed)
    monkeypatch.setenv(MODULE.override, str(link))
    assert Nss(Settings("nss")).path == link
    Nss(Settings("nss")).check(frozenset(), EVERYTHING, tmp_path)

    monkeypatch.setenv(MODULE.override, __file__)
    with pytest.raises(ScenarioError, match=r"token\.path: not a PKCS#11 module"):
        Nss(Settings("nss")).check(frozenset(), EVERYTHING, tmp_path)
