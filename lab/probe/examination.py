"""What a probe found out about one module: the subject, each line with its verdict, and what each stage saw.

probe.json holds it, and terminal and HTML page are made of it. It has neither signatures nor random outputs (two
signatures with one nonce are the key), no PIN, and no value of a variable that the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from lab.errors import ScenarioError
from lab.probe.line import Group, Judgement, Line, Verdict
from lab.probe.seen import Seen, seen_from

FORMAT: Final = 1
FILE: Final = "probe.json"


@dataclass(frozen=True)
class Examined:
    """One line of the table as it came out."""

    name: str  # child-without-initialize
    group: Group
    title: str
    says: str  # what the standard says, in short
    source: str  # where it says so
    stages: tuple[str, ...]  # which looked: keys of Examination.stages; one that was not begun is not there
    verdict: Verdict
    seen: str  # one or two sentences: calls, CKR names, processes; why, where it was not exercised

    @staticmethod
    def of(line: Line, judgement: Judgement) -> Examined:
        stages = (line.stage, *line.also)
        return Examined(
            line.name, line.group, line.title, line.says, line.source, stages, judgement.verdict, judgement.seen
        )


@dataclass(frozen=True)
class Subject:
    """What was examined, and where. A text that is not known is ""."""

    name: str  # softhsm; softhsm, reset_on_fork; p11kit-proxy over nss; the file's name of a module by path
    module: str  # path
    module_sha256: str
    maker: str  # C_GetInfo: manufacturer, description
    module_version: str  # C_GetInfo, 2.6
    cryptoki_version: str  # C_GetInfo, 2.40
    token: str  # C_GetTokenInfo: manufacturer, model
    firmware: str
    max_sessions: int | None  # C_GetTokenInfo; None: not limited, or not told
    key: str  # kind of the key that signed: ec-p256; "": none did
    mechanism: str  # ECDSA; "": no key
    packages: Mapping[str, str] = field(default_factory=dict)  # of module and daemons: libsofthsm2 -> 2.6.1-2.1
    machine: Mapping[str, Any] = field(default_factory=dict)  # lab.record.manifest.machine()
    versions: Mapping[str, str] = field(default_factory=dict)  # lab.record.manifest.versions()


@dataclass(frozen=True)
class Examination:
    """All of one probe."""

    subject: Subject
    command: str  # as given; of --environment the names only
    started: str  # 2026-11-27T22:13:00Z
    took_s: float
    lines: tuple[Examined, ...]
    stages: Mapping[str, Seen]  # by name, in the order in which they ran; Seen.outputs is empty
    partial: str = ""  # why lines are missing or were not looked at: interrupted, the time was over

    def of(self, verdict: Verdict) -> list[Examined]:
        return [line for line in self.lines if line.verdict == verdict]

    def to_json(self) -> dict[str, Any]:
        """What probe.json holds."""
        data = {"format": FORMAT, **asdict(self)}
        data["stages"] = {name: seen.to_json() for name, seen in self.stages.items()}
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Examination:
        """Reads to_json's result back. Raises ScenarioError where it is none of this version's."""
        if data.get("format") != FORMAT:
            raise ScenarioError(f"{FILE}: format {data.get('format')}; this lab reads format {FORMAT}")
        try:
            return Examination(
                Subject(**data["subject"]),
                data["command"],
                data["started"],
                data["took_s"],
                tuple(Examined(**{**line, "stages": tuple(line["stages"])}) for line in data["lines"]),
                {name: seen_from(seen) for name, seen in data["stages"].items()},
                data["partial"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ScenarioError(f"{FILE}: not as this version of the lab writes it ({error})") from None
