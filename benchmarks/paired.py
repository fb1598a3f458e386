"""What the paired benchmarks share: how a handful of ratios is shown. Nothing is asserted here or there."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

MIN_PAIRS = 15


def spread(values: Sequence[float]) -> str:
    """Median, and the values between which the middle half lies."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (zip(row, widths, strict=True) for row in (head, *rows))
    )
    return "\n".join(lines)
