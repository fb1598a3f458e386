"""`tokens`: what works on this machine, tried and not guessed."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from lab.commands.tokens import parts, tokens
from lab.tokens.softhsm import MODULE as SOFTHSM

VARIABLES = (
    "LAB_NSS",
    "LAB_OPENCRYPTOKI",
    "LAB_TPM2_PKCS11",
    "LAB_ENGINE",
    "LAB_PROVIDER",
    "LAB_P11_KIT_PROXY",
    "LAB_P11_KIT_CLIENT",
    "LAB_HTTPD",
    "LAB_NGINX",
    "LAB_STUNNEL",
)
BRIDGES = ("direct", "engine", "provider", "software")


def test_every_token_kind_and_bridge_has_its_line_and_the_exit_status_is_0() -> None:
    done = subprocess.run([sys.executable, "-m", "lab", "tokens"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    names = ("softhsm", "nss", "opencryptoki", "tpm2", "p11kit-proxy", "p11kit-remote", "module")
    kinds = (f"token.kind = {kind}" for kind in names)
    servers = (f"tls.server = {server}" for server in ("httpd", "nginx", "stunnel"))
    for name in (*kinds, *(f"tls.bridge = {bridge}" for bridge in BRIDGES), *servers):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("softhsm", "libsofthsm2.so, SoftHSM"),
        ("nss", "libsoftokn3.so, Mozilla Foundation"),
        ("opencryptoki", "libopencryptoki.so.0, IBM"),
    ],
)
def test_a_kind_works_where_a_token_can_be_made_and_leaves_nothing(
    kind: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    part = next(part for part in parts() if part.what == f"token.kind = {kind}")

    assert part.works
    assert detail in part.detail
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_no_softhsm_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOFTHSM.override, __file__)

    softhsm = next(parts())

    assert not softhsm.works
    assert "not a PKCS#11 module" in softhsm.detail


def test_what_is_missing_is_shown_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SOFTHSM.override, *VARIABLES):
        monkeypatch.setenv(name, "/nowhere/x.so")
    output = io.StringIO()

    assert tokens(Console(file=output, width=250)) == 0

    lines = {" ".join(line.split()[:4]): line for line in output.getvalue().splitlines()}
    assert "install the Debian package softhsm2" in lines["token.kind = softhsm no"]
    assert "install the Debian package libnss3" in lines["token.kind = nss no"]
    assert "install the Debian package opencryptoki" in lines["token.kind = opencryptoki no"]
    assert "install the Debian package libtpm2-pkcs11-1" in lines["token.kind = tpm2 no"]
    assert "LAB_ENGINE names /nowhere/x.so" in lines["tls.bridge = engine no"]
    assert "LAB_PROVIDER names /nowhere/x.so" in lines["tls.bridge = provider no"]
    assert "tls.bridge = software yes" in lines
    assert "install the Debian package p11-kit-modules" in lines["token.kind = p11kit-proxy no"]
    assert "install the Debian package p11-kit-modules" in lines["token.kind = p11kit-remote no"]
    assert "LAB_NGINX names /nowhere/x.so, which is no program" in lines["tls.server = nginx no"]


def test_p11_kit_is_really_tried_over_a_token_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = {part.what: part for part in parts()}

    assert found["token.kind = p11kit-remote"].works, found["token.kind = p11kit-remote"].detail
    assert found["token.kind = p11kit-proxy"].works, found["token.kind = p11kit-proxy"].detail
    assert list(tmp_path.iterdir()) == []


def test_p11_kit_whose_module_is_another_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_P11_KIT_CLIENT", __file__)

    remote = next(part for part in parts() if part.what == "token.kind = p11kit-remote")

    assert not remote.works
    assert "not a PKCS#11 module" in remote.detail
