"""report.html, report.md and figures/: what stands first, what they need, and runs that are not whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lab import program
from lab.commands.report import rebuilt, write_page
from lab.report.told.markdown import plain, table
from tests.sealed_run import SCENARIO, write_run

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


class Read(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            assert dict(attrs).get("alt")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("page") / "reference"
    shutil.copytree(REFERENCE, copy)
    command = program.command("lab", "report", str(copy))
    subprocess.run(command, env=program.environment(), check=True, capture_output=True)
    return copy


def page_of(folder: Path) -> Read:
    write_page(rebuilt(folder))
    return Read((folder / "report.html").read_text())


def test_the_first_screen_answers_four_questions(reported: Path) -> None:
    text = Read((reported / "report.html").read_text()).text
    at = [text.index(question) for question in ("What was asked", "What was found", "How sure", "What is not valid")]
    assert at == sorted(at)
    assert "What does a context of its own cost each pre-forked child?" in text[: at[0]]


def test_the_first_screen_says_in_words_what_was_found(reported: Path) -> None:
    first = (reported / "report.md").read_text().split("## Figures")[0].replace("\\", "")
    assert "valid**" in first
    assert "per-process, reinit: all 9,582 signatures ended well." in first
    assert "shared: **none** of 4,791 signatures ended well: CKR_CRYPTOKI_NOT_INITIALIZED" in first
    assert "shared breaks initialize-per-process and own-handles" in first
    assert "**reinit is faster than per-process in cold start initialize**" in first
    assert "36 trials in 12 blocks" in first
    assert "shared cannot be compared: no operation ended well." in first


def test_figures_come_before_the_manifest_the_method_and_the_limits(reported: Path) -> None:
    parts = re.findall(r"^## (.*)$", (reported / "report.md").read_text(), re.MULTILINE)
    assert parts[4:] == [
        *("Figures", "In numbers", "Trials that were left out", "Where and with what", "Method in short"),
        *("What the lab itself costs and finds here", "Limits"),
    ]
    assert "could not be shown" not in (reported / "report.md").read_text()


def test_the_page_needs_nothing_from_elsewhere(reported: Path) -> None:
    text = (reported / "report.html").read_text()
    read = Read(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(read.tags)
    assert all(link.startswith(("data:image/", "#")) for link in read.links)
    assert not re.search(r"url\(|@import", re.sub(r'src="data:[^"]*"', "", text))


def test_every_figure_is_in_the_page_and_beside_it_as_png_and_svg(reported: Path) -> None:
    files = {path.name for path in (reported / "figures").iterdir()}
    linked = re.findall(r"\]\(figures/(.*?)\.png\)", (reported / "report.md").read_text())
    assert {f"{name}.{kind}" for name in linked for kind in ("png", "svg")} == files
    assert Read((reported / "report.html").read_text()).tags.count("img") == len(linked) >= 9


def test_a_second_report_is_the_same_to_the_byte(reported: Path) -> None:
    def content() -> dict[Path, bytes]:
        made = [reported / "summary.json", reported / "report.html", reported / "report.md"]
        made += [*(reported / "figures").iterdir(), *(reported / "tables").iterdir()]
        return {path: path.read_bytes() for path in made}

    before = content()
    (reported / "figures" / "old.png").write_bytes(b"of an earlier report")
    write_page(rebuilt(reported))
    assert content() == before


def test_what_comes_from_a_run_is_text_and_no_markup(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    hostile = "<script>alert(1)</script> **bold** [a](http://x) | `code` for $5, $x_{1$ or 6 \u00b5s"
    (folder / "scenario.json").write_text(json.dumps({**SCENARIO, "question": hostile}))
    (folder / "manifest.json").write_text(json.dumps({"machine": {"cpu": "<img src=x onerror=y>", "system": "a|b"}}))
    read = page_of(folder)
    assert hostile in read.text
    assert "<img src=x onerror=y>" in read.text
    assert "script" not in read.tags
    assert all(link.startswith(("data:image/", "#")) for link in read.links)


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_report_is_the_same_where_the_locale_has_ascii_only(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "\u00e9t\u00e9")
    (folder / "scenario.json").write_text(json.dumps({**SCENARIO, "question": "Under 6 \u00b5s?"}))
    made = ("summary.json", "report.html", "report.md", "tables/trials.csv")
    found = []
    for locale in ({"PYTHONUTF8": "1"}, ASCII):
        command = program.command("lab", "report", str(folder))
        done = subprocess.run(command, env=program.environment() | locale, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        found.append([(folder / name).read_bytes() for name in made])
    assert found[0] == found[1]
    assert "Under 6 \u00b5s?" in found[1][2].decode()
    assert "run \u00e9t\u00e9" in found[1][2].decode()


def test_a_run_that_is_not_valid_says_so_first_and_why(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "trials" / "0002-a" / "calls.parquet").unlink()
    text = page_of(folder).text
    assert text.index("not valid") < text.index("What was asked")
    assert "trials/0002-a/calls.parquet: is missing" in text[: text.index("Figures")]


def test_a_run_that_was_interrupted_says_so_first_and_is_no_good_news(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "plan.json").write_text(json.dumps({"trials": [{}] * 3}))
    first = page_of(folder).text.split("Figures")[0]
    assert "valid, interrupted" in first
    assert "It was interrupted, or trials of its plan are missing; this is what there is." in first
    assert 'class="state ill"' in (folder / "report.html").read_text()


def test_trials_that_were_left_out_are_listed_with_the_reason(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    record = folder / "trials" / "0001-a" / "trial.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "lost_rows": 5}))
    text = page_of(folder).text
    assert "1 trial of 2 left out of all times" in text
    assert "5 rows were lost" in text[text.index("Trials that were left out", text.index("In numbers")) :]


def test_without_a_manifest_the_report_says_that_it_does_not_know(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "manifest.json").unlink()
    assert "manifest.json is missing" in page_of(folder).text


@pytest.mark.parametrize("text", ["a|b", "*a*", "<b>", "a_b_", "[x](y)", "# x", "`x`", "a\nb", "&amp;", "~~x~~"])
def test_escaped_text_says_in_html_what_it_said(text: str) -> None:
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    assert " ".join(text.split()) in Read(renderer.render("x " + plain(text))).text
    assert " ".join(text.split()) in Read(renderer.render(table(("a",), [(text,)]))).text


def test_a_run_writes_its_report_at_its_end_unless_told_not_to(tmp_path: Path) -> None:
    scenario = tmp_path / "null.toml"
    scenario.write_text(NULL)
    for options, wanted in (((), True), (("--no-report",), False), (("--quiet",), False)):
        out = tmp_path / f"run{len(options)}{wanted}{''.join(options)}"
        command = program.command("lab", str(scenario), "--out", str(out), *options)
        done = subprocess.run(command, env=program.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (out / "report.html").exists() is wanted
        assert ("report.html" in done.stdout) is wanted


NULL = """
name = "null"
blocks = 1
topology = { kind = "prefork", processes = 1 }
workload = { kind = "null" }
load = { mode = "open", rate_hz = 500, duration_s = 0.2, warmup_s = 0.0 }
arm = [{ name = "a" }]
"""
