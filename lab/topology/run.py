"""A whole run: tokens made ready, every trial of the plan in its order, each sealed before the next begins.

The coordinator that runs this never maps a PKCS#11 module: a crash in one must not end the lab.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from lab.errors import LabFault, ScenarioError
from lab.native.serving import code_text
from lab.plan import Plan, PlannedTrial
from lab.record.folder import slug
from lab.record.manifest import sha256
from lab.record.mechanisms import mechanism
from lab.record.model import TrialRecord
from lab.record.seal import Verification, seal
from lab.scenario import Arm, Scenario
from lab.tokens.kinds import open_token
from lab.tokens.model import Prepared, Token
from lab.tokens.needs import Needs
from lab.tokens.preflight import check_certificate
from lab.topology.interrupt import Interrupt
from lab.topology.line import KeeperLine
from lab.topology.tls_order import Certificates
from lab.topology.trial import Bench, key_in_token, run_trial


@dataclass
class Tokens:
    """The tokens of a run, one for each different [token] table, made ready once."""

    folder: Path
    _ready: list[tuple[Any, Token, Prepared]] = field(default_factory=list)

    def prepare(self, scenario: Scenario, keys: Path) -> None:
        """Makes all ready and writes their public keys. Raises ScenarioError or LabFault."""
        for arm in scenario.arms:
            if arm.token is None or any(settings == arm.token for settings, _, _ in self._ready):
                continue
            needs = Needs.of(a for a in scenario.arms if a.token == arm.token)
            token = open_token(arm.token)
            prepared = token.prepare(needs.sign, self.folder / f"golden-{len(self._ready)}", needs.decrypt)
            self._ready.append((arm.token, token, prepared))
            for other in scenario.arms:
                if other.token == arm.token:
                    try:
                        check_certificate(other, prepared.keys)  # of a key that could not be looked at before
                    except ScenarioError as error:
                        raise ScenarioError(f'arm "{other.name}": {error}') from None
            for name, key in prepared.keys.items():
                (keys / f"{len(self._ready)}-{slug(name)}.pem").write_text(key.public_pem)

    def of(self, arm: Arm) -> tuple[Token | None, Prepared | None]:
        return next(((t, p) for settings, t, p in self._ready if settings == arm.token), (None, None))

    def retire(self) -> None:
        """Retires every token, also after one that refuses. Raises LabFault with all that was refused."""
        refused = []
        for _, token, _ in self._ready:
            try:
                token.retire()
            except LabFault as fault:
                refused.append(str(fault))
        if refused:
            raise LabFault("; ".join(refused))

    def manifest(self) -> list[dict[str, Any]]:
        """What is known of each token: never its PIN, never the values of its environment."""
        return [
            {
                "kind": settings.kind,
                "module": str(path) if (path := token.path) else None,
                "module_sha256": sha256(Path(path)) if path else None,
                "library": f"{prepared.info.description} {prepared.info.module_version}",
                "cryptoki": prepared.info.cryptoki_version,
                "token": f"{prepared.token.manufacturer} {prepared.token.model} {prepared.token.firmware}",
                "max_sessions": prepared.token.max_sessions,
                "reset_on_fork": settings.reset_on_fork,
            }
            for settings, token, prepared in self._ready
        ]


Progress = Callable[[PlannedTrial, TrialRecord | None], None]
"""Called before a trial with None, and after it with its sealed record."""


@contextmanager
def kept(scenario: Scenario) -> Iterator[tuple[KeeperLine, Path]]:
    """A keeper, and a private folder that is gone afterwards, whatever happens in between."""
    with kept_without({arm.token.pin_env for arm in scenario.arms if arm.token and arm.token.pin_env}) as keeper:
        yield keeper


@contextmanager
def kept_without(pins: Collection[str]) -> Iterator[tuple[KeeperLine, Path]]:
    """As kept(); `pins` are the variables that hold PINs, which nothing that the keeper starts is to see."""
    with KeeperLine(without=pins) as line:
        private = Path(tempfile.gettempdir()).absolute() / f"lab-token-{secrets.token_hex(8)}"
        line.guard(private)  # before it is there, so there is no moment in which it could be left behind
        try:
            private.mkdir(mode=0o700)
        except OSError as error:
            raise LabFault(f"{private}: {error.strerror}") from None
        try:
            yield line, private
        finally:
            rmtree(private, ignore_errors=True)


@contextmanager
def ready(scenario: Scenario, keys: Path, keeper: tuple[KeeperLine, Path]) -> Iterator[tuple[KeeperLine, Tokens, Path]]:
    """The tokens of a run, made ready, and retired afterwards. Raises ScenarioError or LabFault."""
    line, private = keeper
    tokens = Tokens(private)
    try:
        tokens.prepare(scenario, keys)
        yield line, tokens, private
    finally:
        tokens.retire()


def run_trials(
    scenario: Scenario,
    plan: Plan,
    folder: Path,
    bench: tuple[KeeperLine, Tokens, Path],
    interrupt: Interrupt,
    progress: Progress,
) -> list[TrialRecord]:
    """Runs and seals the plan's trials until all are done or the user interrupts. Raises LabFault."""
    line, tokens, private = bench
    arms = {arm.name: arm for arm in scenario.arms}
    certificates = Certificates()
    records = []
    for planned in plan.trials:
        if interrupt.wanted:
            break
        progress(planned, None)
        arm = arms[planned.arm]
        token, prepared = tokens.of(arm)
        common = Bench(line, folder / "trials", private, interrupt.fileno(), scenario.seed)
        check = _verification(arm, prepared)
        hosts = certificates.hosts(arm, prepared.keys if prepared else {})
        place, record = run_trial(common, planned, arm, token, check, hosts)
        records.append(seal(place, record, check, code_text if arm.tls else None, key_in_token(arm)))
        progress(planned, records[-1])
    return records


def _verification(arm: Arm, prepared: Prepared | None) -> Verification | None:
    if prepared is None or arm.workload.key is None or arm.workload.mechanism is None:
        return None
    pem = prepared.keys[arm.workload.key].public_pem
    return Verification(mechanism(arm.workload.mechanism, arm.workload.key), arm.workload.key, pem)
