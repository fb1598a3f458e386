"""The set-up of a server's TLS: everything it does has a step, whose time has a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.record.order import HostOrder, TokenOrder
from lab.worker import tls_context
from lab.worker.tls_context import TlsContext
from tests.worker.test_generator import tls_order, trial_order

HOSTS = tuple(HostOrder(f"host-{n}.lab.test", "127.0.0.1", f"ec-p256-{n}", "PEM", "PEM") for n in range(2))


class Told:
    """Instead of OpenSSL and of the rows: which step each call was made in."""

    def __init__(self, *_: object) -> None:
        self.open: list[str] = []
        self.calls: list[tuple[str, ...]] = []

    def begin(self, kind: str, phase: str, vhost: int = 0) -> int:
        self.open.append(f"{kind} {vhost}")
        return 0

    def end(self, *_: object, **__: object) -> None:
        self.open.pop()

    def load(self, *_: object) -> None:
        """Not a host's."""

    def key(self, host: int, *_: object) -> None:
        self.calls.append((f"key {host}", *self.open))

    def context(self, host: int, *_: object) -> None:
        self.calls.append((f"context {host}", *self.open))


@pytest.mark.parametrize(("bridge", "step"), [("software", "tls_context"), ("engine", "open_key")])
def test_each_key_is_made_within_a_step_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bridge: str, step: str
) -> None:
    told: Any = Told()
    monkeypatch.setattr(tls_context, "Tls", lambda *_: told)
    order = tls_order(0, "PEM", bridge=bridge, bridge_library="pkcs11.so", software_keys=("PEM",) * 2, hosts=HOSTS)
    token = TokenOrder(module="p11.so", token_label="lab", key_label="ec-p256", pin="1234")
    TlsContext(trial_order(tmp_path, order, token=token), order).make(told, 1)
    assert told.calls == [
        (f"{what} {host}", f"{within} {host}")
        for host in (0, 1)
        for what, within in (("key", step), ("context", "tls_context"))
    ]
