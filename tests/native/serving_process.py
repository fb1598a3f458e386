"""A server process with its key on a token, as a program: tests start it so that each has a module of its own.

It reads one JSON object from stdin, a Plan, and prints one JSON object per line: {"parent": Outcome} of its own
handshake, {"port": number}, and, when the connections that it was told of are over, {"served": number}.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.native.cryptoki import Cryptoki
from lab.native.loops import SESSION_OWN
from lab.native.serving import Server, ServingError, Tls
from tests.native.serving import CAPACITY, LONG_NS, listener

CKO_PRIVATE_KEY = 3
CKA_CLASS, CKA_LABEL = 0x0, 0x3


@dataclass
class Plan:
    """What to serve. `settings` are Tls's own; `session_use` and what follows are for the direct bridge."""

    folder: str
    settings: dict[str, Any]
    module: str
    token_label: str
    pin: str
    key_label: str
    public_pem: str
    certificate: str
    connections: int
    library: str | None = None
    session_use: int = SESSION_OWN
    forks: bool = False  # serve in a child, with what the parent made
    reloads: bool = False  # unload and load all once more
    breaks: bool = False  # log out before the first client (direct bridge)


def load(tls: Tls, plan: Plan) -> Cryptoki | None:
    """Everything up to the TLS context, in the order of a server."""
    tls.load(Path(plan.library) if plan.library else None, Path(plan.module), plan.pin)
    module = None
    if plan.settings["bridge"] == "direct":
        module = Cryptoki(Path(plan.module))
        module.initialize("os")
        slot = module.find_token(plan.token_label)
        assert slot is not None
        session = module.open_session(slot)
        module.login(session, plan.pin)
        (key,) = module.find_objects(session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: plan.key_label})
        tls.token(module.function_list, slot, [session], plan.session_use, [key])
        tls.key(0, plan.public_pem)
    else:
        tls.key(0, f"pkcs11:token={plan.token_label};object={plan.key_label};type=private")
    tls.context(0, plan.certificate)
    return module


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    tls = Tls(**plan.settings)
    try:
        module = load(tls, plan)
        if plan.reloads:
            tls.unload()
            if module:
                module.finalize()
            load(tls, plan)
    except ServingError as error:
        say(layer=error.layer, code=error.code, text=str(error))
        return
    say(parent=asdict(tls.handshake_once()))
    if plan.breaks and module:
        module.logout(module.open_session(module.slots()[0]))
    with listener() as socket:
        say(port=socket.getsockname()[1])
        child = os.fork() if plan.forks else 0
        if child:
            _, status = os.waitpid(child, 0)
            say(parent=asdict(tls.handshake_once()), status=status)
            return
        server = Server(Path(plan.folder), 1, CAPACITY, tls, LONG_NS)
        server.listen("blocking", [(socket.fileno(), 0)])
        say(served=server.run(0, plan.connections))
        server.close()
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
