"""tpm2: tpm2-pkcs11 on a TPM in software (swtpm), which is a folder with the TPM's memory and the module's store."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lab.errors import ScenarioError
from lab.tokens.golden import TOKEN_LABEL, GoldenToken
from lab.tokens.installed import Installed
from lab.tokens.keys import kind_of
from lab.tokens.model import KeyInfo, Prepared, TokenAccess, TokenSettings
from lab.tokens.request import Request
from lab.tokens.swtpm import STATE, Swtpm, find_parts
from lab.tokens.throwaway import prepared

MODULE: Final = Installed(
    what="tpm2",
    file="libtpm2_pkcs11.so",
    package="libtpm2-pkcs11-1",
    patterns=(
        "/usr/lib/*/libtpm2_pkcs11.so.1",  # Debian
        "/usr/lib64/pkcs11/libtpm2_pkcs11.so",  # Fedora
        "/usr/lib/*/pkcs11/libtpm2_pkcs11.so",
        "/usr/local/lib*/libtpm2_pkcs11.so.1",
    ),
    override="LAB_TPM2_PKCS11",
)
KEY_KINDS: Final = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072")
"""What swtpm makes; it has no RSA of 4096 bits (CKR_ATTRIBUTE_VALUE_INVALID)."""

_STORE: Final = "store"  # of the module: a SQLite file with the keys, wrapped by the TPM
_ID_BYTES: Final = 8


class Tpm2(GoldenToken):
    """A TPM, and a token in it. A resource manager is only for the processes of a trial, not for those that make it."""

    kind = "tpm2"
    module = MODULE

    def __init__(self, settings: TokenSettings) -> None:
        super().__init__()
        self._resource_manager = bool(settings.resource_manager)

    def check(
        self,
        keys: frozenset[str],
        mechanisms: frozenset[tuple[str, str]],
        folder: Path | None = None,
        decrypt: frozenset[str] = frozenset(),
    ) -> Mapping[str, KeyInfo]:
        """See Token. The TPM that is asked is a new one, and gone afterwards."""
        for kind in sorted({kind_of(name) for name in keys | decrypt}):
            if kind not in KEY_KINDS:
                raise ScenarioError(f'workload.key: a TPM does not make "{kind}"; use one of {", ".join(KEY_KINDS)}')
        return super().check(keys, mechanisms, folder, decrypt)

    def _find_parts(self) -> None:
        _ = self.path
        find_parts(self._resource_manager)

    def _lay_out(self, folder: Path) -> None:
        """A TPM that was never turned on, and an empty store."""
        for part in (STATE, _STORE):
            (folder / part).mkdir(mode=0o700)

    def _copy(self, golden: Path, folder: Path) -> None:
        for part in (STATE, _STORE):
            shutil.copytree(golden / part, folder / part)

    def _access(self, folder: Path) -> TokenAccess:
        return self._through(Swtpm(folder, self._resource_manager))

    def _provisioning(self, folder: Path) -> TokenAccess:
        return self._through(Swtpm(folder))

    def _through(self, tpm: Swtpm) -> TokenAccess:
        environment = {**tpm.environment, "TPM2_PKCS11_STORE": str(tpm.folder / _STORE)}
        return TokenAccess(self.path, TOKEN_LABEL, self._pin, "", environment, beside=tpm.beside())

    def _make(self, request: Request, folder: Path) -> Prepared:
        """A key that was made stays loaded in the TPM, which holds three objects in all. So each key has a process, and
        a start of the TPM, of its own.
        """
        tpm = Swtpm(folder)
        made = prepared(self._ask(replace(request, keys={}, uses={}), folder))
        tpm.settle()
        found: dict[str, KeyInfo] = {}
        for name in request.keys:
            generate = replace(
                request,
                task="generate",
                so_pin="",
                keys={name: name},
                ids=(secrets.token_hex(_ID_BYTES),),
                uses={name: request.uses[name]} if name in request.uses else {},
            )
            found |= prepared(self._ask(generate, folder)).keys
            tpm.settle()
        return replace(made, keys=found)
