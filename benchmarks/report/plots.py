"""Pictures: one a part, the median as a bar, the range as a whisker, the goal as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.words import goal, number

#: kept, missed, not promised; told apart without red and green
COLORS: Mapping[bool | None, str] = {True: "#3b6ea8", False: "#d9822b", None: "#9aa5b1"}
INK = "#333a44"
WIDTH = 9.0
ROW = 0.78


def draw(name: str, part: Mapping[str, Any], folder: Path) -> Path:
    """Draw a part; return the file."""
    figure = _growth(part) if name == "growth" else _compared(part)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"bench-{name}.png"
    figure.savefig(target, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return target


def _compared(part: Mapping[str, Any]) -> Figure:
    """Draw each comparison on an axis of its own: they differ in unit and in scale."""
    found: Sequence[Mapping[str, Any]] = part["comparisons"]
    figure, axes = plt.subplots(
        len(found), 1, figsize=(WIDTH, ROW * len(found) + 0.9), squeeze=False, layout="constrained"
    )
    figure.suptitle(part["title"], x=0.01, ha="left", fontsize=13, color=INK)
    for axis, one in zip(axes[:, 0], found, strict=True):
        _row(axis, one)
    return figure


def _row(axis: Axes, one: Mapping[str, Any]) -> None:
    middle, low, high, bar = one["median"], one["low"], one["high"], one["bar"]
    axis.barh([0], [middle], height=0.5, color=COLORS[one["kept"]])
    axis.errorbar(
        [middle], [0], xerr=[[middle - low], [high - middle]], color=INK, capsize=3, linewidth=1, fmt="none"
    )
    most = max(high, bar or 0, 0) * 1.25 or 1
    axis.set_xlim(min(low * 1.25, 0), most)
    axis.set_ylim(-0.5, 0.5)
    if bar is not None:
        axis.axvline(bar, color=INK, linestyle="--", linewidth=1)
    axis.set_yticks([])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g} {one['unit']}")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#c8ced6")
    axis.tick_params(axis="x", labelsize=7, colors=INK, length=2)
    text = f"{one['title']}: {number(middle, one['unit'])}"
    if bar is not None:
        text += f"   goal {goal(one)} {'kept' if one['kept'] else 'missed'}"
    axis.set_title(text, loc="left", fontsize=9, color=INK, pad=3)


def _growth(part: Mapping[str, Any]) -> Figure:
    """Draw time per million rows, and the most memory held, over the size of the table."""
    figure, (times, memory) = plt.subplots(1, 2, figsize=(WIDTH, 3.6), layout="constrained")
    figure.suptitle(part["title"], x=0.01, ha="left", fontsize=13, color=INK)
    by_verb: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for one in part["measured"]:
        by_verb.setdefault(one["who"].split(",")[0], {}).setdefault(one["records"], []).append(one["facts"])
    for color, (verb, sizes) in zip((COLORS[True], COLORS[False]), by_verb.items(), strict=False):
        _line(
            times, verb, color, {rows: [one["per_million"] for one in found] for rows, found in sizes.items()}
        )
        held = {rows: [one["peak_bytes"] / 1024**2 for one in found] for rows, found in sizes.items()}
        _line(memory, verb, color, held)
    for axis, label in ((times, "seconds per million rows"), (memory, "most memory held, MB")):
        axis.set_xscale("log")
        axis.set_xticks(sorted({one["records"] for one in part["measured"]}))
        axis.minorticks_off()
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("rows of the table", fontsize=9, color=INK)
        axis.set_ylabel(label, fontsize=9, color=INK)
        axis.tick_params(labelsize=8, colors=INK)
        axis.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure


def _line(axis: Axes, label: str, color: str, values: Mapping[int, Sequence[float]]) -> None:
    rows = sorted(values)
    middle = [median(values[count]) for count in rows]
    below = [at - min(values[count]) for at, count in zip(middle, rows, strict=True)]
    above = [max(values[count]) - at for at, count in zip(middle, rows, strict=True)]
    axis.errorbar(
        rows, middle, yerr=[below, above], color=color, marker="o", markersize=4, capsize=3, label=label
    )
