"""Proofs of repeated nonces in a process of their own: a private key that was computed there is gone with it.

`python -m lab.record.proving` reads cases (public keys and signatures, nothing secret) on stdin, and answers with
proofs. It makes itself undumpable first (prctl(2), PR_SET_DUMPABLE), so that none of its memory is written to a core,
and of what goes wrong there nothing is told but its exit status.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab import program
from lab.errors import LabFault
from lab.record.nonces import Proof, proves_key

TIMEOUT_S: Final = 60.0
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


@dataclass(frozen=True)
class Case:
    """A public key, PEM, and pairs of a digest and a signature: see proves_key."""

    public_pem: str
    signatures: tuple[tuple[bytes, bytes], ...]


def prove(cases: Sequence[Case]) -> list[Proof]:
    """The proof of each case. Raises LabFault where the process that computes them failed."""
    if not cases:
        return []
    asked = [
        {"key": case.public_pem, "signatures": [[part.hex() for part in pair] for pair in case.signatures]}
        for case in cases
    ]
    try:
        done = subprocess.run(
            program.command("lab.record.proving"),
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program.environment(),
            timeout=TIMEOUT_S,
            check=True,
            start_new_session=True,  # the user's Ctrl-C is the coordinator's business
        )
        answers = json.loads(done.stdout)
        return [Proof(each["repeated"], each["pair"] and (each["pair"][0], each["pair"][1])) for each in answers]
    except subprocess.TimeoutExpired:
        raise LabFault(f"repeated nonces were not examined within {TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        raise LabFault(f"the process that examines repeated nonces ended with status {error.returncode}") from None


def main() -> None:
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0)):
        os._exit(os.EX_OSERR)
    proofs = [
        proves_key(case["key"], [(bytes.fromhex(digest), bytes.fromhex(made)) for digest, made in case["signatures"]])
        for case in json.load(sys.stdin)
    ]
    json.dump([{"repeated": proof.repeated, "pair": proof.pair} for proof in proofs], sys.stdout)


if __name__ == "__main__":
    main()
