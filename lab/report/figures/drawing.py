"""What every figure has in common: colours with markers and hatches, sizes, and what becomes of a run that lacks it.

Colours are Okabe and Ito's (readable with any colour vision). Each goes with a marker, a hatch and a dash of its own,
so that print in grey tells them apart too.
"""

from __future__ import annotations

import html
import io
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

P = ParamSpec("P")
T = TypeVar("T")

WIDTH: Final = 9.5
"""Of every figure, in inches: its text is read at the width of a page."""

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW, GREY = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999"),
)

TEXT: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a dollar in a question or in an error's text is a dollar
    "svg.hashsalt": "pkcs11-context-lab",
    "svg.fonttype": "path",
}
_TICKS: Final = 7


class Look(NamedTuple):
    colour: str
    marker: str
    hatch: str
    dash: Any


LOOKS: Final = (
    Look(BLUE, "o", "", "-"),
    Look(VERMILLION, "s", "//", (0, (5, 1.5))),
    Look(GREEN, "^", "..", (0, (5, 1, 1, 1))),
    Look("black", "D", "xx", (0, (1, 1))),
    Look(PURPLE, "v", "\\\\", (0, (8, 2))),
    Look(ORANGE, "P", "--", (0, (3, 1, 1, 1, 1, 1))),
    Look(SKY, "X", "++", (0, (2, 1))),
    Look(GREY, "<", "oo", (0, (1, 2))),
)
ARMS_IN_ONE: Final = len(LOOKS)
"""More lines in one panel would not be told apart."""


def look(place: int) -> Look:
    return LOOKS[place % len(LOOKS)]


class Sentence(str):
    """Why there is nothing to draw. A notebook shows it as text."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return f"*{self}*"


class Picture(Figure):
    """A matplotlib Figure that a notebook shows without pyplot. name: of its files; says: for who cannot see it."""

    name: str = "figure"
    says: str = ""

    def _repr_png_(self) -> bytes:
        return self.as_bytes("png")

    def as_bytes(self, kind: str) -> bytes:
        """The same figure gives the same bytes. kind: png or svg."""
        self._settle()
        file = io.BytesIO()
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        with matplotlib.rc_context({name: TEXT[name] for name in ("hatch.linewidth", "svg.hashsalt", "svg.fonttype")}):
            self.savefig(file, format=kind, dpi=130, metadata=metadata)
        return file.getvalue()

    def _settle(self) -> None:
        """Lays it out once, for that takes as long as drawing. The last digits hang on where objects lie in memory,
        and the ids in an SVG on them, so they are cut."""
        if self.get_layout_engine() is None:
            return
        self.draw_without_rendering()
        self.set_layout_engine("none")
        for axes in self.axes:
            place = axes.get_position()
            axes.set_position(tuple(round(part, 5) for part in place.bounds))


class Several(list[Picture | Sentence]):
    """Pictures that one cell of a notebook shows, one under the other."""

    def _repr_html_(self) -> str:
        return "".join(map(_as_html, self))


def _as_html(shown: Picture | Sentence) -> str:
    if isinstance(shown, Sentence):
        return f"<p>{html.escape(shown)}</p>"
    data = b64encode(shown.as_bytes("png")).decode()
    return f'<img alt="{html.escape(shown.says)}" src="data:image/png;base64,{data}">'


def drawn(draws: Callable[P, T]) -> Callable[P, T]:
    """A function whose figures have the sizes of TEXT, whatever the notebook's own settings are."""

    @wraps(draws)
    def with_text(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(TEXT)
            return draws(*args, **kwargs)

    return with_text


def picture(name: str, says: str, height: float, width: float = WIDTH) -> Picture:
    """An empty one, of that height in inches."""
    made = Picture(figsize=(width, height), layout="constrained")
    made.name, made.says = name, says
    return made


def panels(figure: Any, rows: int, columns: int, **how: Any) -> Any:
    """Its axes, as an array of rows and columns."""
    return figure.subplots(rows, columns, squeeze=False, **how)


def plain(value: float, _: Any = None) -> str:
    return f"{value:,.10g}"


def log_axis(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers, a decade or more, so that what hardly differs looks as if it did not."""
    low, high = min(values) / 1.15, max(values) * 1.15
    if high < 10 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [t for t in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= t <= high]
        if len(ticks) <= _TICKS:
            break
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_ticks(ticks[:: math.ceil(len(ticks) / _TICKS)] if ticks else [])
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def arm_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row for each arm, the first on top."""
    axes.set_yticks(range(len(names)), [wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def wrapped(name: str, width: int = 24) -> str:
    """A long name on two lines or more, broken where its parts meet."""
    lines, line = [], ""
    for part in name.replace("-", "-\0").replace(" ", " \0").replace(",", ",\0").split("\0"):
        if line and len(line) + len(part) > width:
            lines.append(line.rstrip())
            line = ""
        line += part
    return "\n".join([*lines, line])


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str] | None = None, columns: int = 5) -> None:
    """One legend for the whole figure, under it."""
    if handles:
        names = labels if labels is not None else [handle.get_label() for handle in handles]
        width = min(columns, len(handles), max(1, int(110 / (6 + max(len(name) for name in names)))))
        figure.legend(
            handles=handles, labels=list(names), loc="outside lower center", ncols=width, frameon=False,
            handlelength=2.8, handleheight=1.2,
        )  # fmt: skip


def spread(number: int, within: float = 0.16) -> list[float]:
    """Offsets that keep dots of one row apart, in the order of the trials; no chance in it."""
    return [0.0] if number == 1 else [within * (2 * place / (number - 1) - 1) for place in range(number)]


def order_of(arms: Mapping[str, Any]) -> dict[str, int]:
    """The place of each arm, which its look hangs on."""
    return {name: place for place, name in enumerate(arms)}
