"""A scenario file's text to a Scenario, or to one line that says what is wrong with it.

text -> document.read (TOML, --set) -> Written (types) -> arms.expand -> rules (what goes together) -> Scenario
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from pydantic import ValidationError

from lab.errors import ScenarioError
from lab.scenario import rules
from lab.scenario.arms import GivenArm, expand
from lab.scenario.defaults import resolve
from lab.scenario.document import Document, read
from lab.scenario.expectations import default_margin, expect_problems, margin_problems
from lab.scenario.models import NAME_PATTERN, PATHS
from lab.scenario.problems import Problem, ProblemsError, dotted, line, show
from lab.scenario.resolved import Arm, Scenario
from lab.scenario.wording import problems_of
from lab.scenario.written import TABLES, Written


def parse(text: str, file: str, overrides: Sequence[str] = ()) -> Scenario:
    """The Scenario that a file's text and --set KEY=VALUE overrides say.

    Raises ScenarioError, one line: file, arm, key, what is wrong and what is allowed there.
    """
    overridden: frozenset[str] = frozenset()
    try:
        document = read(text, overrides)
        overridden = document.overridden
        return _scenario(document, file)
    except ProblemsError as error:
        marked = [_marked(problem, overridden) for problem in error.problems]
        raise ScenarioError(line(file, marked)) from None


def _scenario(document: Document, file: str) -> Scenario:
    data = document.data
    try:
        written = Written.model_validate(data)
    except ValidationError as error:
        raise ProblemsError(*problems_of(error, data)) from None
    _refuse_if(list(_hidden_overrides(document)))
    given = expand(data)
    _refuse_if(_arm_problems(given))
    arms = tuple(_resolved(_placed(arm, PurePath(file).parent, document.overridden)) for arm in given)
    margin = written.margin if written.margin is not None else default_margin(arms)
    expect = written.expect or {}
    _refuse_if([*margin_problems(margin), *expect_problems(expect, [arm.name for arm in arms])])
    if written.blocks == "auto" and len(arms) == 1:
        why = f"{show(written.blocks)} needs two or more arms to compare; with one use a whole number from 1 to 1000"
        raise ProblemsError(Problem("blocks", why))
    return Scenario(
        name=written.name or _name_of(file),
        question=written.question,
        seed=written.seed,
        blocks=written.blocks,
        timeout_s=written.timeout_s,
        margin=margin,
        expect=expect,
        arms=arms,
        skip_unusable=written.skip_unusable,
    )


def _refuse_if(problems: Sequence[Problem]) -> None:
    if problems:
        raise ProblemsError(*problems)


def _arm_problems(arms: Sequence[GivenArm]) -> list[Problem]:
    """The problems of all arms; one that every arm has is the file's, and said once."""
    found = [(arm, list(rules.problems(arm.given, arm.timeout_s))) for arm in arms]
    everywhere = [problem for problem in found[0][1] if all(problem in theirs for _, theirs in found)]
    own = [
        replace(problem, arm=arm.name if arm.listed else None)
        for arm, theirs in found
        for problem in theirs
        if problem not in everywhere
    ]
    return everywhere + own


def _resolved(arm: GivenArm) -> Arm:
    return resolve(arm.name, arm.given, arm.timeout_s)


def _placed(arm: GivenArm, folder: PurePath, overridden: frozenset[str]) -> GivenArm:
    """The arm with the file's own relative paths counted from the file's folder; those of --set stay as they are."""
    placed = {table: dict(keys) for table, keys in arm.given.items()}
    for table, keys in PATHS.items():
        for key in keys:
            by_set = {table, f"{table}.{key}", dotted(("matrix", f"{table}.{key}"))}
            if arm.entry is not None:
                by_set |= {dotted(("arm", arm.entry, table, *rest)) for rest in ((), (key,))}
            if key in placed[table] and not by_set & overridden:
                placed[table][key] = str(folder / placed[table][key])
    return replace(arm, given=placed)


def _hidden_overrides(document: Document) -> Iterator[Problem]:
    """Overrides of a key that arms or the matrix set too: they would change nothing, or make arms belie their names."""
    for key in sorted(document.overridden):
        table, name = [*key.split("."), ""][:2]
        if table not in TABLES and key != "timeout_s":
            continue
        for arm in document.data.get("arm", ()):
            if (name in arm.get(table, {})) if name else table in arm:
                instead = f"--set {dotted(('arm', arm['name']))}.{key}=..."
                yield Problem(key, f'arm "{arm["name"]}" sets this key itself; use {instead}', given_by_set=True)
        for axis in document.data.get("matrix", {}):
            if axis == key or axis.startswith(f"{key}."):
                instead = f"--set matrix.{axis}=[...]"
                yield Problem(key, f"the matrix sets this key; use {instead}", given_by_set=True)


def _marked(problem: Problem, overridden: frozenset[str]) -> Problem:
    """Say --set for a key that --set gave, alone, as part of its table, or inside it."""
    key = problem.key
    in_arm = dotted(("arm", problem.arm, *key.split("."))) if problem.arm else key
    for given in overridden:
        for candidate in (key, in_arm):
            if candidate and (candidate == given or candidate.startswith(f"{given}.")):
                return replace(problem, key=candidate, given_by_set=True, arm=None)
    return problem


def _name_of(file: str) -> str:
    stem = PurePath(file).stem
    return stem if re.fullmatch(NAME_PATTERN, stem) else "scenario"
