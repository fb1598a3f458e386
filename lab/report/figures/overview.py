"""The whole run in one picture, and tokens by policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.report import picture as overview_picture
from lab.report import token_grid
from lab.report.figures.drawing import Picture, Sentence, drawn
from lab.report.traced import is_trace

if TYPE_CHECKING:
    from lab.report.loaded import Run


@drawn
def overview(run: Run) -> Picture | Sentence:
    """What became of the operations, what each process paid once, how long operations took."""
    if is_trace(run.summary):
        return Sentence("A traced program has no operations of the lab's, so there is no overview of them.")
    made = Picture(layout="constrained")
    made.name = "overview"
    made.says = "What became of the operations, what each process paid once, and how long operations took, by arm."
    overview_picture.fill(made, run.summary, list(run.facts.values()))
    return made


@drawn
def tokens(run: Run) -> Picture | Sentence:
    """A row for each token, a column for each context policy."""
    made = Picture(layout="constrained")
    made.name = "tokens"
    made.says = "For each token and context policy, what became of the operations and which rules were broken."
    if not token_grid.fill(made, run.summary):
        return Sentence(
            "This run has not several tokens and several context policies; scenarios/tokens-under-fork.toml has both."
        )
    return made
