"""How a program gets the tap: arguments, variables, openssl.cnf, p11-kit. Only p11-kit's own program is run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.native import library
from lab.tokens.softhsm import MODULE as SOFTHSM
from lab.trace import p11_kit
from lab.trace.openssl_cnf import sections, written
from lab.trace.spelling import Swap
from lab.trace.wiring import module_of, suggested, wire

NOBODY = 65534


@pytest.fixture
def swap(tmp_path: Path) -> Swap:
    module = tmp_path / "some folder" / "module.so"
    module.parent.mkdir()
    module.touch()
    (tmp_path / "link.so").symlink_to(module)
    (tmp_path / "tap.so").touch()
    return Swap(module, tmp_path / "tap.so")


@pytest.mark.parametrize(
    "text",
    [
        "{link}", "--module={link}", "-D{link}", "pkcs11:object=a?module-path={link}&pin-value=1", "MODULE_PATH:{link}",
        "cd /; tool --module {link} -L", "module = {link}\n# {link}", "PKCS11Provider={link}", "'{link}'",
    ],
)  # fmt: skip
def test_the_tap_takes_the_place_of_the_module_wherever_it_is_named(text: str, swap: Swap, tmp_path: Path) -> None:
    link = str(tmp_path / "link.so")
    assert swap(text.format(link=link)) == text.format(link=swap.tap)


def test_a_path_may_be_escaped_or_have_spaces_or_be_relative(
    swap: Swap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    escaped = str(swap.module).replace("/", "%2F").replace(" ", "%20")
    assert swap(f"pkcs11:?module-path={escaped}") == f"pkcs11:?module-path={swap.tap}"
    assert swap(str(swap.module)) == str(swap.tap)
    assert swap(f"--module={swap.module}") == f"--module={swap.tap}"
    assert swap("./link.so") == str(swap.tap)


@pytest.mark.parametrize(
    "text", ["", "--login", "/nowhere/module.so", "/etc/passwd", "a\0b/c", "https://host/module.so"]
)
def test_what_is_not_the_module_is_left_alone(text: str, swap: Swap) -> None:
    assert swap(text) == text


def test_the_module_is_the_given_one_or_a_variables_or_softhsm(swap: Swap) -> None:
    other = swap.tap
    assert module_of(other, {"PKCS11_MODULE_PATH": str(swap.module)}) == other
    assert module_of(None, {"PKCS11_MODULE_PATH": str(swap.module)}) == swap.module
    assert module_of(None, {"PKCS11_PROVIDER_MODULE": str(swap.module)}) == swap.module
    assert module_of(None, {}) == SOFTHSM.find()
    with pytest.raises(ScenarioError, match="--module: /nowhere is no file"):
        module_of(Path("/nowhere"), {})


@pytest.mark.parametrize(
    ("words", "bridge"),
    [
        (("openssl", "dgst", "-engine", "pkcs11"), "engine"),
        (("openssl", "dgst", "-keyform", "engine"), "engine"),
        (("apache2", "-f", "{httpd}"), "engine"),
        (("stunnel", "{stunnel}"), "engine"),
        (("apache2", "-f", "{plain}"), "provider"),
        (("openssl", "dgst", "{prose}"), "provider"),
        (("openssl", "dgst", "-sign", "pkcs11:object=engineer"), "provider"),
    ],
)
def test_the_engine_is_for_who_asks_for_it(words: tuple[str, ...], bridge: str, tmp_path: Path) -> None:
    (tmp_path / "httpd").write_text("Listen 1\n  SSLCryptoDevice pkcs11\n")
    (tmp_path / "plain").write_text("Listen 1\n")
    (tmp_path / "stunnel").write_text("pid =\nengine = pkcs11\n")
    (tmp_path / "prose").write_text("The engine of the train\n")
    names = {name: str(tmp_path / name) for name in ("httpd", "plain", "stunnel", "prose")}
    assert suggested([word.format(**names) for word in words]) == bridge


def test_variables_that_name_the_module_name_the_tap_and_no_value_is_told(swap: Swap, tmp_path: Path) -> None:
    given = {"MY_MODULE": str(swap.module), "OTHER": "secret", "LAB_SOFTHSM": str(swap.module)}
    wiring = wire(["true"], given, swap, tmp_path, None)
    assert wiring.environment["MY_MODULE"] == str(swap.tap)
    assert wiring.environment["PKCS11_MODULE_PATH"] == wiring.environment["PKCS11_PROVIDER_MODULE"] == str(swap.tap)
    assert (wiring.environment["OTHER"], wiring.environment["LAB_SOFTHSM"]) == ("secret", str(swap.module))
    assert not any("secret" in line for line in wiring.told)


def test_an_openssl_cnf_that_does_not_name_the_module_stays_the_users(swap: Swap, tmp_path: Path) -> None:
    own = tmp_path / "own.cnf"
    own.write_text("[a]\nb = c\n")
    wiring = wire(["true"], {"OPENSSL_CONF": str(own)}, swap, tmp_path, None)
    assert wiring.environment["OPENSSL_CONF"] == str(own)
    assert f"{own} does not name the module, and is left as it is" in wiring.told


def test_a_bridge_that_is_missing_is_named(swap: Swap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PROVIDER", "/nowhere.so")
    wiring = wire(["true"], {}, swap, tmp_path, None)
    assert "OPENSSL_CONF" not in wiring.environment
    assert "no openssl.cnf: pkcs11-provider is not installed" in wiring.told


def test_the_systems_openssl_cnf_is_kept_and_the_default_provider_comes_first(tmp_path: Path) -> None:
    system = tmp_path / "openssl.cnf"
    system.write_text(
        "openssl_conf = init\n[init]\nproviders = listed\n[listed]\ndefault = plain\n[plain]\n# activate = 1\n"
    )
    text = written("provider", Path("/p.so"), Path("/tap.so"), system, softhsm=False)
    assert text.startswith(f".include {system}\n")
    found = sections(text)
    assert list(found["listed"]) == ["default", "pkcs11"]
    assert found["plain"] == {"activate": "1"}
    assert found["init"] == {"providers": "listed"}
    assert found["lab_trace_provider"] == {"module": "/p.so", "pkcs11-module-path": "/tap.so", "activate": "1"}


def test_a_system_that_has_chosen_its_providers_gets_no_other_but_the_tokens(tmp_path: Path) -> None:
    system = tmp_path / "openssl.cnf"
    system.write_text("openssl_conf=init\n[init]\nproviders = listed\n[listed]\nfips = f\n[f]\nactivate = 1\n")
    assert sections(written("provider", Path("/p.so"), Path("/t.so"), system, False))["listed"] == {
        "pkcs11": "lab_trace_provider"
    }


def test_a_system_without_an_openssl_cnf_gets_a_whole_one() -> None:
    found = sections(written("engine", Path("/e.so"), Path("/tap.so"), None, softhsm=True))
    assert found["default"] == {"openssl_conf": "lab_trace"}
    assert found["lab_trace_engine"]["MODULE_PATH"] == "/tap.so"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lab-test-p11-kit-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_p11_kit_takes_the_tap_for_a_user(open_folder: Path) -> None:
    """p11-kit reads a user's configuration only where the user is not root."""
    softhsm = SOFTHSM.find()
    assert softhsm is not None
    own = open_folder / "own"
    (own / "other").mkdir(parents=True)
    swap = Swap(softhsm, library("tap"))
    name = p11_kit.write(open_folder / "config", own, swap)
    assert (open_folder / "config" / "other").is_symlink()
    assert (open_folder / "config" / "pkcs11" / "modules" / name).read_text() == f"module: {swap.tap}\n"
    rows = open_folder / "rows"
    rows.mkdir()
    rows.chmod(0o1777)
    environment = {
        "XDG_CONFIG_HOME": str(open_folder / "config"),
        "LAB_TAP_MODULE": str(softhsm),
        "PATH": os.environ["PATH"],
    }
    user = NOBODY if os.geteuid() == 0 else None
    subprocess.run(
        ["p11tool", "--list-tokens"],
        env={**environment, "LAB_TAP_DIR": str(rows)},
        user=user,
        capture_output=True,
        check=False,
    )
    assert list(rows.glob("calls-*.rows"))


def test_a_users_own_p11_kit_module_is_rewritten_and_p11_kit_itself_gets_no_tap(swap: Swap, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "pkcs11" / "modules").mkdir(parents=True)
    (own / "pkcs11" / "modules" / "mine.module").write_text(f"module: {tmp_path / 'link.so'}\npriority: 3\n")
    assert p11_kit.write(tmp_path / "config", own, swap) == "mine.module"
    written_ = (tmp_path / "config" / "pkcs11" / "modules" / "mine.module").read_text()
    assert written_ == f"module: {swap.tap}\npriority: 3\n"
    assert p11_kit.is_p11_kit(Path("/usr/lib/p11-kit-proxy.so"))
    assert not p11_kit.is_p11_kit(swap.module)


def test_a_copied_configuration_keeps_its_mode(swap: Swap, tmp_path: Path) -> None:
    own = tmp_path / "own.cnf"
    own.write_text(f"MODULE_PATH = {tmp_path / 'link.so'}\n")
    own.chmod(0o600)
    wiring = wire(["true"], {"OPENSSL_CONF": str(own)}, swap, tmp_path, None)
    copy = Path(wiring.environment["OPENSSL_CONF"])
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copy.read_text() == f"MODULE_PATH = {swap.tap}\n"
