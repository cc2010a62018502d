"""The results as JSON: raw seconds of every round, and what was made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring import Comparison, Part

FORMAT = 1
Results = dict[str, Any]


def load(path: Path) -> Results:
    """Return what is there, or nothing yet."""
    if not path.exists():
        return {"format": FORMAT, "parts": {}}
    found: Results = json.loads(path.read_text())
    return found


def keep(path: Path, part: Part, context: Mapping[str, Any]) -> Results:
    """Put a part into the file, in the place of what it was; the other parts stay."""
    results = load(path)
    results["parts"][part.name] = _plain(part, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, default=str) + "\n")
    return load(path)


def _plain(part: Part, context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": part.title,
        "how": list(part.how),
        "records": part.records,
        "context": dict(context),
        "comparisons": compared(part),
        "measured": [vars(one) for one in part.measured],
    }


def compared(part: Part) -> list[dict[str, Any]]:
    """Return the part's comparisons as plain values."""
    return [_compared(one) for one in part.comparisons]


def _compared(one: Comparison) -> dict[str, Any]:
    return {
        "title": one.title,
        "median": one.median,
        "low": min(one.values),
        "high": max(one.values),
        "unit": one.unit,
        "better": one.better,
        "bar": one.bar,
        "kept": one.kept,
        "values": list(one.values),
    }
