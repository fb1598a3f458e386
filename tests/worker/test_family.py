"""What a root tells its children."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab.record.order import TokenOrder, TrialOrder
from lab.worker import family, root
from lab.worker.channel import Channel
from lab.worker.family import Child
from tests.worker.test_generator import tls_order, trial_order

PIN, KEY, TICKET = "7391-of-the-token", "-----BEGIN PRIVATE KEY-----", "5ec2e7" * 20


def test_a_generator_is_told_no_secret_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Started:
        """Instead of a process: what is written to it."""

        def __init__(self, *_: object, **__: object) -> None:
            self.stdin, self.pid, self.returncode = self, 1, None

        def __enter__(self) -> Started:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing was opened."""

        def write(self, text: bytes) -> None:
            told.append(text.decode())

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(family.os, "pidfd_open", lambda pid: -1)
    token = TokenOrder("module", "lab", "key", PIN)
    tls = replace(tls_order(443, "certificate"), software_keys=(KEY,), ticket_key=TICKET)
    order = replace(trial_order(tmp_path, tls), token=token)
    family.generator(order, 2)
    family.spawn(order, 1)
    of_generator, of_server = told
    assert not any(secret in of_generator for secret in (PIN, KEY, TICKET))
    assert all(secret in of_server for secret in (PIN, KEY, TICKET))
    assert TrialOrder.from_json(of_generator).tls == replace(tls, software_keys=(), ticket_key="")
    assert json.loads(of_generator)["token"] is None


def test_a_server_that_is_ready_after_the_release_is_released_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel would hold the second word, and the first look at it would be taken for a stop."""
    monkeypatch.setattr(root, "report", lambda event, **facts: None)
    monkeypatch.setattr(root, "listen", lambda tls: [])
    monkeypatch.setattr(root, "context_of", lambda order: None)
    monkeypatch.setattr(root, "drive_of", lambda order, process: None)
    made = root.Root(trial_order(tmp_path, tls_order(443, "", connections_per_child=5)))
    ours, theirs = Channel.pair()
    made.children = [Child(1, 1, -1, ours)]
    made._release()
    theirs.send("ready")
    made._hear(made.children[0])
    theirs.end.setblocking(False)
    assert theirs.recv().word == "release"
    with pytest.raises(BlockingIOError):
        theirs.recv()
