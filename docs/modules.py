"""Makes docs/modules.md: the probe's table of each module, from the folders that `python -m lab probe` wrote.

python -m docs.modules PROBE ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from docs.tables import table
from lab.probe.examination import FILE, Examination
from lab.report.probe import VERDICTS, by_group, counts

PAGE: Final = Path(__file__).parent / "modules.md"
_MARK: Final = {"violates": "**violates**", "undefined": "undefined", "conforms": "conforms", "not-exercised": "-"}

_HEAD: Final = """# What modules do under fork and threads

Made by `python -m docs.modules` from what `python -m lab probe` found out about each token kind; nothing here is
written by hand. Each line was looked at in throw-away processes on a fresh copy of the token. *violates*: the standard
forbids what was seen, or it is unsafe; *undefined*: the standard leaves it open; *conforms*: as the standard has it;
*-*: not exercised. To see one again, with its evidence: `python -m lab probe --token KIND`.
"""


def read(folder: Path) -> Examination:
    """The examination of a probe's folder."""
    return Examination.from_json(json.loads((folder / FILE).read_text()))


def page(found: Sequence[Examination]) -> str:
    """The whole page."""
    return "\n".join([_HEAD, "## Side by side\n", _side_by_side(found), "", _standard(found), "", *map(_module, found)])


def _side_by_side(found: Sequence[Examination]) -> str:
    """Lines by module: the verdicts alone."""
    titles = {line.name: line.title for one in found for line in one.lines}
    verdicts = [{line.name: line.verdict for line in one.lines} for one in found]
    rows = [[title, *(_MARK[of.get(name, "not-exercised")] for of in verdicts)] for name, title in titles.items()]
    totals = [[f"*{verdict}*", *(str(len(one.of(verdict))) for one in found)] for verdict in VERDICTS]
    return table(["line", *(one.subject.name for one in found)], [*rows, *totals])


def _standard(found: Sequence[Examination]) -> str:
    """What each line holds a module to."""
    said = {line.title: (_cell(line.says), _cell(line.source)) for one in found for line in one.lines}
    rows = [[title, says, source] for title, (says, source) in said.items()]
    return "## What the standard says\n\n" + table(("line", "the standard", "where"), rows)


def _module(one: Examination) -> str:
    subject = one.subject
    packages = ", ".join(f"{name} {version}" for name, version in subject.packages.items())
    told = [
        f"## {subject.name}\n",
        f"{subject.maker} {subject.module_version}, Cryptoki {subject.cryptoki_version}; {packages or subject.module}.",
        f"Signed with {subject.key} ({subject.mechanism})." if subject.key else "Nothing was signed.",
        f"{counts(one)}.{f' Not complete: {one.partial}.' if one.partial else ''}\n",
    ]
    for heading, lines in by_group(one).items():
        rows = [
            [line.title, _MARK[line.verdict], _cell(line.seen), _cell(f"{line.says} ({line.source})")] for line in lines
        ]
        told += [f"### {heading}\n", table(("line", "verdict", "seen", "the standard"), rows), ""]
    return "\n".join(told)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    folders = [Path(name) for name in sys.argv[1:]]
    if not folders:
        print("usage: python -m docs.modules PROBE ...", file=sys.stderr)
        return 2
    PAGE.write_text(page([read(folder) for folder in folders]))
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
