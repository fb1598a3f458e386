"""A user of one restored openCryptoki token, as a trial root is one: private mounts, the daemon, then the module.

Gets its TokenAccess as JSON in the first line of stdin, and then one word a line; answers each with one line of JSON.
`python -m tests.tokens.opencryptoki_user`
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.native.cryptoki import Cryptoki, CryptokiError
from lab.process.beside import end_all, start_all
from lab.process.mounts import enter
from lab.record.order import beside_from, mounts_from
from lab.tokens import objects

CKM_RSA_PKCS = 1
DATA = b"what is signed"


def main() -> None:
    told = json.loads(sys.stdin.readline())
    os.environ.update(told["environment"])
    enter(mounts_from(told["mounts"]))
    beside = start_all(beside_from(told["beside"]))
    module = Cryptoki(Path(told["module"]))
    module.initialize("os")
    slot = module.find_token(told["token_label"])
    assert slot is not None
    session = module.open_session(slot, read_write=True)
    module.login(session, told["pin"])
    key = objects.find_private(module, session, told["key_label"])

    def sign() -> Any:
        if key is None:
            return None
        module.sign_init(session, CKM_RSA_PKCS, key)
        return module.sign(session, DATA).hex()

    def destroy() -> Any:
        module.destroy_object(session, key or 0)
        return "done"

    def lose_daemon() -> Any:
        os.kill(beside[0].started.pid, signal.SIGKILL)
        return beside[0].started.wait()

    def in_child() -> Any:
        """What a child gets without a C_Initialize of its own, and from that, and from its login."""
        read, write = os.pipe()
        if not os.fork():
            answers = [_answer(lambda: module.sign_init(session, CKM_RSA_PKCS, key or 0))]
            answers.append(_answer(lambda: module.initialize("os")))
            if answers[-1] == "CKR_OK":
                answers.append(_answer(lambda: module.login(module.open_session(slot), told["pin"])))
            os.write(write, json.dumps(answers).encode())
            os._exit(0)
        os.wait()
        return json.loads(os.read(read, 4096))

    def everybody_s() -> Any:
        return {"shm": os.listdir("/dev/shm"), "run": os.listdir("/run"), "pid": beside[0].started.pid}

    words = {
        "sign": sign,
        "destroy": destroy,
        "lose-daemon": lose_daemon,
        "in-child": in_child,
        "look": everybody_s,
    }
    for line in sys.stdin:
        print(json.dumps(words[line.strip()]()), flush=True)
    module.finalize()
    end_all(beside)


def _answer(call: Callable[[], object]) -> str:
    try:
        call()
    except CryptokiError as error:
        return str(error).rpartition(" ")[2]
    return "CKR_OK"


if __name__ == "__main__":
    main()
