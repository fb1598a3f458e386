"""A probe as one HTML page that needs nothing else, fit to be attached to a bug report: screen, phone or paper."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from lab.probe.examination import Examination
from lab.probe.seen import Call, End, Seen
from lab.record.names import ckr_name
from lab.report.probe import VERDICTS, by_group, counts

_TEMPLATE: Final = "probe_page.html"
_MOST_CALLS: Final = 60
"""Of a stage, in the page; all of them are in probe.json."""


@dataclass(frozen=True)
class Evidence:
    """What one stage saw, as a page shows it."""

    stage: str
    calls: Sequence[tuple[str, int, str, str]]  # who, pid, function, answer by its name
    left_out: int  # further calls
    ends: Sequence[tuple[str, int, str]]  # who, pid, how
    stacks: Sequence[tuple[str, str]]  # of what hung: who, stack
    cut_off: str


def page(found: Examination) -> str:
    """The page. All that came from the module is escaped."""
    groups = {
        heading: [
            (line, [_evidence(stage, found.stages[stage]) for stage in line.stages if stage in found.stages])
            for line in lines
        ]
        for heading, lines in by_group(found).items()
    }
    text: str = (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            found=found,
            subject=found.subject,
            counts=counts(found),
            numbers=[(verdict, len(found.of(verdict))) for verdict in VERDICTS],
            groups=groups,
            facts=_facts(found),
        )
    )
    return text


def _facts(found: Examination) -> list[tuple[str, str]]:
    """What a reader of a bug report asks for first: the versions of everything."""
    subject, machine = found.subject, found.subject.machine
    sessions = "no limit told" if subject.max_sessions is None else f"{subject.max_sessions:,}"
    system = (machine.get("system"), f"Linux {machine.get('kernel')}", machine.get("architecture"))
    facts = [
        ("module", subject.module),
        ("SHA-256 of the module", subject.module_sha256),
        ("C_GetInfo", f"{subject.maker} {subject.module_version}, Cryptoki {subject.cryptoki_version}"),
        ("C_GetTokenInfo", f"{subject.token} {subject.firmware}".strip()),
        ("sessions, by C_GetTokenInfo", sessions),
        ("packages", ", ".join(f"{name} {version}" for name, version in subject.packages.items())),
        ("key that signed", f"{subject.key} with {subject.mechanism}" if subject.key else "none"),
        ("system", ", ".join(part for part in system if part)),
        ("processor", f"{machine.get('cpu') or 'unknown'}, {machine.get('cpus')} CPUs"),
        ("lab", ", ".join(f"{name} {version}" for name, version in subject.versions.items())),
        ("when", f"{found.started}, {found.took_s:.0f} s"),
        ("repeat it", found.command),
    ]
    return [(name, value) for name, value in facts if value]


def _evidence(stage: str, seen: Seen) -> Evidence:
    hung = [(end.who, end.stack) for end in seen.ends if end.stack]
    return Evidence(
        stage,
        [(call.who, call.pid, call.name, _answer(call)) for call in seen.calls[:_MOST_CALLS]],
        max(0, len(seen.calls) - _MOST_CALLS),
        [(end.who, end.pid, _end(end)) for end in seen.ends if not end.orderly],
        hung + ([("the stage", seen.stack)] if seen.stack else []),
        seen.cut_off,
    )


def _answer(call: Call) -> str:
    return "did not return" if call.ckr is None else ckr_name(call.ckr)


def _end(end: End) -> str:
    if end.how == "signal":
        return f"died of {signal.Signals(end.status).name}"
    return "hung, and was ended" if end.how == "hang" else f"ended with status {end.status}"


@cache
def _environment() -> Any:
    from jinja2 import DictLoader, Environment, StrictUndefined

    text = (resources.files("lab.report") / _TEMPLATE).read_text("utf-8")
    return Environment(
        loader=DictLoader({_TEMPLATE: text}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
