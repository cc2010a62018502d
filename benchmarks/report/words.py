"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1f} %"
    if unit == "s":
        return f"{value:.1f} s"
    if unit == "MB":
        return f"{value:,.0f} MB"
    return f"{value:,.0f} ×" if abs(value) >= 20 else f"{value:.2f} ×"


def goal(comparison: Mapping[str, Any]) -> str:
    bar = comparison["bar"]
    if bar is None:
        return "–"
    sign = "≤" if comparison["better"] == "lower" else "≥"
    return f"{sign} {bar:g} {comparison['unit']}"


def verdict(comparison: Mapping[str, Any]) -> str:
    return {None: "–", True: "kept", False: "**missed**"}[comparison["kept"]]


def with_range(comparison: Mapping[str, Any]) -> str:
    unit = comparison["unit"]
    middle, low, high = (number(comparison[name], unit) for name in ("median", "low", "high"))
    return middle if len(comparison["values"]) == 1 else f"{middle} ({low} – {high})"


def seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def size(count: float) -> str:
    return f"{count / 1024**2:,.0f} MB"
