"""A report: one HTML page that needs nothing else, the same in Markdown, and the figures as files.

What stands in that of a run, and in which order, is what notebooks/report.ipynb shows.
"""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.record.folder import write_text
from lab.report import notebook
from lab.report.figures.drawing import Picture, Sentence
from lab.report.told.markdown import Told, bullets, plain

if TYPE_CHECKING:
    from lab.report.loaded import Run

PAGE: Final = "report.html"
MARKDOWN: Final = "report.md"
FIGURES: Final = "figures"
_TEMPLATE: Final = "page.html"
_LARGE_SVG: Final = 400_000  # bytes; above it a PNG is the smaller picture, and looks the same

Body = Told | Picture


@dataclass
class Section:
    """A heading of any level with what stands under it; notes are of figures that this run has nothing for."""

    level: int
    title: str
    bodies: list[Body] = field(default_factory=list)
    notes: list[Sentence] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """What stands in a report. sound: whether state is good news; the first section is the first screen."""

    title: str
    facts: str
    state: str
    sound: bool
    sections: Sequence[Section]


def write(run: Run) -> Path:
    """Writes report.html, report.md and figures/ into the run folder, and returns the path of the page.

    The figures that an earlier report left are removed. Raises LabFault where there is no notebook, OSError where the
    folder cannot be written.
    """
    sections = list(_without_the_empty(_sections(run)))
    return put(run.path, Report(_title(run), _facts(run), _state(run), run.valid and not run.partial, sections))


def put(folder: Path, report: Report) -> Path:
    """Writes a report into a folder, as write() does."""
    figures = folder / FIGURES
    if figures.exists():
        shutil.rmtree(figures)
    figures.mkdir()
    sources: dict[str, str] = {}
    for picture in (body for section in report.sections for body in section.bodies if isinstance(body, Picture)):
        as_png, as_svg = picture.as_bytes("png"), picture.as_bytes("svg")
        (figures / f"{picture.name}.png").write_bytes(as_png)
        (figures / f"{picture.name}.svg").write_bytes(as_svg)
        kind, data = ("svg+xml", as_svg) if len(as_svg) < _LARGE_SVG else ("png", as_png)
        sources[picture.name] = f"data:image/{kind};base64,{b64encode(data).decode()}"
    write_text(folder / MARKDOWN, _as_markdown(report))
    page = folder / PAGE
    write_text(page, _as_html(report, sources))
    return page


def _sections(run: Run) -> Iterator[Section]:
    """What the report notebook shows of a run."""
    section = Section(0, "")
    for cell, value in notebook.shown(notebook.folder() / "report.ipynb", {"run": run}):
        if "notebook" in cell.tags or value is None:
            continue
        if cell.kind == "markdown" and cell.source.startswith("#"):
            yield section
            heading, _, text = cell.source.partition("\n")
            marks, _, title = heading.partition(" ")
            section = Section(len(marks), title, [Told(text.strip())] if text.strip() else [])
            continue
        if isinstance(value, Exception):  # a part that fails must not take the others with it
            value = Sentence(f"{section.title} could not be shown ({type(value).__name__}: {value}).")
        for body in value if isinstance(value, list) else [Told(value) if cell.kind == "markdown" else value]:
            if isinstance(body, Sentence):
                section.notes.append(body)
            else:
                section.bodies.append(body)
    yield section


def _without_the_empty(sections: Iterator[Section]) -> Iterator[Section]:
    """Without sections that have nothing but notes; these stand together where the part ends."""
    notes: list[Sentence] = []
    for section in sections:
        if notes and section.level == 2:
            yield Section(
                3, "What this run has no figure of", [Told(bullets(plain(note) for note in dict.fromkeys(notes)))]
            )
            notes = []
        if section.notes and not any(isinstance(body, Picture) for body in section.bodies):
            notes += section.notes
            continue
        section.bodies += [Told(plain(note)) for note in section.notes]
        if section.bodies or section.level == 2:
            yield section


def _title(run: Run) -> str:
    return run.question or run.scenario


def _facts(run: Run) -> str:
    machine = run.manifest.get("machine")
    machine = machine if isinstance(machine, dict) else {}
    parts = [f"scenario {run.scenario}", f"run {run.name}", str(run.manifest.get("started") or "")]
    parts += [str(machine.get("system") or ""), f"{machine.get('cpus')} x {machine.get('cpu')}" if machine else ""]
    return ", ".join(part for part in parts if part)


def _state(run: Run) -> str:
    return ("valid" if run.valid else "not valid") + (", interrupted" if run.partial else "")


def _as_markdown(report: Report) -> str:
    parts = [f"# {plain(report.title)}", f"{plain(report.facts)}: **{report.state}**"]
    for section in report.sections:
        if section.title:
            parts.append(f"{'#' * section.level} {plain(section.title)}")
        parts += [_link(body) if isinstance(body, Picture) else str(body) for body in section.bodies]
    return "\n\n".join(parts) + "\n"


def _link(picture: Picture) -> str:
    return f"![{plain(picture.says)}]({FIGURES}/{picture.name}.png)"


def _as_html(report: Report, sources: dict[str, str]) -> str:
    first, *others = report.sections
    screen = [part for body in first.bodies for part in str(body).split("## ") if part.strip()]
    answers = [(title, _html(text)) for title, _, text in (part.partition("\n") for part in screen)]
    shown = [
        (
            *(section.level, section.title, f"part-{number}"),
            [
                (body, sources[body.name]) if isinstance(body, Picture) else (None, _html(body))
                for body in section.bodies
            ],
        )
        for number, section in enumerate(others, start=1)
    ]
    text: str = _environment().get_template(_TEMPLATE).render(
        title=report.title, facts=report.facts, state=report.state, valid=report.sound, answers=answers, sections=shown,
    )  # fmt: skip
    return text


def _html(text: str) -> str:
    """Markdown to HTML; tables scroll by themselves, so that the page need not."""
    made = _markdown().render(text)
    return str(made).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


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
