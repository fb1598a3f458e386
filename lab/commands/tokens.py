"""`python -m lab tokens`: which token kinds, bridges and servers work here, and what to install for the others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.errors import LabFault, ScenarioError
from lab.record.order import BesideOrder
from lab.scenario import Token
from lab.servers.model import ServerName
from lab.servers.programs import PROGRAMS, find_program, version_of
from lab.tokens import bridges
from lab.tokens.bridges import library_of
from lab.tokens.golden import GoldenToken
from lab.tokens.kinds import open_token
from lab.tokens.model import Token as TokenOfAKind
from lab.tokens.nss import Nss
from lab.tokens.opencryptoki import OpenCryptoki
from lab.tokens.p11kit import P11KitProxy, P11KitRemote
from lab.tokens.request import Request
from lab.tokens.softhsm import SoftHsm
from lab.tokens.swtpm import find_parts, swtpm_version
from lab.tokens.throwaway import ask
from lab.tokens.tpm2 import Tpm2


@dataclass(frozen=True)
class Part:
    """A token kind, a bridge or a server, as this machine has it."""

    what: str  # as in a scenario: token.kind = softhsm
    works: bool
    detail: str  # what was found, or why it does not work and what to install


def tokens(console: Console | None = None) -> int:
    """Shows all of them. Returns the exit status, which is 0: that a part is missing is an answer."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("part", "works"):
        table.add_column(heading, no_wrap=True)
    table.add_column("found, or what is missing", overflow="fold")
    for part in parts():
        table.add_row(Text(part.what), "yes" if part.works else "no", Text(part.detail))
    console.print(table)
    return 0


def parts() -> Iterator[Part]:
    """Tries each part. A token of the lab's own is really made, in a temporary folder, with a key, and then gone.

    p11-kit is tried over such a token. Of servers only the version is asked.
    """
    yield _made(SoftHsm(Token.model_validate({})))
    yield _made(Nss(Token.model_validate({"kind": Nss.kind})))
    yield _made(OpenCryptoki(Token.model_validate({"kind": OpenCryptoki.kind})), "rsa-2048")
    yield _tpm2()
    for kind in (P11KitProxy.kind, P11KitRemote.kind):
        yield _p11kit(open_token(Token.model_validate({"kind": kind})))
    yield Part("token.kind = module", True, "any PKCS#11 library: token.path, token_label and pin_env say which")
    yield from _bridges()
    yield from map(_server, PROGRAMS)


def _bridges() -> Iterator[Part]:
    try:
        openssl = bridges.openssl()
    except ScenarioError as error:
        reason = _said(error)
        yield from (Part(f"tls.bridge = {name}", False, reason) for name in ("direct", *bridges.LIBRARIES, "software"))
        return
    yield Part("tls.bridge = direct", True, f"OpenSSL {openssl.version}")
    for name in bridges.LIBRARIES:
        yield _bridge(name)
    yield Part("tls.bridge = software", True, f"OpenSSL {openssl.version}; no token")


def _made(token: GoldenToken, key: str = "ec-p256") -> Part:
    what = f"token.kind = {token.kind}"
    try:
        with tempfile.TemporaryDirectory(prefix="lab-token-") as folder:
            library = token.prepare(frozenset({key}), Path(folder) / "token").info
            return Part(what, True, f"{token.path}, {library.manufacturer} {library.module_version}")
    except (ScenarioError, LabFault) as error:
        return Part(what, False, _said(error).removeprefix(f"{token.kind}: "))
    finally:
        token.retire()


def _tpm2() -> Part:
    part = _made(Tpm2(Token.model_validate({"kind": Tpm2.kind})))
    if not part.works:
        return part
    try:
        find_parts(resource_manager=True)
        managed = "token.resource_manager too"
    except ScenarioError as error:
        managed = f"token.resource_manager not: {_said(error)}"
    return replace(part, detail=f"{part.detail}, {swtpm_version()}; {managed}")


def _p11kit(token: TokenOfAKind) -> Part:
    what, key = f"token.kind = {token.kind}", "ec-p256"
    try:
        token.check(frozenset(), frozenset())
        version = bridges.version_of(token.path)
        detail = f"{token.path}, {f'package version {version}' if version else 'version not known'}"
        with tempfile.TemporaryDirectory(prefix="lab-token-") as folder:
            token.prepare(frozenset({key}), Path(folder) / "golden")
            access = token.restore(Path(folder) / "copy", key)
            request = Request(
                "inspect",
                str(access.module),
                access.token_label,
                pin=access.pin.reveal(),
                keys={key: key},
                beside=tuple(_in(folder, order) for order in access.beside),
                mounts=access.mounts,
            )
            ask(request, access.environment)
        return Part(what, True, detail)
    except (ScenarioError, LabFault) as error:
        return Part(what, False, _said(error).removeprefix(f"{token.kind}: "))
    finally:
        token.retire()


def _in(folder: str, order: BesideOrder) -> BesideOrder:
    """With a place for what the tap writes."""
    return replace(order, environment={**order.environment, "LAB_TAP_DIR": folder})


def _server(name: ServerName) -> Part:
    what = f"tls.server = {name}"
    try:
        return Part(what, True, f"{find_program(name)}, {version_of(name)}")
    except ScenarioError as error:
        return Part(what, False, _said(error).removeprefix(f"{name}: "))


def _bridge(name: str) -> Part:
    what = f"tls.bridge = {name}"
    try:
        library = library_of(name)
        bridges.loadable(name, library)
    except ScenarioError as error:
        return Part(what, False, _said(error).removeprefix(f"{name}: "))
    version = bridges.version_of(library)
    return Part(what, True, f"{library}, {f'package version {version}' if version else 'version not known'}")


def _said(error: Exception) -> str:
    """The message without the scenario key in front of it, for there is no scenario here."""
    return str(error).partition(": ")[2] or str(error)
