"""`python -m lab probe`: how one module behaves under fork and threads, line by line, in under a minute."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from lab.commands.probe_options import Options, as_options
from lab.commands.probe_progress import ProbeProgress
from lab.errors import LabFault, ScenarioError
from lab.probe.examination import FILE, Examination, Examined, Subject
from lab.probe.examine import PATIENCE_S, Bed, Interrupted, examine
from lab.probe.line import Line
from lab.probe.lines import LINES
from lab.probe.seen import Seen
from lab.record import folder as run_folder
from lab.record import manifest
from lab.record.folder import write_json, write_text
from lab.record.mechanisms import mechanism
from lab.scenario import Token as Settings
from lab.scenario.choice import BEHIND_P11_KIT
from lab.tokens.installed import package_of
from lab.tokens.kinds import open_token
from lab.tokens.model import Prepared, Token
from lab.tokens.module import Module
from lab.tokens.throwaway import Broke, Ended
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.run import kept_without

DONE, VIOLATES, INTERRUPTED = 0, 3, 130
PAGE: Final = "probe.html"
_PREFLIGHT_S: Final = 10.0
_SHARE_OF_PREFLIGHT: Final = 4
_MOST_PATIENCE_S: Final = 15.0
"""A process or call may take several times what the preflight took, which is one process with a handful of calls."""
_SECOND_KEY: Final = "rsa-2048"
_RESERVE_S: Final = 3.0
"""Of the whole time, for what is written at the end."""


@dataclass
class _Ready:
    """The token, and what the preflight saw of it."""

    token: Token
    settings: Settings
    key: str | None  # kind
    no_key: str = ""  # why there is none
    prepared: Prepared | None = None  # None: the module broke
    patience_s: float = PATIENCE_S


@dataclass
class _Found:
    """What has been seen so far; also after an interrupt or a fault."""

    lines: list[Examined] = field(default_factory=list)
    stages: dict[str, Seen] = field(default_factory=dict)
    partial: str = ""
    fault: LabFault | None = None


def probe(options: Options) -> int:
    """Returns the exit status: 0; 3 where --expect-conforming and something violates, or nothing could be looked at;
    130 where the user ended it.

    Raises ScenarioError, which names the option, before any stage; LabFault with what was seen until then written.
    """
    settings, lines, key = options.settings, options.chosen(LINES), options.key_kind
    until_s, started = time.monotonic() + options.seconds - _RESERVE_S, datetime.now(UTC)
    begun_s, most_sessions = time.monotonic(), options.sessions
    with Interrupt() as interrupt, kept_without({settings.pin_env} if settings.pin_env else set()) as (keeper, private):
        ready = _Ready(open_token(settings), settings, key)
        try:
            _prepare(ready, private, options.token is not None and options.key is None)
            subject = _subject(options.name, ready, private)
            folder = run_folder.create(
                options.out, f"probe-{options.name}", f"{subject.name}\n{subject.module_sha256}", started, inside=()
            )
            found = _look(ready, most_sessions, lines, (keeper, private), until_s, interrupt, options.quiet)
        finally:
            ready.token.retire()
    took_s = round(time.monotonic() - begun_s, 1)
    examination = Examination(
        _as_seen(subject, found),
        options.command,
        f"{started:%Y-%m-%dT%H:%M:%SZ}",
        took_s,
        tuple(found.lines),
        {name: seen.without_outputs for name, seen in found.stages.items()},
        found.partial,
    )
    return _present(examination, folder, found, options)


def _prepare(ready: _Ready, private: Path, may_change_key: bool) -> None:
    """Makes the token ready. A module that breaks is still examined; what the user got wrong is a ScenarioError.

    may_change_key: the user named none, so that where the token makes none of the usual kind another will do.
    """
    token, begun_s = ready.token, time.monotonic()
    if isinstance(token, Module):
        token.timeout_s = _PREFLIGHT_S
    try:
        try:
            _check(ready, private)
        except ScenarioError as error:
            if isinstance(error, Broke) or not may_change_key or not str(error).startswith("workload."):
                raise
            ready.key = _SECOND_KEY
            _check(ready, private)
        if isinstance(token, Module):
            took_s = time.monotonic() - begun_s
            ready.patience_s = min(_MOST_PATIENCE_S, max(PATIENCE_S, _SHARE_OF_PREFLIGHT * took_s))
        ready.prepared = token.prepare(frozenset({ready.key} if ready.key else ()), private / "golden")
        ready.no_key = "" if ready.key else "No key was named: --key-label does that."
    except (Broke, Ended) as broke:
        ready.key, ready.no_key = None, f"No key could be looked at: {str(broke).removeprefix('token.path: ')}."
    except ScenarioError as error:
        raise ScenarioError(as_options(str(error))) from None


def _check(ready: _Ready, private: Path) -> None:
    key = ready.key
    ready.token.check(frozenset({key} if key else ()), frozenset({(key, _mechanism(key))} if key else ()), private)


def _mechanism(key: str) -> str:
    return "ECDSA" if key.startswith("ec-") else "RSA_PKCS"


def _subject(name: str, ready: _Ready, private: Path) -> Subject:
    place = private / "looked-at"
    access = ready.token.restore(place, ready.key)
    shutil.rmtree(place, ignore_errors=True)
    over = ready.settings.over or ("softhsm" if ready.settings.kind in BEHIND_P11_KIT else None)
    files = [ready.token.path, *([open_token(Settings.model_validate({"kind": over})).path] if over else [])]
    files += [Path(order.command[0]) for order in access.beside]
    info, token = (ready.prepared.info, ready.prepared.token) if ready.prepared else (None, None)
    return Subject(
        name=name,
        module=str(ready.token.path),
        module_sha256=manifest.sha256(ready.token.path) or "",
        maker=f"{info.manufacturer}, {info.description}" if info else "",
        module_version=info.module_version if info else "",
        cryptoki_version=info.cryptoki_version if info else "",
        token=f"{token.manufacturer} {token.model}" if token else "",
        firmware=token.firmware if token else "",
        max_sessions=token.max_sessions if token else None,
        key=ready.key or "",
        mechanism=_mechanism(ready.key) if ready.key else "",
        packages=dict(filter(None, map(package_of, dict.fromkeys(files)))),
        machine=manifest.machine(),
        versions=manifest.versions(),
    )


def _as_seen(subject: Subject, found: _Found) -> Subject:
    """With what the module itself answered to C_GetInfo: a token behind p11-kit is prepared without p11-kit."""
    told = (call.facts for seen in found.stages.values() for call in seen.calls if call.name == "C_GetInfo")
    info = next((facts for facts in told if "module_version" in facts), None)
    if info is None:
        return subject
    return replace(
        subject,
        maker=f"{info['manufacturer']}, {info['description']}",
        module_version=info["module_version"],
        cryptoki_version=info["cryptoki_version"],
    )


def _look(
    ready: _Ready,
    most_sessions: int,
    lines: Sequence[Line],
    keeper: tuple[KeeperLine, Path],
    until_s: float,
    interrupt: Interrupt,
    quiet: bool,
) -> _Found:
    """All lines, or as many as there were until the user, or a fault of the lab's own, ended it."""
    key, prepared = ready.key, ready.prepared
    bed = Bed(
        token=ready.token,
        key=key,
        mechanism=mechanism(_mechanism(key), key) if key else None,
        public_pem=prepared.keys[key].public_pem if key and prepared else "",
        most_sessions=most_sessions,
        no_key=ready.no_key,
        may_create=ready.settings.kind != "module" or bool(ready.settings.provision),
        read_write=bool(ready.settings.read_write),
        patience_s=ready.patience_s,
    )
    found = _Found()
    with ProbeProgress(lines, quiet) as progress:
        try:
            for examined in examine(bed, lines, *keeper, until_s, interrupt.fileno(), found.stages):
                found.lines.append(examined)
                progress.done(examined)
        except Interrupted:
            found.partial = f"interrupted after {len(found.lines)} of {len(lines)} lines"
        except LabFault as fault:
            found.fault = fault
            found.partial = f"the lab failed after {len(found.lines)} of {len(lines)} lines"
    if not found.partial and time.monotonic() > until_s:
        found.partial = "the time was over (--timeout-s)"
    return found


def _present(examination: Examination, folder: Path, found: _Found, options: Options) -> int:
    from lab.report.probe import show
    from lab.report.probe_page import page

    try:
        write_json(folder / FILE, examination.to_json())
        write_text(folder / PAGE, page(examination))
    except OSError as error:
        raise LabFault(f"{folder}: {error.strerror}") from None
    console = Console()
    if not options.quiet:
        show(examination, console)
    console.print(f"probe: {folder / PAGE}, {FILE}", markup=False, highlight=False, soft_wrap=True)
    if found.fault is not None:
        raise found.fault
    if examination.partial.startswith("interrupted"):
        return INTERRUPTED
    return VIOLATES if options.expect_conforming and not _conforms(examination) else DONE


def _conforms(examination: Examination) -> bool:
    """Nothing violates; and something was looked at, for a module that refuses everything shows nothing."""
    looked_at = examination.of("conforms") + examination.of("undefined")
    return bool(looked_at) and not examination.of("violates")
