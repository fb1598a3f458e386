"""Pages in a real browser, at the width of a phone and of a desktop.

The browser shows a page of the test's own with the report in frames of these widths, because a window of headless
Chromium cannot be as narrow as a phone. A script that only the copy has measures the layout in each frame.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

WIDTHS: Final = (390, 1280)
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000"),
)
MEASURE: Final = """<script>
addEventListener("load", () => {
  const wide = innerWidth, page = document.documentElement;
  const box = element => element.getBoundingClientRect();
  const scrolls = element => element.closest("figure, .scroll") !== null;
  const outside = [...document.querySelectorAll("body *")].filter(element =>
    (box(element).right > wide + 1 || box(element).left < -1) && !scrolls(element) && box(element).width > 0);
  const first = document.querySelector(".answers");
  parent.postMessage(JSON.stringify({
    width: wide, overflow: page.scrollWidth - wide,
    outside: outside.map(element => element.tagName + ": " + element.textContent.slice(0, 60)),
    pictures: [...document.images].map(image =>
      [image.complete && image.naturalWidth > 0, image.alt, box(image).width]),
    smallest: Math.min(...[...document.querySelectorAll("p, li, td, th")].map(element =>
      parseFloat(getComputedStyle(element).fontSize))),
    first: [box(first).top, box(first).bottom],
  }), "*");
});
</script>"""
FRAMES: Final = """<!doctype html><meta charset="utf-8"><body><pre id="seen"></pre>
<script>
addEventListener("message", event => {{ document.getElementById("seen").textContent += event.data + "\\n"; }});
</script>
{frames}</body>"""


def look_at(report: Path, folder: Path) -> dict[int, dict[str, Any]]:
    """What each frame measured of a page, by its width. folder: for the copy and the browser's profile."""
    page = report.read_text().replace("</head>", MEASURE + "</head>")
    (folder / "copy.html").write_text(page)
    frames = "".join(f'<iframe src="copy.html" width="{w}" height="800" style="border:0"></iframe>' for w in WIDTHS)
    (folder / "frames.html").write_text(FRAMES.format(frames=frames))
    browser = os.environ.get("LAB_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [browser, *QUIET, profile, "--window-size=1400,1000", "--dump-dom", (folder / "frames.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    told = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[:500]
    lines = [json.loads(line) for line in html.unescape(told[1]).splitlines()]
    return {line["width"]: line for line in lines}
