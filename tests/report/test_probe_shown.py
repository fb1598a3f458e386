"""A probe's table on the terminal and as a page: all that was found is there, and nothing of a module's is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from docs.modules import page as document
from lab.probe.examination import Examination, Examined, Subject
from lab.probe.seen import Call, End, Seen
from lab.report.probe import counts, show
from lab.report.probe_page import page

HOSTILE = "<script>alert(1)</script>"
STAGE = Seen(
    calls=(
        Call("parent", 7, "C_Initialize", 0),
        Call("child 1", 8, "C_Sign", None),
        Call("child 2", 9, "C_Sign", 0x190),
    ),
    ends=(
        End("child 1", 8, "signal", 11),
        End("child 2", 9, "hang", 0, "#0 futex_wait | x"),
        End("child 3", 10, "exit"),
    ),
    cut_off="crashed with SIGSEGV in C_Finalize",
    stack="#0 of the stage itself",
)
FOUND = Examination(
    subject=Subject(
        name="a module",
        module="/usr/lib/module.so",
        module_sha256="abc",
        maker=HOSTILE,
        module_version="2.6",
        cryptoki_version="2.40",
        token="maker model",
        firmware="1.0",
        max_sessions=None,
        key="ec-p256",
        mechanism="ECDSA",
        packages={"libmodule": "2.6-1"},
        machine={"system": "Debian 12", "kernel": "6.1", "architecture": "x86_64", "cpu": "a cpu", "cpus": 2},
        versions={"python": "3.11"},
    ),
    command="python -m lab probe --token x",
    started="2026-11-27T22:13:00Z",
    took_s=12.3,
    lines=(
        Examined(
            "one", "fork", "a child signs", "it must not", "base, 2.6", ("a-stage",), "violates", "It [red]did[/]."
        ),
        Examined("two", "fork", "a child ends", "it may", "base, 5.4", ("a-stage",), "undefined", "Nobody | knows."),
        Examined("three", "claims", "a claim", "it holds", "base, 5.5", ("gone",), "conforms", "It holds."),
        Examined(
            "four", "sessions", "a limit", "is told", "base, 5.6", (), "not-exercised", "No time was left for it."
        ),
    ),
    stages={"a-stage": STAGE},
)


class Tags(HTMLParser):
    """Which tags open and close, and every address that a browser would go to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.met: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.met.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    text = page(FOUND)
    tags = Tags(text)
    assert not tags.open
    assert tags.addresses == []
    assert "script" not in tags.met
    assert not re.search(r"@import|url\(", text)


def test_what_a_module_says_is_no_markup() -> None:
    assert HOSTILE not in page(FOUND)
    assert "&lt;script&gt;" in page(FOUND)


@pytest.mark.parametrize(
    "said",
    [
        "1 line violates the standard, 1 undefined, 1 conforms, 1 not exercised",
        "child 1",
        "did not return",
        "CKR_CRYPTOKI_NOT_INITIALIZED",
        "child 1 (pid 8) died of SIGSEGV",
        "child 2 (pid 9) hung, and was ended",
        "#0 futex_wait | x",
        "#0 of the stage itself",
        "which crashed with SIGSEGV in C_Finalize",
        "libmodule 2.6-1",
        "python -m lab probe --token x",
        "No time was left for it.",
    ],
)
def test_the_page_has(said: str) -> None:
    assert said in page(FOUND)


def test_an_orderly_end_is_not_worth_a_word() -> None:
    assert "child 3" not in page(FOUND)


def test_many_calls_are_cut_and_counted() -> None:
    many = replace(STAGE, calls=STAGE.calls[:1] * 75)
    text = page(replace(FOUND, stages={"a-stage": many}))
    assert "75 calls of the stage a-stage" in text
    assert "and 15 more, which are in probe.json" in text


def test_what_is_not_complete_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    partial = replace(FOUND, partial="interrupted")
    show(partial, Console(width=100))
    assert "Not complete: interrupted." in capsys.readouterr().out
    assert "<b>Not complete:</b> interrupted." in page(partial)
    assert "Not complete" not in page(FOUND)


def test_the_terminal_has_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOUND, Console(width=100))
    said = capsys.readouterr().out
    for line in FOUND.lines:
        assert line.title in said
        assert line.seen in said
    assert counts(FOUND) in said


def test_the_document_has_every_module_side_by_side() -> None:
    other = replace(FOUND, subject=replace(FOUND.subject, name="another"), lines=FOUND.lines[:1])
    text = document([FOUND, other])
    assert "| line | a module | another |" in text
    assert "| a child signs | **violates** | **violates** |" in text
    assert "| a claim | conforms | - |" in text
    assert "| *violates* | 1 | 1 |" in text
    assert "Nobody \\| knows." in text
