"""The coordinator's side of the throw-away process: start it, ask one thing, and turn what goes wrong into errors.

A module is foreign code: it may crash, hang, print, or leave threads. So no module is ever mapped here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Final

from lab import program
from lab.errors import LabFault, ScenarioError
from lab.native.cryptoki import LibraryInfo, TokenInfo
from lab.process.others import children, user_of
from lab.process.own import adopt_orphans
from lab.tokens.model import KeyInfo, Prepared
from lab.tokens.request import MARK, Request

TIMEOUT_S: Final = 30.0
_MOST_AT_ONCE: Final = 1 << 16
GENERATION_S: Final = 5.0
"""More for each key that may have to be made: RSA-4096 takes a software token a second or more."""


class Broke(ScenarioError):
    """The module crashed or hung in the throw-away process."""


class Ended(LabFault):
    """The throw-away process ended without an answer: something in the module's code ended it."""


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
    adopt_orphans()  # what a module leaves in a session of its own becomes a child of this process, and is found
    before = set(children(os.getpid()))
    process = subprocess.Popen(
        program.command("lab.tokens.probe"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**program.environment([without] if without else []), **environment},
        start_new_session=True,
        **user_of(user),
    )
    try:
        out, err = _converse(process, request.to_json(), timeout_s)
    except subprocess.TimeoutExpired as expired:
        where = _last_function((expired.stderr or b"").decode(errors="replace"))
        raise Broke(f"token.path: {request.module} did not answer within {timeout_s:g} s, in {where}") from None
    finally:
        _end(process)
        _end_strays(before)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise Broke(f"token.path: {request.module} crashed with {name} in {_last_function(err)}")
    try:
        answer = json.loads(out)
    except ValueError:
        how = f"ended with status {process.returncode} and no answer, in {_last_function(err)}"
        fault = LabFault if "Traceback" in err else Ended
        raise fault(f"the process that maps {request.module} {how}") from None
    if fault := answer.get("fault"):
        raise LabFault(fault)
    if error := answer.get("error"):
        raise ScenarioError(f"{error['key']}: {error['message']}")
    return dict(answer)


def _converse(process: subprocess.Popen[bytes], text: str, timeout_s: float) -> tuple[str, str]:
    """What a process says on stdout and stderr until it ends, which is not when the pipes do: its module may have left
    a process that holds them. Raises TimeoutExpired, with stderr.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    until_s, ended = time.monotonic() + timeout_s, os.pidfd_open(process.pid)
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(text.encode())
        open_ends = set(said)
        while ready := select.select([*open_ends, ended], [], [], max(0.0, until_s - time.monotonic()))[0]:
            for end in open_ends.intersection(ready):
                piece = os.read(end, _MOST_AT_ONCE)
                said[end] += piece
                open_ends -= set() if piece else {end}
            if ready == [ended]:
                process.wait()
                break
        else:
            raise subprocess.TimeoutExpired(process.args, timeout_s, stderr=said[process.stderr.fileno()])
    finally:
        os.close(ended)
    out, err = said.values()
    return out.decode(errors="replace"), err.decode(errors="replace")


def _last_function(said: str) -> str:
    """The last call that the process announced. What a module says besides is not passed on: it might hold a PIN."""
    called = re.findall(f"{MARK}(C_\\w+)\n", said)
    return called[-1] if called else "loading"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, and what its module may have started in its session, and lets go of the pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _end_strays(before: set[int]) -> None:
    """Kills the new children of this process, and what these leave, until there are none."""
    while strays := set(children(os.getpid())) - before:
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


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
