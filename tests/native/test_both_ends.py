"""The generator and the server of the lab, each other's peer: their rows of one handshake find each other and agree."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import numpy as np
import pytest

from lab.native.generating import Greeting, Host
from lab.native.serving import Mode
from lab.record.dtypes import ENDED, SIDE
from tests.native.answering import MS, RELEASE_AHEAD_NS, party
from tests.native.serving import host_name, serving, software


@pytest.mark.parametrize("mode", ["blocking", "event"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resumption", ["off", "per-process"])
def test_rows_of_both_ends_agree(version: str, mode: Mode, resumption: str, tmp_path: Path) -> None:
    for end in ("server", "client"):
        (tmp_path / end).mkdir()
    tls, certificates = software(["ec", "rsa"], version=version, resumption=resumption)
    with serving(tls, tmp_path / "server", mode) as served:
        hosts = tuple(
            Host(host_name(host), *served.address, ssl.PEM_cert_to_DER_cert(certificate))
            for host, certificate in enumerate(certificates)
        )
        with party(tmp_path / "client", Greeting(hosts, version, resume=resumption != "off")) as one:  # type: ignore[arg-type]
            release_ns = time.monotonic_ns() + RELEASE_AHEAD_NS
            one.open_loop([i * MS for i in range(20)], slots=3, release_ns=release_ns)
    theirs, mine = served.rows(), one.connections().rows
    assert len(theirs) == len(mine) == 20
    assert len(set(mine["random"].tolist())) == 20
    theirs, mine = np.sort(theirs, order="random"), np.sort(mine, order="random")
    for what in ("random", "port", "version", "vhost", "resumed", "code", "layer"):
        assert theirs[what].tolist() == mine[what].tolist(), what
    assert not mine["code"].any()
    assert mine["resumed"].any() == (resumption != "off")
    assert set(theirs["side"]) == {SIDE["server"]}
    assert set(mine["side"]) == {SIDE["client"]}
    assert (theirs["state"] == ENDED).all()
    # neither end is complete before the other has begun
    assert (mine["step1_started_ns"] <= theirs["ended_ns"]).all()
    assert (theirs["opened_ns"] <= mine["ended_ns"]).all()
