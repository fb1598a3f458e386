"""The throw-away process: maps one module, does one Request, answers in JSON and ends. `python -m lab.tokens.probe`.

It may crash or hang in the module's code, and the lab goes on. PINs come over stdin and go nowhere but into the module:
the process shows none in its arguments, leaves no core file, and answers on a descriptor that the module does not know.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lab.errors import LabFault
from lab.native.cryptoki import CKU_SO, Cryptoki, CryptokiError, NotAModule, TokenInfo
from lab.process.beside import end_all, start_all
from lab.process.mounts import MountsRefused, enter
from lab.record.names import MECHANISM
from lab.tokens import objects
from lab.tokens.keys import CKM_EC_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN, KEYS, kind_of, mechanisms_for
from lab.tokens.request import DECRYPT, MARK, SIGN, Refused, Request

CKF_DECRYPT: Final = 0x200
CKF_SIGN: Final = 0x800
CKR_MECHANISM_INVALID: Final = 0x70
PIN_WORDS: Final = {
    0xA0: "the PIN is wrong; it was tried once",
    0xA2: "the PIN is too short or too long for this token, so it is wrong; it was tried once",
    0xA4: "the PIN is locked",
    0x102: "the token has no user PIN yet",
}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


class AnnouncedCryptoki(Cryptoki):
    """Says on stderr which function comes next, so that the coordinator can name the one that crashed or hung."""

    def _call(self, function: str, *arguments: object) -> None:
        os.write(2, f"{MARK}{function}\n".encode())
        super()._call(function, *arguments)


def answer(request: Request) -> dict[str, Any]:
    """Does the request. Raises Refused, or CryptokiError where a call failed that has no better name."""
    try:
        module = AnnouncedCryptoki(Path(request.module))
        module.initialize("os", request.init_string)
    except NotAModule as error:
        raise Refused("token.path", f"not a PKCS#11 module: {error}") from None
    except CryptokiError as error:
        raise Refused("token.path", f"{request.module}: {error}") from None
    try:
        if request.task == "offer":
            return _offer(module, request)
        if request.task == "provision":
            return _provision(module, request)
        if request.task == "destroy":
            return _destroy(module, request)
        return _inspect(module, request)
    finally:
        _quietly_finalize(module)


def _offer(module: Cryptoki, request: Request) -> dict[str, Any]:
    label = request.token_label
    slot = _slot(module, label) if label else module.slots(with_token=False)[0]
    for name in request.keys:
        _check_generation(module, slot, kind_of(name))
    _check_mechanisms(module, slot, request)
    return {}


def _check_generation(module: Cryptoki, slot: int, kind: str) -> None:
    if not _generates(module, slot, kind):
        others = ", ".join(other for other in KEYS if _generates(module, slot, other)) or "none"
        raise Refused("workload.key", f"this token makes no keys of kind {kind}; it makes: {others}")


def _generates(module: Cryptoki, slot: int, kind: str) -> bool:
    rsa = KEYS[kind].type == "RSA"
    try:
        info = module.mechanism_info(slot, CKM_RSA_PKCS_KEY_PAIR_GEN if rsa else CKM_EC_KEY_PAIR_GEN)
    except CryptokiError:
        return False
    return not rsa or not info.max_key or info.min_key <= KEYS[kind].bits <= info.max_key


def _provision(module: Cryptoki, request: Request) -> dict[str, Any]:
    first = request.so_pin if request.initial_so_pin is None else request.initial_so_pin
    if not request.initialised:
        module.init_token(module.slots()[0], first, request.token_label)
    slot = _slot(module, request.token_label)  # SoftHSM moves an initialised token to another slot
    session = module.open_session(slot, read_write=True)
    module.login(session, first, CKU_SO)
    if request.initial_so_pin is not None:
        module.set_pin(session, first, request.so_pin)
    module.init_pin(session, request.pin)
    module.logout(session)
    module.login(session, request.pin)
    for name, label in request.keys.items():
        objects.generate(module, session, kind_of(name), label, objects.new_id())
    return _description(module, slot) | {"keys": _keys(module, slot, session, request)}


def _inspect(module: Cryptoki, request: Request) -> dict[str, Any]:
    slot = _slot(module, request.token_label)
    _check_mechanisms(module, slot, request)
    session = module.open_session(slot, read_write=request.read_write or request.task == "generate")
    _login(module, session, request)
    generated: list[str] = []
    if request.task == "generate":
        generated += [
            objects.generate(module, session, kind_of(name), label, identity)
            for (name, label), identity in zip(request.keys.items(), request.ids, strict=True)
            if objects.find_private(module, session, label) is None
        ]
    return _description(module, slot) | {"keys": _keys(module, slot, session, request), "generated": generated}


def _destroy(module: Cryptoki, request: Request) -> dict[str, Any]:
    session = module.open_session(_slot(module, request.token_label), read_write=True)
    _login(module, session, request)
    for identity in request.ids:
        objects.destroy(module, session, identity)
    return {}


def _slot(module: Cryptoki, label: str) -> int:
    slot = module.find_token(label)
    if slot is not None:
        return slot
    seen = []
    for other in module.slots():
        try:
            seen.append(module.token_info(other).label)
        except CryptokiError:
            continue
    names = ", ".join(f'"{name}"' for name in sorted(filter(None, seen)))
    raise Refused("token.token_label", f'no token has the label "{label}"; this module has: {names or "none"}')


def _login(module: Cryptoki, session: int, request: Request) -> None:
    """One try, never a second: tokens lock after a few."""
    try:
        module.login(session, request.pin)
    except CryptokiError as error:
        why = PIN_WORDS.get(error.ckr)
        raise Refused(request.pin_key, f"{why} ({error})" if why else str(error)) from None


def _check_mechanisms(module: Cryptoki, slot: int, request: Request) -> None:
    for kind, mechanism in request.mechanisms:
        _check_mechanism(module, slot, kind, mechanism)
    if any(DECRYPT in uses for uses in request.uses.values()):
        _check_decryption(module, slot)


def _check_decryption(module: Cryptoki, slot: int) -> None:
    try:
        decrypts = bool(module.mechanism_info(slot, MECHANISM["RSA_PKCS"]).flags & CKF_DECRYPT)
    except CryptokiError as error:
        if error.ckr != CKR_MECHANISM_INVALID:
            raise
        decrypts = False
    if not decrypts:
        raise Refused(
            "tls.key_exchange", '"rsa" needs RSA_PKCS for decryption, which this token does not have; use ecdhe'
        )


def _check_mechanism(module: Cryptoki, slot: int, kind: str, mechanism: str) -> None:
    try:
        info = module.mechanism_info(slot, MECHANISM[mechanism])
    except CryptokiError as error:
        if error.ckr != CKR_MECHANISM_INVALID:
            raise
        offered = ", ".join(_offered(module, slot, kind)) or "none"
        raise Refused(
            "workload.mechanism", f"this token has no {mechanism}; of those for {kind} it has: {offered}"
        ) from None
    if not info.flags & CKF_SIGN:
        raise Refused("workload.mechanism", f"this token has {mechanism}, but not for signing")
    bits = KEYS[kind].bits
    if KEYS[kind].type == "RSA" and info.max_key and not info.min_key <= bits <= info.max_key:
        raise Refused(
            "workload.key", f"this token's {mechanism} takes {info.min_key} to {info.max_key} bits, not {bits}"
        )


def _offered(module: Cryptoki, slot: int, kind: str) -> list[str]:
    found = []
    for name in mechanisms_for(kind):
        try:
            if module.mechanism_info(slot, MECHANISM[name]).flags & CKF_SIGN:
                found.append(name)
        except CryptokiError:
            continue
    return found


def _keys(module: Cryptoki, slot: int, session: int, request: Request) -> dict[str, Any]:
    found = {}
    offered: dict[str, list[str]] = {}
    for name, label in request.keys.items():
        kind = kind_of(name)
        private = objects.find_private(module, session, label)
        if private is None:
            others = ", ".join(f'"{name}"' for name in objects.private_labels(module, session))
            raise Refused(
                "token.key_label", f'no private key has the label "{label}"; this token has: {others or "none"}'
            )
        objects.check_uses(module, session, private, label, request.uses.get(name, (SIGN,)))
        pem = objects.public_pem(module, session, private, kind, label)
        if kind not in offered:
            offered[kind] = _offered(module, slot, kind)
        found[name] = {"kind": kind, "label": label, "public_pem": pem, "mechanisms": offered[kind]}
    return found


def _description(module: Cryptoki, slot: int) -> dict[str, Any]:
    token: TokenInfo = module.token_info(slot)
    return {"library": asdict(module.module_info()), "token": asdict(token)}


def _quietly_finalize(module: Cryptoki) -> None:
    with contextlib.suppress(CryptokiError):  # what was asked is done or has its error, and the process ends next
        module.finalize()


def _protect_itself() -> None:
    """Dies with its parent, and never leaves a core file with a PIN in it."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))


def main() -> int:
    _protect_itself()
    with os.fdopen(os.dup(1), "w") as reply:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)  # a module that prints does not spoil the answer
        request = Request.from_json(sys.stdin.read())
        try:
            enter(request.mounts)
            beside = start_all(request.beside)
            try:
                said = answer(request)
            finally:
                end_all(beside)
        except MountsRefused as refused:
            said = {"error": {"key": "token.kind", "message": str(refused)}}
        except LabFault as fault:
            said = {"fault": str(fault)}
        except Refused as error:
            said = {"error": {"key": error.key, "message": error.message}}
        except CryptokiError as error:
            said = {"error": {"key": "token.path", "message": f"{request.module}: {error}"}}
        json.dump(said, reply)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # without the exit handlers of a module, which may crash or hang when all is said
