"""tpm2: tpm2-pkcs11 on a TPM in software (swtpm), made once per run and copied for each trial.

Token and keys are made through the module itself, as any application would, and never with tpm2_ptool.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lab.errors import LabFault, ScenarioError
from lab.tokens.installed import find_installed
from lab.tokens.keys import kind_of
from lab.tokens.model import KeyInfo, Prepared, Secret, TokenAccess, TokenSettings
from lab.tokens.request import Request, uses_of
from lab.tokens.swtpm import STATE, Swtpm, find_parts
from lab.tokens.throwaway import ask, prepared

TOKEN_LABEL: Final = "lab"
OVERRIDE: Final = "LAB_TPM2_PKCS11"
"""Environment variable with the path of libtpm2_pkcs11.so, where it lies elsewhere or another build is wanted."""

KEY_KINDS: Final = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072")
"""What swtpm makes; it has no RSA of 4096 bits (CKR_ATTRIBUTE_VALUE_INVALID)."""

_PATTERNS: Final = (
    "/usr/lib/*/libtpm2_pkcs11.so.1",  # Debian
    "/usr/lib64/pkcs11/libtpm2_pkcs11.so",  # Fedora
    "/usr/lib/*/pkcs11/libtpm2_pkcs11.so",
    "/usr/local/lib*/libtpm2_pkcs11.so.1",
)
_STORE: Final = "store"  # of the module: a SQLite file with the keys, wrapped by the TPM
_PIN_BYTES: Final = 8


def find_module() -> Path | None:
    """Path of libtpm2_pkcs11.so, None where there is none. LAB_TPM2_PKCS11, where set, is all that is looked at."""
    return find_installed(OVERRIDE, _PATTERNS)


class Tpm2:
    """A TPM and a token in it per run. Labels of keys are their names; PINs are drawn per run and only in memory."""

    kind: Final = "tpm2"

    def __init__(self, settings: TokenSettings) -> None:
        self._resource_manager = bool(settings.resource_manager)
        self._pin = Secret(secrets.token_hex(_PIN_BYTES))
        self._golden: Path | None = None

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. The TPM that is asked is a new one, and gone afterwards."""
        module = self.path
        find_parts(self._resource_manager)
        for kind in sorted({kind_of(name) for name in keys | decrypt}):
            if kind not in KEY_KINDS:
                raise ScenarioError(f'workload.key: a TPM does not make "{kind}"; use one of {", ".join(KEY_KINDS)}')
        if mechanisms or decrypt:
            with tempfile.TemporaryDirectory(prefix="lab-token-", dir=folder) as temporary:
                tpm = _new(Path(temporary))
                request = Request(
                    "offer",
                    str(module),
                    mechanisms=tuple(sorted(mechanisms)),
                    uses=uses_of(keys, decrypt),
                    beside=tpm.beside(),
                )
                ask(request, _environment(tpm))
        return {}

    def prepare(self, keys: frozenset[str], folder: Path, decrypt: frozenset[str] = frozenset()) -> Prepared:
        """Makes the golden copy in `folder`, with all of the keys. An RSA key takes a second or two.

        A key that was made stays loaded in the TPM, which holds three objects in all. So each key has a process, and a
        start of the TPM, of its own.
        """
        folder.mkdir(mode=0o700)
        tpm = _new(folder)
        uses = uses_of(keys, decrypt)
        provision = Request(
            "provision",
            str(self.path),
            TOKEN_LABEL,
            pin=self._pin.reveal(),
            so_pin=secrets.token_hex(_PIN_BYTES),
            beside=tpm.beside(),
        )
        made = prepared(ask(provision, _environment(tpm)))
        tpm.settle()
        found: dict[str, KeyInfo] = {}
        for name in sorted(keys | decrypt):
            wanted = {name: uses[name]} if name in uses else {}
            generate = replace(
                provision,
                task="generate",
                so_pin="",
                keys={name: name},
                ids=(secrets.token_hex(_PIN_BYTES),),
                uses=wanted,
            )
            found |= prepared(ask(generate, _environment(tpm))).keys
            tpm.settle()
        self._golden = folder
        return replace(made, keys=found)

    def restore(self, folder: Path, key: str | None = None) -> TokenAccess:
        """Copies the TPM and the module's store into `folder`, for the trial's processes to change and to break."""
        if self._golden is None:
            raise LabFault("restore() of a TPM before prepare()")
        folder.mkdir(mode=0o700)
        for part in (STATE, _STORE):
            shutil.copytree(self._golden / part, folder / part)
        tpm = Swtpm(folder, self._resource_manager)
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, key or "", _environment(tpm), beside=tpm.beside())

    def retire(self) -> None:
        """Removes the golden copy. Trials' copies belong to their trials."""
        if self._golden is not None:
            shutil.rmtree(self._golden, ignore_errors=True)
            self._golden = None

    @property
    def path(self) -> Path:
        """See Token."""
        module = find_module()
        if module is None:
            where = os.environ.get(OVERRIDE)
            looked = (
                f"{OVERRIDE} names {where}, which is no file" if where else "libtpm2_pkcs11.so is in no usual place"
            )
            raise ScenarioError(
                f"token.kind: tpm2 is not installed ({looked}); install the Debian package libtpm2-pkcs11-1, "
                f"or set {OVERRIDE} to the path of libtpm2_pkcs11.so"
            )
        return module


def _new(folder: Path) -> Swtpm:
    """A TPM that was never turned on, and an empty store. Only the lab uses it: it has no resource manager."""
    for part in (STATE, _STORE):
        (folder / part).mkdir(mode=0o700)
    return Swtpm(folder)


def _environment(tpm: Swtpm) -> dict[str, str]:
    return {**tpm.environment, "TPM2_PKCS11_STORE": str(tpm.folder / _STORE)}
