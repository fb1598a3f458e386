"""The coordinator's side of the throw-away process: start it, ask one thing, and turn what goes wrong into errors.

A module is foreign code: it may crash, hang, print, or leave threads. So no module is ever mapped here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from lab import program
from lab.errors import LabFault, ScenarioError
from lab.native.cryptoki import LibraryInfo, TokenInfo
from lab.tokens.model import KeyInfo, Prepared
from lab.tokens.request import MARK, Request

TIMEOUT_S: Final = 30.0
GENERATION_S: Final = 5.0
"""More for each key that may have to be made: RSA-4096 takes a software token a second or more."""


class Broke(ScenarioError):
    """The module crashed, hung or ended its process in the throw-away process."""


def _as(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    group = pwd.getpwnam(user).pw_gid
    return {"user": user, "group": group, "extra_groups": os.getgrouplist(user, group)}


def ask(
    request: Request,
    environment: Mapping[str, str],
    *,
    without: str | None = None,
    timeout_s: float | None = None,
    user: str | None = None,
) -> dict[str, Any]:
    """The answer of a fresh process to one request.

    `environment` comes on top of this process's own; the variable named `without` (the one with the PIN) is taken out.
    Raises ScenarioError where the module or the token is not what the scenario says, which includes a crash and a hang
    (no answer within timeout_s; by default that depends on the keys to be made). user: whom the process is started as.
    """
    if timeout_s is None:
        makes = request.task in ("provision", "generate")
        timeout_s = TIMEOUT_S + (GENERATION_S * len(request.keys) if makes else 0)
    process = subprocess.Popen(
        program.command("lab.tokens.probe"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**program.environment([without] if without else []), **environment},
        text=True,
        errors="replace",
        start_new_session=True,
        **_as(user),
    )
    try:
        out, err = process.communicate(request.to_json(), timeout=timeout_s)
    except subprocess.TimeoutExpired as expired:
        said = expired.stderr or b""
        where = _last_function(said.decode(errors="replace") if isinstance(said, bytes) else said)
        raise Broke(f"token.path: {request.module} did not answer within {timeout_s:g} s, in {where}") from None
    finally:
        _end(process)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise Broke(f"token.path: {request.module} crashed with {name} in {_last_function(err)}")
    try:
        answer = json.loads(out)
    except ValueError:
        message = f"ended with status {process.returncode} and no answer, in {_last_function(err)}"
        if MARK in err and "Traceback" not in err:  # it was in the module's hands
            raise Broke(f"token.path: {request.module} {message}") from None
        raise LabFault(f"the process that maps {request.module} {message}") from None
    if fault := answer.get("fault"):
        raise LabFault(fault)
    if error := answer.get("error"):
        raise ScenarioError(f"{error['key']}: {error['message']}")
    return dict(answer)


def _last_function(said: str) -> str:
    """The last call that the process announced. What a module says besides is not passed on: it might hold a PIN."""
    called = re.findall(f"{MARK}(C_\\w+)\n", said)
    return called[-1] if called else "loading"


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the process, and what its module may have started in its session, and lets go of the pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def prepared(answer: Mapping[str, Any]) -> Prepared:
    """The Prepared of an answer to provision, inspect or generate."""
    return Prepared(
        LibraryInfo(**answer["library"]),
        TokenInfo(**answer["token"]),
        {
            name: KeyInfo(key["kind"], key["label"], key["public_pem"], tuple(key["mechanisms"]))
            for name, key in answer["keys"].items()
        },
    )
