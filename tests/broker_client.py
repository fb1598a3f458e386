"""One client of a broker, in a process of its own, as `python -m tests.broker_client MODULE`, and how tests talk to it.

It reads a word a line from stdin and answers with a line for each: what the call gave, or the CKR code by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.native.cryptoki import Cryptoki, CryptokiError
from lab.record.names import MECHANISM, ckr_name

PIN = "LAB_TEST_PIN"
CKO_PRIVATE_KEY = 3
CKA_CLASS, CKA_LABEL = 0x0, 0x3


class Client:
    """The other end: word() says a word and gives the answer."""

    def __init__(self, module: Path, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.broker_client", str(module)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def word(self, *words: str) -> list[str]:
        self.begin(*words)
        return self.answers(len(words))

    def answers(self, number: int) -> list[str]:
        """To what begin() said; "" where the process has ended."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline().strip() for _ in range(number)]

    def begin(self, *words: str) -> None:
        """Says words and does not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{word}\n" for word in words))

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class _Calls:
    def __init__(self, module: Path) -> None:
        self._module = Cryptoki(module)
        self._slot = self._session = self._key = 0

    def initialize(self) -> None:
        self._module.initialize("os")

    def open(self) -> None:
        self._slot = self._module.find_token("lab") or 0
        self._session = self._module.open_session(self._slot)

    def login(self) -> None:
        self._module.login(self._session, os.environ[PIN])

    def find(self) -> None:
        (self._key,) = self._module.find_objects(self._session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_LABEL: "ec-p256"})

    def sign(self) -> None:
        self._module.sign_init(self._session, MECHANISM["ECDSA"], self._key)
        self._module.sign(self._session, b"x" * 32)

    def sign_for_ever(self) -> None:
        while True:
            self.sign()

    def logout(self) -> None:
        self._module.logout(self._session)

    def finalize(self) -> None:
        self._module.finalize()

    # without a token: tests/native/fake_module.c

    def many(self) -> None:
        self._module.initialize("os")
        sessions = [self._module.open_session(0) for _ in range(3)]
        for session in sessions * 50:
            self._module.sign_init(session, MECHANISM["ECDSA"], 1)
            self._module.sign(session, b"x" * 32)
        self._module.finalize()


def main() -> None:
    calls = _Calls(Path(sys.argv[1]))
    for line in sys.stdin:
        call: Callable[[], None] = getattr(calls, line.strip())
        try:
            call()
            answer = "CKR_OK"
        except CryptokiError as error:
            answer = ckr_name(error.ckr)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
