"""Pictures of a report: inline SVG that follows the page's colours, with its numbers as text beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH = 640
#: height of a bar and of the row that it is in
BAR, ROW = 14, 22


def bars(values: Sequence[tuple[str, float]]) -> str:
    """Return seconds as horizontal bars, a row each, with their names and values."""
    top = max((value for _, value in values), default=0.0) or 1.0
    rows = []
    for number, (name, value) in enumerate(values):
        y = number * ROW
        length = max(1.0, value / top * (WIDTH - 330))
        rows.append(
            f'<text x="250" y="{y + 15}" text-anchor="end">{escape(_cut(name))}</text>'
            f'<rect class="bar" x="258" y="{y + 4}" width="{length:.1f}" height="{BAR}"/>'
            f'<text x="{264 + length:.1f}" y="{y + 15}">{seconds(value)}</text>'
        )
    return _svg(len(values) * ROW + 4, "".join(rows), "bars")


def histogram(batches: Mapping[str, Any]) -> str:
    """Return how batch times are spread: a column for each width of time, and lines at the percentiles."""
    columns, width = batches["histogram"]["bars"], float(batches["histogram"]["width"])
    height, step = 90, (WIDTH - 40) / len(columns)
    top = max(columns) or 1
    drawn = []
    for number, count in enumerate(columns):
        tall = count / top * height
        drawn.append(
            f'<rect class="bar" x="{20 + number * step:.1f}" y="{height - tall + 10:.1f}" width="{step - 1:.1f}" '
            f'height="{tall:.1f}"><title>{count} batch(es) of {seconds(number * width)} to '
            f"{seconds((number + 1) * width)}</title></rect>"
        )
    whole = width * len(columns)
    for name in ("p50", "p90", "p99"):
        x = 20 + min(1.0, float(batches[name]) / whole) * (WIDTH - 40)
        drawn.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height + 10}"/>'
            f'<text class="small" x="{x + 3:.1f}" y="14">{name}</text>'
        )
    drawn.append(
        f'<text class="small" x="20" y="{height + 24}">0 s</text>'
        f'<text class="small" x="{WIDTH - 20}" y="{height + 24}" text-anchor="end">{seconds(whole)}</text>'
    )
    return _svg(height + 30, "".join(drawn), "histogram of batch times")


def ranges(values: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Return predictions as lines from low to high, with a dot at what is likely."""
    top = max((value["high"] for _, value in values), default=0.0) or 1.0
    span = WIDTH - 330
    rows = []
    for number, (name, value) in enumerate(values):
        y = number * ROW + 11
        low, likely, high = (258 + value[part] / top * span for part in ("low", "seconds", "high"))
        rows.append(
            f'<text x="250" y="{y + 4}" text-anchor="end">{escape(_cut(name))}</text>'
            f'<line class="range" x1="{low:.1f}" x2="{max(high, low + 1):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot" cx="{likely:.1f}" cy="{y}" r="4"/>'
            f'<text x="{high + 8:.1f}" y="{y + 4}">{seconds(value["seconds"])}</text>'
        )
    return _svg(len(values) * ROW + 4, "".join(rows), "predicted times")


def seconds(value: float) -> str:
    """Return a duration as a person reads it."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _cut(name: str) -> str:
    return name if len(name) <= 38 else name[:37] + "…"


def _svg(height: float, inner: str, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{inner}</svg>'
    )
