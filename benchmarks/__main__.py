"""Measure Lockstep against references: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import parts, project
from benchmarks.bench import Bench
from benchmarks.children import ROOT
from benchmarks.measuring import Part
from benchmarks.places import opened
from benchmarks.report import plots, results
from benchmarks.report.context import context
from benchmarks.report.page import page
from benchmarks.report.words import goal, verdict, with_range
from benchmarks.sizes import SIZES, Sizes

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "images"


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    sizes = SIZES[options.size]
    try:
        wanted = parts.chosen(options.only)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    failed = [] if options.render else measure(sizes, wanted, options.seed, options.rounds)
    render(sizes)
    for name in failed:
        print(f"{name} could not be measured: see above", file=sys.stderr)
    return 1 if failed else 0


def _options(argv: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--only", default="", help="parts by letter or name, such as a,b or documents")
    parser.add_argument(
        "--rounds", type=int, help="rounds of every part (growth's largest size stays at one)"
    )
    parser.add_argument("--seed", type=int, default=1, help="what the order of each round is shuffled with")
    parser.add_argument("--render", action="store_true", help="measure nothing; make page and pictures again")
    return parser.parse_args(argv)


def measure(sizes: Sizes, wanted: Sequence[str], seed: int, asked: int | None) -> list[str]:
    """Measure parts, keeping each as it is done; return the names of those that failed."""
    # Ours first: a `resources` that is installed is another project's.
    sys.path.insert(0, str(project.INCLUDE))
    failed: list[str] = []
    with opened() as places:
        bench = Bench(places=places, sizes=sizes, seed=seed, say=_say, asked=asked)
        for name, run in parts.steps(list(wanted)):
            _say(f"== {name}")
            surroundings = context(bench)
            began = time.monotonic()
            try:
                done = run(bench)
            except Exception:
                traceback.print_exc()
                failed.append(name)
                continue
            for part in done:
                results.keep(_file(sizes), part, surroundings)
                _show(part)
            _say(f"{name}: {time.monotonic() - began:.0f} s")
    return failed


def render(sizes: Sizes) -> None:
    """Draw what is known; the page shows the full size only."""
    found = results.load(_file(sizes))
    full = sizes.name == "full"
    folder = PICTURES if full else RESULTS / sizes.name
    for name, part in found["parts"].items():
        if part["comparisons"]:
            plots.draw(name, part, folder)
    target = PAGE if full else RESULTS / sizes.name / "performance.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(found))
    _say(f"wrote {target.relative_to(ROOT)}")


def _file(sizes: Sizes) -> Path:
    return RESULTS / ("latest.json" if sizes.name == "full" else f"{sizes.name}.json")


def _show(part: Part) -> None:
    _say(part.title)
    for one in results.compared(part):
        words = f"{with_range(one)}, goal {goal(one)}: {verdict(one)}" if one["bar"] else with_range(one)
        _say(f"  {one['title']}: {words}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
