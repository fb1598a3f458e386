"""skip_unusable: arms whose token does not work on this machine are left out, said, and expected nothing of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs import Place, open_folder

ARMS = """
blocks = 1
{head}
[load]
mode = "closed"
warmup_s = 0
duration_s = 0.1
[workload]
kind = "random"
[topology]
processes = 1
[[arm]]
name = "here"
token.kind = "softhsm"
[[arm]]
name = "not.here"
token.kind = "p11kit-remote"
[expect]
"arms.here.ok" = "> 0"
"arms.not.here.ok" = "> 0"
"""
MISSING = {"LAB_P11_KIT_CLIENT": "/nowhere/p11-kit-client.so"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with open_folder() as elsewhere:  # pytest's own is too deep for the path of a socket
        yield Place(tmp_path, elsewhere)


def scenario(place: Place, head: str) -> Path:
    file = place.folder / "s.toml"
    file.write_text(ARMS.format(head=head))
    return file


def test_an_unusable_arm_is_left_out_and_said(place: Place) -> None:
    done = place.run(scenario(place, "skip_unusable = true"), environment=MISSING)
    assert done.returncode == 0, done.stderr
    assert "left out: not.here (token.kind: p11kit-remote" in done.stdout
    summary = json.loads((place.out / "summary.json").read_text())
    assert list(summary["arms"]) == ["here"]
    assert "/nowhere/p11-kit-client.so" in summary["skipped"]["not.here"]
    assert "p11-kit-modules" in summary["skipped"]["not.here"]


def test_without_it_the_run_is_refused(place: Place) -> None:
    done = place.run(scenario(place, ""), environment=MISSING)
    assert done.returncode == 2
    assert 'arm "not.here": token.kind: p11kit-remote' in done.stderr
    assert not place.out.exists()


def test_where_no_arm_is_left_nothing_runs(place: Place) -> None:
    everywhere = {**MISSING, "LAB_SOFTHSM": "/nowhere/libsofthsm2.so"}
    done = place.run(scenario(place, "skip_unusable = true"), environment=everywhere)
    assert done.returncode == 2
    assert "skip_unusable: no token of this scenario works here: token.kind: softhsm" in done.stderr
    assert not place.out.exists()


def test_what_works_everywhere_is_not_skipped(place: Place) -> None:
    done = place.run(scenario(place, "skip_unusable = true"))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((place.out / "summary.json").read_text())
    assert list(summary["arms"]) == ["here", "not.here"]
    assert summary["skipped"] == {}
